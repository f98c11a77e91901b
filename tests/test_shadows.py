"""What is answered is run once more aside, and what comes of it is counted row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.catalogue import Served
from gateway.config import ModelSettings
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.different import KEPT, MAX_AT_ONCE
from gateway.plan import Shadow, Split, Variant
from gateway.serving.aside import PAUSE_S, Aside, Beside, Deliver
from gateway.serving.cost import CostModel
from gateway.serving.execution import Execution
from gateway.serving.riders import Batch, Rider
from gateway.serving.turn import TurnBudget
from gateway.shadows.follow import Shadows
from gateway.tensors import Array, Signature, TensorSpec
from kernels import pairs as p
from tests.plans import held
from tests.serving.fakes import ONE_NUMBER, SHORT, FakeClock, FakeExecutor, FakeLoop, FakeRuntime

SCORES = Signature(ONE_NUMBER.inputs, (TensorSpec("y", "FP32", (-1, 2)),), True)
WHOLE = Signature(ONE_NUMBER.inputs, (TensorSpec("y", "INT64", (-1, 1)),), True)
ROUTED, PAST = SimpleNamespace(variant="a"), SimpleNamespace(variant=None)


def scored(x: Array) -> Array:
    """Two classes; the second one's probability is what came in."""
    return np.concatenate([1 - x, x], axis=1).astype(np.float32)


class Endpoint:
    """Of a deployment, what shadows see."""

    def __init__(self) -> None:
        self.tap: Any = None
        self.counted: list[int] = []
        self.capture: Any = None
        self.recorded = False

    def copy(self, tap: Any) -> None:
        self.tap = tap

    def count(self, batch: Batch) -> None:
        self.counted.append(batch.rows)


