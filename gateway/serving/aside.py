"""Runs what nobody waits for, in the time that a worker has to spare.

Knows riders, a runtime and how busy this process is. Knows nothing of whose copies the riders are,
or of what becomes of their outputs.

Riders wait in one bounded line until a timer finds the process idle enough. What runs shortly then
runs on the event loop, whole lines at a time, so that a run costs each of them little; anything
longer runs on a thread of its own, which the system is asked to let wait for every other. Where
nothing is to spare nothing runs, but for one short run a second, and the line fills up: what finds
no room is the caller's to count.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter, process_time, thread_time
from typing import Final

from gateway.config import ModelSettings
from gateway.errors import GatewayError
from gateway.serving.batcher import NEVER_ON_LOOP_S, ON_LOOP_S
from gateway.serving.cost import CostModel
from gateway.serving.execution import Clock, Execution
from gateway.serving.lobby import key_of
from gateway.serving.padding import Padder
from gateway.serving.riders import Batch, Rider
from gateway.serving.runtime import Runtime
from gateway.serving.threads import Executor
from gateway.serving.turn import Scheduler, TurnBudget

log = logging.getLogger("penstock.serving")

# Long enough for many requests to share a run.
PAUSE_S: Final = 0.005
# Of the processor time that there is. A process that uses more has requests to wait for it.
BUSY: Final = 0.8
# The loop was held so long by something else: requests wait behind it.
LATE_S: Final = 0.002
# One run is made nonetheless where none was for so long.
PATIENCE_S: Final = 1.0
# That takes no longer, or has one copy: a hundredth of a worker is what others lose by it.
SHORT_S: Final = 0.01
# A tenth of what others get where they want the same core. Less would be nothing, and a thread that
# gets nothing may hold the interpreter.
NICE: Final = 10
# Of so many runs one is made twice, by another model beside this one, for what both take. Their
# fitted lines do not tell: these runs are others, and find the processor's caches cold.
BESIDE_EVERY: Final = 16

Deliver = Callable[[Batch, float], None]
"""Gets a batch that has run, or failed, and the processor time of the other model's run of it, in
seconds; 0.0: it made none."""
Beside = Callable[[Batch], Execution | None]
"""Whose run of a batch is to be timed beside it; None: nobody's."""


