"""A batcher with everything around it made of cardboard: clock, loop, threads, model, clients."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gateway.config import ModelSettings
from gateway.errors import GatewayError, ModelFailed
from gateway.serving.batcher import Batcher
from gateway.serving.cost import CostModel
from gateway.serving.riders import Batch, Rider
from gateway.serving.turn import TurnBudget
from gateway.tensors import Array, Signature, TensorSpec

ONE_NUMBER = Signature(
    (TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),), True
)
ANY_LENGTH = Signature(
    (TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),), True
)
INFINITE = float("inf")
# Seconds by rows: of runs for the event loop, and for a thread.
SHORT = {1: 10e-6, 100: 20e-6}
LONG = {1: 1e-3, 100: 2e-3}


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.ready: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.timers: list[tuple[float, int, FakeTimer, Callable[..., Any], tuple[Any, ...]]] = []

    def call_soon(self, callback, *args):
        self.ready.append((callback, args))

    call_soon_threadsafe = call_soon

    def call_later(self, delay, callback, *args):
        timer = FakeTimer()
        place = (self.clock.now + delay, len(self.timers), timer, callback, args)
        heapq.heappush(self.timers, place)
        return timer

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for callback, args in ready:
            callback(*args)

    def settle(self) -> None:
        while self.ready:
            self.turn()

    def advance(self, seconds: float) -> None:
        """Lets time pass; timers go off when they are due."""
        self.settle()
        end = self.clock.now + seconds
        while self.timers and self.timers[0][0] <= end:
            when, _, timer, callback, args = heapq.heappop(self.timers)
            if not timer.cancelled:
                self.clock.now = max(self.clock.now, when)
                callback(*args)
                self.settle()
        self.clock.now = end


class FakeExecutor:
    """Holds runs until a test lets them happen."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.broken = False

    def submit(self, call, *args):
        if self.broken:
            raise RuntimeError("can't start new thread")
        self.waiting.append((call, args))

    def run_next(self) -> None:
        call, args = self.waiting.pop(0)
        call(*args)

    def close(self) -> None:
        self.waiting.clear()


class FakeRuntime:
    """Multiplies by ten; fails on any input that holds `poison`; takes `seconds` of its clock."""

    threads = 1

    def __init__(
        self,
        signature: Signature = ONE_NUMBER,
        clock: FakeClock | None = None,
        device: str = "cpu",
    ) -> None:
        self.device = device
        self.signature = signature
        self.clock = clock
        self.seconds = 0.0
        self.poison: float | None = None
        self.answer: Callable[[Array], Array] = lambda x: x * 10
        self.error: Exception = ModelFailed("bad value")
        self.runs: list[list[Array]] = []
        self.wanted: list[tuple[int, ...]] = []
        self.closed = 0

    def run(self, inputs: Sequence[Array], wanted: Sequence[int]) -> list[Array]:
        self.runs.append(list(inputs))
        self.wanted.append(tuple(wanted))
        if self.clock is not None:
            self.clock.now += self.seconds
        if self.poison is not None and (inputs[0] == self.poison).any():
            raise self.error
        return [self.answer(inputs[0]) for _ in wanted]

    def close(self) -> None:
        self.closed += 1


class Client:
    """Sits where an exchange would."""

    def __init__(self) -> None:
        self.gone = False
        self.answers: list[Any] = []

    def leave(self) -> None:
        self.gone = True


class Room:
    """A batcher and its surroundings.

    `cost` is what the cost models are told of before: seconds for each row count; by default they
    know nothing, so that every run goes to the executor and waits there for `run_next`. `deliver`
    and `refuse` may be replaced by what a test would rather have done.
    """

    def __init__(
        self,
        signature: Signature = ONE_NUMBER,
        cost: dict[int, float] | None = None,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)
        self.executor = FakeExecutor()
        self.runtime = FakeRuntime(signature, self.clock, device)
        self.turn = TurnBudget(self.loop)
        self.batches: list[Batch] = []
        self.refused: list[tuple[Rider, GatewayError]] = []
        self.left = 0
        self.marks: list[int] = []
        self.deliver: Callable[[Batch], Any] = self._answer
        self.refuse: Callable[[Rider, GatewayError], Any] = self._turn_away
        wall, hold = CostModel(), CostModel()
        for rows, seconds in (cost or {}).items():
            wall.add(rows, seconds)
            hold.add(rows, seconds)
        self.batcher = Batcher(
            "m",
            self.runtime,
            ModelSettings(**settings),
            lambda batch: self.deliver(batch),
            lambda rider, error: self.refuse(rider, error),
            self.loop,
            self.turn,
            self.executor,
            wall=wall,
            hold=hold,
            left=self._count_left,
            mark=self.marks.append,
            clock=self.clock,
            cpu_clock=self.clock,
        )

    def submit(self, *values: float, length: int = 1, priority: int = 0, timeout: float = INFINITE):
        """One rider whose rows are `values`, each repeated `length` times; gives its client."""
        array = np.repeat(np.array(values, np.float32)[:, None], length, axis=1)
        client = Client()
        deadline = self.clock.now + timeout
        rider = Rider(client, None, (array,), len(values), (0,), priority, deadline)
        self.batcher.submit(rider)
        return client

    def run_all(self) -> None:
        """Lets everything happen that needs no time."""
        self.loop.settle()
        while self.executor.waiting:
            self.executor.run_next()
            self.loop.settle()

    @property
    def sizes(self) -> list[int]:
        return [batch.rows for batch in self.batches]

    @property
    def reasons(self) -> list[str]:
        return [batch.reason for batch in self.batches]

    def _answer(self, batch: Batch) -> None:
        self.batches.append(batch)
        start = 0
        for index, rider in enumerate(batch.riders):
            stop = start + rider.rows
            if rider.exchange.gone:
                pass
            elif batch.error is not None:
                rider.exchange.answers.append(batch.error.code)
            elif batch.trimmed is not None:
                output = batch.trimmed[index][0]
                assert output is not None
                rider.exchange.answers.append(output.tolist())
            else:
                output = batch.outputs[0]
                assert output is not None
                rider.exchange.answers.append(output[start:stop, 0].tolist())
            start = stop

    def _turn_away(self, rider: Rider, error: GatewayError) -> None:
        self.refused.append((rider, error))
        rider.exchange.answers.append(error.code)

    def _count_left(self, count: int) -> None:
        self.left += count