class World:
    """A route of version 1, and whatever shadows a test gives it."""

    def __init__(self, signature: Signature = SCORES) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)
        self.executor = FakeExecutor()
        self.arena = Arena.create(1)
        self.pool = ThreadPoolExecutor(1)
        self.mail: list[dict[str, Any]] = []
        self.runtimes: dict[int, FakeRuntime] = {}
        self.served = {version: self._served(version, signature) for version in (1, 2, 3)}
        self.shadows = Shadows(
            self.arena, 0, self.pool, lambda block: lambda change: None, self.mail.append, 1.0
        )
        self.sequence = 0

    @property
    def told(self) -> list[dict[str, Any]]:
        """The rows that differ most."""
        return [one for one in self.mail if one["type"] == "different"]

    def close(self) -> None:
        self.pool.shutdown()
        self.arena.close()

    def _served(self, version: int, signature: Signature) -> Served:
        runtime = self.runtimes[version] = FakeRuntime(signature, self.clock)
        runtime.answer = scored if signature is SCORES else lambda x: x.astype(np.int64)
        hold = CostModel()
        for rows, seconds in SHORT.items():
            hold.add(rows, seconds)

        def aside(
            deliver: Deliver,
            mark: Callable[[int], None],
            cores: float,
            beside: Beside,
            crowded: Callable[[], bool],
        ) -> Aside:
            return Aside(
                "m",
                runtime,
                ModelSettings(max_batch_size=64),
                deliver,
                self.loop,
                TurnBudget(self.loop),
                self.executor,
                hold,
                mark,
                cores,
                beside,
                crowded,
                self.clock,
                lambda: 0.0,
                lambda: 0.0,
            )

        deployment: Any = SimpleNamespace(
            signature=signature, aside=aside, execution=Execution("m", runtime, None), texts=None
        )
        return Served(held("m", version), deployment, Endpoint())  # type: ignore[arg-type]

    def endpoint(self, version: int) -> Any:
        return self.served[version].endpoint

    def follow(self, *shadows: Shadow, variants: Sequence[int] = (1,)) -> None:
        split = Split(
            tuple(Variant(f"v{one}", one, 1.0) for one in variants),
            shadows=tuple(
                replace(
                    one,
                    blocks=tuple(
                        (version, self.block(version, one.version)) for version in variants
                    ),
                )
                for one in shadows
            ),
        )
        self.shadows.follow([("m", split, self.served)] if shadows else [])

    def block(self, answered: int, shadow: int) -> int:
        return self.arena.allocate(layout.PAIRS, layout.pairs_key("m", answered, shadow))

    def counts(self, shadow: int = 2, answered: int = 1) -> dict[str, int]:
        words = self.arena.array(self.block(answered, shadow), 0)
        names = ("COPIED", "ROWS", "AGREED", "DROPPED", "FAILED", "UNLIKE")
        return {
            name.lower(): int(words[getattr(p, name)]) for name in names if words[getattr(p, name)]
        }

    def answer(
        self,
        *requests: Sequence[float],
        version: int = 1,
        about: Any = ROUTED,
        gone: Sequence[int] = (),
    ) -> None:
        """A batch of these requests, whose rows are their numbers, is answered."""
        riders = []
        for values in requests:
            array = np.array(values, np.float32)[:, None]
            self.sequence += 1
            exchange: Any = SimpleNamespace(sequence=self.sequence, gone=False)
            riders.append(Rider(exchange, about, (array,), len(values), (0,)))
        batch = Batch(riders, sum(rider.rows for rider in riders), "idle", 0.0)
        batch.inputs = [np.concatenate([rider.inputs[0] for rider in riders])]
        batch.outputs = [self.runtimes[version].answer(batch.inputs[0])]
        answered = [rider for place, rider in enumerate(riders) if place not in gone]
        if self.endpoint(version).tap is not None:
            self.endpoint(version).tap(batch, answered)

    def pause(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.advance(PAUSE_S)
            while self.executor.waiting:
                call, args = self.executor.waiting.pop(0)
                if args:
                    call(*args)
            self.loop.settle()


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def test_every_answered_row_of_a_route_is_compared_once(world):
    world.follow(Shadow(2, 1.0))
    world.answer([0.1, 0.9], [0.8])
    world.answer([0.4])
    assert world.runtimes[2].runs == []
    world.pause()
    assert world.counts() == {"copied": 4, "rows": 4, "agreed": 4}
    assert [len(run[0]) for run in world.runtimes[2].runs] == [4]  # all of them in one run
    assert world.endpoint(2).counted == [4]


def test_who_disagrees_is_counted_and_told_of(world):
    world.runtimes[2].answer = lambda x: scored(np.where(x > 0.7, 0.2, x + 0.01))
    world.follow(Shadow(2, 1.0))
    world.answer([0.1], [0.3, 0.8])
    world.pause()
    assert world.counts() == {"copied": 3, "rows": 3, "agreed": 2}
    first = world.told[0]
    assert (first["model"], first["answered"], first["shadow"]) == ("m", 1, 2)
    assert (first["sequence"], first["row"], first["agree"]) == (2, 1, False)
    assert first["inputs"] == {"x": pytest.approx([0.8])}
    assert first["said"] == {"y": pytest.approx([0.2, 0.8])}
    assert first["shadow_said"] == {"y": pytest.approx([0.8, 0.2])}
    assert [one["unlikeness"] for one in world.told] == pytest.approx([1.6, 0.01, 0.01], abs=1e-3)


def test_rows_that_are_classed_differently_are_told_of_where_outcomes_may_come(world):
    world.runtimes[2].answer = lambda x: scored(np.where(x > 0.7, 0.2, x + 0.01))
    world.follow(Shadow(2, 1.0))
    world.answer([0.1], [0.3, 0.8], [0.9])
    world.pause()
    assert len(world.mail) == len(world.told)
    world.endpoint(1).recorded = True
    world.answer([0.1], [0.3, 0.8], [0.9])
    world.pause()
    (disagreed,) = [one for one in world.mail if one["type"] == "disagreed"]
    assert (disagreed["model"], disagreed["answered"], disagreed["shadow"]) == ("m", 1, 2)
    assert disagreed["rows"] == [(5, 1, 1, 0), (6, 0, 1, 0)]


def test_only_what_differs_more_than_what_was_told_is_told(world):
    world.runtimes[2].answer = lambda x: scored(x / 2)
    world.follow(Shadow(2, 1.0))
    for _ in range(40):
        world.answer([0.4] * 10)
        world.pause()
    assert len(world.told) == KEPT
    world.answer([0.5] + [0.6] * 10)
    world.pause()
    assert len(world.told) == KEPT + MAX_AT_ONCE
    world.shadows.begin_anew()  # a new control knows of none
    world.answer([0.4] * 10)
    world.pause()
    assert len(world.told) == KEPT + 2 * MAX_AT_ONCE


def test_what_came_past_the_route_and_what_nobody_got_is_not_copied(world):
    world.follow(Shadow(2, 1.0))
    world.answer([0.1], [0.2], about=PAST)
    world.answer([0.1], [0.2, 0.3], [0.4], gone=[1])
    world.pause()
    assert world.counts() == {"copied": 2, "rows": 2, "agreed": 2}


def test_a_share_of_requests_is_copied(world):
    world.follow(Shadow(2, 0.25, max_waiting_rows=100_000))
    for _ in range(100):
        world.answer(*[[0.1, 0.2]] * 10)
    world.pause(100)
    copied = world.counts()["copied"]
    assert copied % 2 == 0  # a request whole or not at all
    assert 350 < copied < 650
    assert world.counts()["rows"] == copied


@pytest.mark.parametrize(
    "bounds", [{"max_waiting_rows": 10}, {"max_waiting_bytes": 10 * 12}], ids=["rows", "bytes"]
)
def test_what_finds_no_room_is_dropped_and_counted(world, bounds):
    world.follow(replace(Shadow(2, 1.0), **bounds))
    for _ in range(7):
        world.answer([0.1, 0.2])
    assert world.counts() == {"copied": 14, "dropped": 4}
    world.pause()
    assert world.counts() == {"copied": 14, "dropped": 4, "rows": 10, "agreed": 10}


def test_a_shadow_that_fails_is_counted_by_row_and_fails_no_other_copy(world):
    world.follow(Shadow(2, 1.0))
    world.runtimes[2].poison = np.float32(0.5)
    world.answer([0.1])
    world.answer([0.5, 0.2])
    world.answer([0.3])
    world.pause()
    assert world.counts() == {"copied": 4, "rows": 2, "agreed": 2, "failed": 2}


def test_more_rows_than_a_shadow_runs_at_once_count_as_failed(world):
    world.follow(Shadow(2, 1.0))
    world.answer([0.1] * 65)
    world.pause()
    assert world.counts() == {"copied": 65, "failed": 65}


def test_a_batch_larger_than_the_shadow_runs_at_once_is_copied_request_by_request(world):
    world.follow(Shadow(2, 1.0))
    world.answer(*[[0.1] * 10] * 8)
    world.pause(2)
    assert world.counts() == {"copied": 80, "rows": 80, "agreed": 80}
    assert [len(run[0]) for run in world.runtimes[2].runs] == [60, 20]


def test_some_runs_are_made_by_both_versions_and_timed(world):
    world.follow(Shadow(2, 1.0))
    for _ in range(20):
        world.answer([0.1, 0.2])
        world.pause()
    words = world.arena.array(world.block(1, 2), 0)
    assert (words[p.RUN_ROWS], words[p.BOTH_ROWS]) == (40, 4)
    assert words[p.FIRST_NS] > 0
    assert len(world.runtimes[1].runs) == 2
    assert world.counts() == {"copied": 40, "rows": 40, "agreed": 40}


def test_what_two_versions_answer_is_counted_apart_and_a_variant_is_no_shadow_of_its_own(world):
    world.follow(Shadow(2, 1.0), Shadow(3, 1.0), variants=(1, 2))
    world.answer([0.1])
    world.answer([0.2, 0.3], version=2)
    world.answer([0.4])
    world.pause(3)
    assert world.counts(shadow=3, answered=1) == {"copied": 2, "rows": 2, "agreed": 2}
    assert world.counts(shadow=3, answered=2) == {"copied": 2, "rows": 2, "agreed": 2}
    assert world.counts(shadow=2, answered=1) == {"copied": 2, "rows": 2, "agreed": 2}
    assert world.counts(shadow=2, answered=2) == {}


def test_an_answer_that_is_no_number_is_unlike_any(world):
    world.follow(Shadow(2, 1.0))
    world.runtimes[2].answer = lambda x: scored(np.where(x > 0.5, np.nan, x))
    world.answer([0.1, 0.9])
    world.pause()
    assert world.counts() == {"copied": 2, "rows": 1, "agreed": 1, "unlike": 1}


def test_without_scores_whole_answers_are_held_against_each_other():
    world = World(WHOLE)
    world.runtimes[2].answer = lambda x: (x + (x > 5)).astype(np.int64)
    world.follow(Shadow(2, 1.0))
    world.answer([1, 7], [2])
    world.answer([9])
    world.pause()
    assert world.counts() == {"copied": 4, "rows": 4, "agreed": 2}
    assert [one["agree"] for one in world.told] == [False, False]
    world.close()


def test_what_a_shadow_says_otherwise_is_captured_with_what_was_answered(world):
    kept: list[Any] = []
    writer = SimpleNamespace(
        shadows=True,
        subject=lambda parameters: parameters["who"].encode(),
        keep=lambda *arguments: kept.append(arguments),
    )
    world.endpoint(1).capture = writer
    world.runtimes[2].answer = lambda x: scored(np.where(x > 0.7, 0.2, x))
    world.follow(Shadow(2, 1.0))
    about = SimpleNamespace(variant="a", parameters={"who": "ann"})
    world.answer([0.1], about=about)
    world.answer([0.3, 0.8], [0.9], about=about)
    world.pause()
    ((inputs, outputs, sequences, rows, subjects, places),) = kept
    assert inputs[0][:, 0].tolist() == pytest.approx([0.3, 0.8, 0.9])
    assert outputs[0][:, 1].tolist() == pytest.approx([0.3, 0.8, 0.9])
    assert (sequences, rows, subjects) == ((2, 3), (2, 1), [b"ann", b"ann"])
    assert places.tolist() == [1, 2]


def test_a_plan_that_changes_nothing_of_a_shadow_leaves_its_copies_waiting(world):
    world.follow(Shadow(2, 1.0))
    world.answer([0.1])
    world.follow(Shadow(2, 1.0), Shadow(3, 1.0))
    world.answer([0.2])
    world.pause(2)
    assert world.counts() == {"copied": 2, "rows": 2, "agreed": 2}
    assert world.counts(shadow=3) == {"copied": 1, "rows": 1, "agreed": 1}


def test_who_waits_for_a_shadow_that_leaves_is_dropped_and_counted(world):
    world.follow(Shadow(2, 1.0))
    world.answer([0.1])
    world.follow()
    assert world.endpoint(1).tap is None
    world.answer([0.2])
    world.pause()
    assert world.counts() == {"copied": 1, "dropped": 1}
    held_words = world.arena.array(world.block(1, 2), 0)[layout.SKETCH_HELD]
    assert held_words == 0
    world.follow(Shadow(2, 0.5))
    world.follow(Shadow(2, 1.0))
    assert world.arena.array(world.block(1, 2), 0)[layout.SKETCH_HELD] == 1
    world.answer([0.3])
    world.pause()
    assert world.counts() == {"copied": 2, "dropped": 1, "rows": 1, "agreed": 1}


def test_a_shadow_of_another_signature_gets_no_copies_and_the_log_says_so(world, caplog):
    world.served[2].deployment.signature = WHOLE
    world.follow(Shadow(2, 1.0))
    assert world.endpoint(1).tap is None
    assert "shadow 2 takes or gives other tensors than version 1" in caplog.text


def test_what_goes_wrong_in_copying_reaches_nobody_and_is_told_once(world, caplog):
    world.follow(Shadow(2, 1.0))
    for _ in range(2):
        world.answer([0.1], about=None)
    assert world.counts() == {}
    assert len([one for one in caplog.records if "could not be copied" in one.getMessage()]) == 1