class Aside:
    """The way of riders without clients. Lives on the event loop.

    Attributes:
        rows, nbytes: that wait.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        settings: ModelSettings,
        deliver: Deliver,
        scheduler: Scheduler,
        turn: TurnBudget,
        executor: Executor,
        hold: CostModel,
        mark: Callable[[int], None] | None = None,
        cores: float = 1.0,
        beside: Beside = lambda batch: None,
        crowded: Callable[[], bool] = lambda: False,
        clock: Clock = perf_counter,
        cpu_clock: Clock = thread_time,
        process_clock: Clock = process_time,
    ) -> None:
        """Takes its collaborators.

        Args:
            name: the model's, for messages.
            runtime: runs the batches.
            settings: `max_batch_size` and `padding` apply here.
            deliver: gets every batch that has run, or failed.
            scheduler: the event loop.
            turn: the worker's.
            executor: one thread, for this and those before it that were closed.
            hold: cost model of the time that a run would hold the loop.
            mark: gets +1 before a batch runs and -1 after.
            cores: that this process may keep busy.
            beside: who else runs some of the batches, to be timed.
            crowded: riders that somebody waits for, wait for a run.
            clock: seconds.
            cpu_clock: processor time of the calling thread, seconds.
            process_clock: that of all threads.
        """
        self._name = name
        self._deliver = deliver
        self._scheduler = scheduler
        self._turn = turn
        self._executor = executor
        self._hold = hold
        self._mark = mark
        self._cores = max(cores, 1.0)
        self._beside = beside
        self._crowded = crowded
        self._runs = 0
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._process_clock = process_clock
        signature = runtime.signature
        self.max_rows = settings.max_batch_size if signature.batched else 0
        shared = self.max_rows > 1
        padder = Padder(signature, settings.padding) if shared and settings.padding else None
        self._key = key_of(signature, padder) if shared else None
        self._execution = Execution(name, runtime, padder, clock, cpu_clock)
        self._on_loop = runtime.device == "cpu"
        self._one_thread = runtime.threads == 1  # else its own thread's time says too little
        self._nice = False
        # Who waits.
        self._waiting: deque[tuple[Rider, int]] = deque()
        self.rows = 0
        self.nbytes = 0
        # When to look again, and what the process had used when that was settled.
        self._armed = self._running = self._closed = False
        self._since = self._cpu = self._process = 0.0
        self._last_run = clock()

    def add(self, rider: Rider, size: int) -> None:
        """Has a rider run some time; its owner keeps `rows` and `nbytes` within bounds.

        Args:
            rider: of at most `max_rows`.
            size: bytes that wait with it.
        """
        self._waiting.append((rider, size))
        self.rows += rider.rows
        self.nbytes += size
        if not self._armed and not self._running:
            self._arm()

    def close(self) -> list[Rider]:
        """Runs nothing more; gives those who still wait back. What runs is delivered."""
        self._closed = True
        left = [rider for rider, _ in self._waiting]
        self._waiting.clear()
        self.rows = self.nbytes = 0
        return left

    # ---- when -----------------------------------------------------------------------------------

    def _arm(self) -> None:
        self._armed = True
        self._since = self._clock()
        self._cpu, self._process = self._cpu_clock(), self._process_clock()
        self._scheduler.call_later(PAUSE_S, self._woke)

    def _woke(self) -> None:
        self._armed = False
        if not self._waiting:
            return
        now = self._clock()
        has_time = self._has_time(now)
        if has_time or now - self._last_run >= PATIENCE_S:
            self._last_run = now
            self._run(self._next_batch(now, self.max_rows if has_time else self._few()))
        if self._waiting and not self._running and not self._armed:
            self._arm()

    def _has_time(self, now: float) -> bool:
        spent_s = max(now - self._since, PAUSE_S)
        return (
            spent_s < PAUSE_S + LATE_S
            and not self._turn.spent
            # Beside other processes this one gets less of the cores than it would use.
            and not self._crowded()
            and self._cpu_clock() - self._cpu < BUSY * spent_s
            and self._process_clock() - self._process < BUSY * spent_s * self._cores
        )

    # ---- what -----------------------------------------------------------------------------------

    def _few(self) -> int:
        """Rows whose run is short; 1 where that is not known."""
        rows, hold = 1, self._hold
        while hold.runs and 2 * rows <= self.max_rows and hold.estimate(2 * rows) <= SHORT_S:
            rows *= 2
        return rows

    def _next_batch(self, now: float, most: int) -> Batch:
        """Those that may share a run of so many rows, in the order in which they came."""
        waiting, key = self._waiting, self._key
        riders: list[Rider] = []
        rows, alike = 0, None
        while waiting:
            rider, size = waiting[0]
            shape = None if key is None else key(rider.inputs)
            if riders and (rows + rider.rows > most or shape != alike):
                break
            alike = shape
            waiting.popleft()
            riders.append(rider)
            rows += rider.rows
            self.nbytes -= size
        self.rows -= rows
        return Batch(riders, rows, "idle", now)

    def _run(self, batch: Batch) -> None:
        if self._mark is not None:
            self._mark(1)
        other = None
        if self._runs % BESIDE_EVERY == 0:
            other = self._beside(batch)
        self._runs += 1
        hold = self._hold
        if self._on_loop and hold.runs > 0 and hold.estimate(batch.rows) < ON_LOOP_S:
            batch.on_loop = True
            other_s = self._run_both(batch, other)
            if batch.error is None or len(batch.riders) == 1:
                self._on_loop = batch.cpu_s <= NEVER_ON_LOOP_S
                self._give([batch], other_s)
                self._turn.spend(self._clock() - batch.started)
                return
        self._running = True
        try:
            if not self._nice:
                self._nice = True
                self._executor.submit(wait_for_others)
            self._executor.submit(self._run_on_thread, batch, other)
        except RuntimeError:  # no thread could be started
            batch.error = GatewayError("internal error: no thread to run on")
            self._scheduler.call_soon(self._finished, [batch], 0.0)

    def _run_both(self, batch: Batch, other: Execution | None) -> float:
        """Runs a batch, here and maybe elsewhere; what the latter took. Neither is always first."""
        if other is None:
            self._execution.run(batch)
            return 0.0
        copy = Batch(batch.riders, batch.rows, batch.reason, batch.formed)
        runs = [(self._execution, batch), (other, copy)]
        for execution, one in runs if self._runs // BESIDE_EVERY % 2 else reversed(runs):
            execution.run(one)
        return copy.cpu_s if copy.error is None else 0.0

    def _run_on_thread(self, batch: Batch, other: Execution | None) -> None:
        other_s = 0.0
        if batch.error is None:  # else it has run on the loop
            other_s = self._run_both(batch, other)
        parts = [batch]
        if batch.error is not None and len(batch.riders) > 1:
            parts = self._execution.isolate(batch)
        self._scheduler.call_soon_threadsafe(self._finished, parts, other_s)

    def _finished(self, parts: list[Batch], other_s: float) -> None:
        self._running = False
        self._give(parts, other_s if len(parts) == 1 else 0.0)
        if self._waiting and not self._armed:
            self._arm()

    def _give(self, parts: list[Batch], other_s: float) -> None:
        if self._mark is not None:
            self._mark(-1)
        for part in parts:
            if part.error is None and self._one_thread:
                self._hold.add(part.rows, part.cpu_s)
            try:
                self._deliver(part, other_s)
            except Exception:
                log.exception("model '%s': what copies came to is lost", self._name)


def wait_for_others() -> None:
    """Asks the system to let the calling thread wait for those that are busy."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
