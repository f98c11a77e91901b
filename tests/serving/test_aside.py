"""Copies run when there is time for them, and hold nobody up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.config import ModelSettings, Padding
from gateway.serving.aside import BESIDE_EVERY, PATIENCE_S, PAUSE_S, Aside, wait_for_others
from gateway.serving.cost import CostModel
from gateway.serving.execution import Execution
from gateway.serving.riders import Batch, Rider
from gateway.serving.turn import TurnBudget
from gateway.tensors import Signature
from tests.serving.fakes import (
    ANY_LENGTH,
    LONG,
    ONE_NUMBER,
    SHORT,
    Client,
    FakeClock,
    FakeExecutor,
    FakeLoop,
    FakeRuntime,
)


class Corner:
    """A way for copies and its surroundings; `busy` is the share of a core that others use."""

    def __init__(
        self,
        signature: Signature = ONE_NUMBER,
        cost: dict[int, float] | None = SHORT,
        cores: float = 1.0,
        **settings: Any,
    ) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)
        self.executor = FakeExecutor()
        self.runtime = FakeRuntime(signature, self.clock)
        self.turn = TurnBudget(self.loop)
        self.batches: list[Batch] = []
        self.others: list[float] = []
        self.marks: list[int] = []
        self.beside: Execution | None = None
        self.busy_loop = self.busy_threads = 0.0
        self.crowded = False
        hold = CostModel()
        for rows, seconds in (cost or {}).items():
            hold.add(rows, seconds)
        self.aside = Aside(
            "m",
            self.runtime,
            ModelSettings(**settings),
            self._take,
            self.loop,
            self.turn,
            self.executor,
            hold,
            self.marks.append,
            cores,
            lambda batch: self.beside,
            lambda: self.crowded,
            self.clock,
            lambda: self.busy_loop * self.clock.now,
            lambda: (self.busy_loop + self.busy_threads) * self.clock.now,
        )

    def add(self, *values: float, length: int = 1) -> None:
        array = np.repeat(np.array(values, np.float32)[:, None], length, axis=1)
        self.aside.add(Rider(Client(), None, (array,), len(values), (0,)), array.nbytes)

    def pause(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.advance(PAUSE_S)

    def _take(self, batch: Batch, other_s: float) -> None:
        self.batches.append(batch)
        self.others.append(other_s)

    @property
    def sizes(self) -> list[int]:
        return [batch.rows for batch in self.batches]


def test_copies_that_came_in_a_pause_share_one_run():
    corner = Corner()
    for number in range(5):
        corner.add(number, number)
    assert (corner.aside.rows, corner.aside.nbytes, corner.batches) == (10, 40, [])
    corner.pause()
    assert corner.sizes == [10]
    assert corner.batches[0].on_loop
    assert (corner.aside.rows, corner.aside.nbytes) == (0, 0)
    assert corner.marks == [1, -1]
    corner.pause(10)
    assert corner.loop.timers == []  # nothing is looked for where nothing waits


def test_no_run_is_larger_than_the_model_may_run():
    corner = Corner(max_batch_size=8)
    for _ in range(5):
        corner.add(1, 2, 3)
    corner.pause(3)
    assert corner.sizes == [6, 6, 3]


def test_copies_of_other_lengths_do_not_share_a_run():
    corner = Corner(ANY_LENGTH)
    for length in (1, 1, 2, 2, 1):
        corner.add(1, length=length)
    corner.pause(3)
    assert corner.sizes == [2, 2, 1]


def test_padded_copies_share_the_run_of_their_bucket():
    corner = Corner(ANY_LENGTH, padding=Padding(inputs=["x"], axis=1, buckets=[4]))
    corner.add(1, length=2)
    corner.add(1, length=3)
    corner.pause()
    assert corner.sizes == [2]
    assert corner.batches[0].padded_cells == 3


def test_a_long_run_is_a_threads_and_the_next_waits_for_it():
    corner = Corner(cost=LONG)
    corner.add(1)
    corner.pause()
    assert corner.batches == []
    assert corner.executor.waiting[0] == (wait_for_others, ())
    corner.executor.waiting.pop(0)
    corner.add(2)
    corner.pause(3)
    assert len(corner.executor.waiting) == 1
    corner.executor.run_next()
    corner.loop.settle()
    assert corner.sizes == [1]
    corner.pause()
    corner.executor.run_next()
    corner.loop.settle()
    assert corner.sizes == [1, 1]
    assert corner.marks == [1, -1, 1, -1]


@pytest.mark.parametrize(
    ("busy_loop", "busy_threads", "cores"),
    [
        pytest.param(0.9, 0.0, 1.0, id="loop"),
        pytest.param(0.1, 0.8, 1.0, id="threads"),
        pytest.param(0.1, 1.6, 2.0, id="both-cores"),
    ],
)
def test_where_the_process_is_busy_copies_wait_but_for_one_run_a_second(
    busy_loop, busy_threads, cores
):
    corner = Corner(max_batch_size=1, cores=cores)
    corner.busy_loop, corner.busy_threads = busy_loop, busy_threads
    for number in range(5):
        corner.add(number)
    corner.pause(int(PATIENCE_S / PAUSE_S) - 1)
    assert corner.sizes == []
    corner.pause(2)
    assert corner.sizes == [1]
    corner.busy_loop = corner.busy_threads = 0.1
    corner.pause(5)
    assert corner.sizes == [1] * 5


@pytest.mark.parametrize(
    ("cost", "rows"),
    [
        pytest.param({1: 0.002, 2: 0.004}, 4, id="of-2-ms-a-row"),
        pytest.param({1: 0.2, 2: 0.4}, 1, id="none-is-short"),
        pytest.param({1: 1e-6, 2: 2e-6}, 64, id="all-are"),
        pytest.param(None, 1, id="not-known"),
    ],
)
def test_where_the_process_is_busy_a_run_is_short(cost, rows):
    corner = Corner(cost=cost, max_batch_size=64)
    corner.busy_loop = 0.9
    for number in range(70):
        corner.add(number)
    corner.pause(int(PATIENCE_S / PAUSE_S) + 1)
    if corner.executor.waiting:
        corner.executor.waiting.pop(0)  # the thread's wish to wait for others
        corner.executor.run_next()
        corner.loop.settle()
    assert corner.sizes == [rows]


def test_where_requests_wait_for_a_run_copies_wait_however_little_this_process_gets():
    corner = Corner(max_batch_size=1)
    corner.crowded = True
    corner.add(1)
    corner.add(2)
    corner.pause(int(PATIENCE_S / PAUSE_S) - 1)
    assert corner.sizes == []
    corner.pause(2)
    assert corner.sizes == [1]
    corner.crowded = False
    corner.pause()
    assert corner.sizes == [1, 1]


def test_what_one_core_cannot_spare_another_may():
    corner = Corner(cores=2.0)
    corner.busy_loop, corner.busy_threads = 0.1, 0.9
    corner.add(1)
    corner.pause()
    assert corner.sizes == [1]


def test_where_the_loop_is_late_copies_wait():
    corner = Corner()
    corner.add(1)
    corner.clock.now += 3 * PAUSE_S  # somebody held the loop
    corner.loop.advance(0.0)
    assert corner.sizes == []
    corner.pause()
    assert corner.sizes == [1]


def test_a_turn_in_which_others_ran_long_is_left_to_them():
    corner = Corner()
    corner.add(1)
    corner.turn.used_s = 1.0
    corner.pause()
    assert corner.sizes == []
    corner.turn.used_s = 0.0
    corner.pause()
    assert corner.sizes == [1]


def test_one_copys_values_fail_no_other():
    corner = Corner()
    corner.runtime.poison = 3.0
    for number in range(5):
        corner.add(number)
    corner.pause()
    corner.executor.waiting.pop(0)
    corner.executor.run_next()
    corner.loop.settle()
    told = {rider.inputs[0][0, 0]: part.error for part in corner.batches for rider in part.riders}
    assert [value for value, error in told.items() if error is not None] == [3.0]
    assert sorted(told) == [0, 1, 2, 3, 4]
    assert corner.marks == [1, -1]


def test_without_a_thread_copies_fail_and_nobody_else():
    corner = Corner(cost=LONG)
    corner.executor.broken = True
    corner.add(1)
    corner.pause()
    corner.loop.settle()
    (batch,) = corner.batches
    assert batch.error is not None


def test_what_still_waits_is_given_back_and_what_runs_is_delivered():
    corner = Corner(cost=LONG)
    corner.add(1)
    corner.pause()
    corner.add(2)
    corner.add(3)
    left = corner.aside.close()
    assert [rider.inputs[0][0, 0] for rider in left] == [2, 3]
    corner.executor.waiting.pop(0)
    corner.executor.run_next()
    corner.pause(3)
    assert corner.sizes == [1]


@pytest.mark.parametrize("cost", [SHORT, LONG], ids=["loop", "thread"])
def test_some_runs_are_made_by_another_model_too_and_timed(cost):
    corner = Corner(cost=cost)
    other = FakeRuntime(ONE_NUMBER, corner.clock)
    other.seconds = 2e-5

    def cpu_clock() -> float:
        return corner.clock.now

    corner.beside = Execution("other", other, None, corner.clock, cpu_clock)
    for number in range(2 * BESIDE_EVERY + 1):
        corner.add(number)
        corner.pause()
        for call, args in corner.executor.waiting:
            if args:
                call(*args)
        corner.executor.waiting.clear()
        corner.loop.settle()
    assert len(other.runs) == 3
    assert [place for place, s in enumerate(corner.others) if s] == [0, 16, 32]
    assert [one for one in corner.others if one] == pytest.approx([2e-5] * 3)
    assert len(corner.runtime.runs) == 2 * BESIDE_EVERY + 1
    other.poison = 7.0  # it alone fails: nobody is told
    corner.aside._runs = 0
    corner.add(7.0)
    corner.pause()
    for call, args in corner.executor.waiting:
        if args:
            call(*args)
    corner.loop.settle()
    assert (corner.others[-1], corner.batches[-1].error) == (0.0, None)
