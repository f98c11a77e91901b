"""Lets requests share runs: when a batch goes, where it runs, and who is refused.

Knows slots, deadlines and the event loop. Knows nothing of HTTP, of wire formats, or of what a
model is beyond its signature and its fitted cost.

There is no task and no future here. `submit` only queues; batches are formed once per turn of the
event loop, when a run has finished, and by one timer. A batch goes when a slot is free and it is
full, has reached a preferred size, or its oldest rider's delay is over; without a delay that is at
once, so that everything parsed in one turn rides together, and what comes while all slots are busy
makes the next batch. Everything but the runs themselves happens on the event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter, thread_time

from gateway.config import ModelSettings
from gateway.errors import DeadlineExpired, GatewayError
from gateway.serving.admission import Admission, Probe
from gateway.serving.cost import CostModel
from gateway.serving.execution import Clock, Execution
from gateway.serving.lobby import Lobby, key_of
from gateway.serving.outputs import OutputSets
from gateway.serving.padding import Padder
from gateway.serving.riders import INFINITE, Batch, Rider
from gateway.serving.runtime import Runtime
from gateway.serving.threads import Executor
from gateway.serving.turn import Scheduler, Timer, TurnBudget

log = logging.getLogger("penstock.serving")

# A longer run on the loop would be felt by everyone else whom this worker serves.
ON_LOOP_S = 100e-6
# What a run takes may depend on its values, and those are the client's: a model that was so far off
# its estimate once is not trusted on the loop again.
NEVER_ON_LOOP_S = 20 * ON_LOOP_S
# A delay is cut short this long before a deadline: timers of the loop are a millisecond coarse.
RUSH_S = 0.002
# Looking through the whole queue for lapsed deadlines costs 100 ns a rider: once in 5 ms will do.
PURGE_EVERY_S = 0.005

Deliver = Callable[[Batch], None]
Refuse = Callable[[Rider, GatewayError], None]


class Batcher:
    """The way from a submitted rider to a delivered batch. Lives on the event loop.

    Args:
        name: the model's, for messages.
        runtime: runs the batches.
        settings: `max_batch_size`, `max_queue_delay_ms`, `max_queue_rows`, `max_queue_ms`,
            `preferred_batch_sizes`, `timeout_ms`, `instances` and `padding` apply here.
        deliver: gets every batch that has run, or failed, exactly once.
        refuse: gets every rider that was queued and will not ride, with the reason.
        scheduler: the event loop.
        turn: the worker's, shared with its other batchers.
        executor: runs what does not run on the loop, `settings.instances` batches at a time.
        wall, hold: cost models of the time a run takes, and of the time it would hold the loop.
        left: gets the number of riders that were dropped because their client left.
        mark: gets +1 before a batch runs and -1 after.
        output_sets: chooses what a batch runs on; None: always `runtime`.
        clock, cpu_clock: seconds; of the wall, and of the calling thread.

    Attributes:
        running: batches under way.
        in_flight: rows under way.
        riding: riders under way, or whose answers are being written on a thread.
        isolations: batches that failed and whose riders were run again apart.
        execution: how batches run.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        settings: ModelSettings,
        deliver: Deliver,
        refuse: Refuse,
        scheduler: Scheduler,
        turn: TurnBudget,
        executor: Executor,
        *,
        wall: CostModel | None = None,
        hold: CostModel | None = None,
        left: Callable[[int], None] | None = None,
        mark: Callable[[int], None] | None = None,
        output_sets: OutputSets | None = None,
        clock: Clock = perf_counter,
        cpu_clock: Clock = thread_time,
    ) -> None:
        # Fixed at start.
        self._name = name
        self._deliver = deliver
        self._refuse = refuse
        self._scheduler = scheduler
        self._turn = turn
        self._executor = executor
        self._on_left = left
        self._mark = mark
        self._output_sets = output_sets
        self._clock = clock
        self._max_rows = settings.max_batch_size if runtime.signature.batched else 0
        self._admission = Admission(
            name,
            self._max_rows,
            settings.max_queue_rows,
            settings.max_queue_ms * 1e-3,
            settings.instances,
        )
        self._timeout_s = INFINITE if settings.timeout_ms is None else settings.timeout_ms * 1e-3
        self._timed = settings.timeout_ms is not None
        self._on_loop = runtime.device == "cpu"
        self._one_thread = runtime.threads == 1
        shared = self._max_rows > 1
        self._delay_s = settings.max_queue_delay_ms * 1e-3 if shared else 0.0
        preferred = frozenset(settings.preferred_batch_sizes if shared else ())
        padder = (
            Padder(runtime.signature, settings.padding) if shared and settings.padding else None
        )
        key = key_of(runtime.signature, padder) if shared else None
        self.execution = Execution(name, runtime, padder, clock, cpu_clock)
        # Changed by every run.
        self.wall = wall or CostModel()
        self.hold = hold or CostModel()
        self._probe = Probe()
        self._room = self._admission.room(self.wall)
        self._lobby = Lobby(self._max_rows, self._delay_s, preferred, key)
        self._free = settings.instances
        self._expected_ends: dict[int, float] = {}
        self._owed = 0
        self._unwritten = 0
        self.running = 0
        self.in_flight = 0
        self.riding = 0
        self.isolations = 0
        # When to look again.
        self._scheduled = False
        self._timer: Timer | None = None
        self._timer_at = INFINITE
        self._last_purge = -INFINITE
        # How it ends.
        self._draining = False
        self._on_empty: Callable[[], None] | None = None

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        return self._lobby.rows

    @property
    def backed_up(self) -> bool:
        """Riders wait for no company any more, but for a run to end."""
        return self._lobby.rows > 0 and self._free <= self._unwritten

    @property
    def queued_riders(self) -> int:
        """Riders that wait, counted one line after the other: for gauges."""
        return self._lobby.riders

    # ---- in -------------------------------------------------------------------------------------

    def submit(self, rider: Rider) -> None:
        """Queues a rider, to be delivered or refused exactly once, never from within this call.

        A rider whose client leaves while it waits is dropped: neither delivered nor refused, but
        counted to `left`.

        Raises:
            BatchTooLarge: it has more rows than a batch may have.
            QueueFull: its rows do not fit into the queue.
            DeadlineUnmeetable: by the fitted cost its answer would come after its deadline.
            Draining: the deployment is leaving.
            InvalidTensor: it has no rows.
        """
        rows = rider.rows
        lobby = self._lobby
        if (
            lobby.rows + rows > self._room
            or rows > self._max_rows > 0
            or rows < 1
            or self._draining
        ):
            raise self._admission.objection(rows, lobby.rows, self._room, self._draining)
        now = rider.queued = self._clock()
        if self._timed or rider.deadline != INFINITE:
            self._admit(rider, now)
        lobby.add(rider)
        if self._free and not self._scheduled:
            self._scheduled = True
            self._scheduler.call_soon(self._next_turn)

    def _admit(self, rider: Rider, now: float) -> None:
        """Brings the deadline forward to the model's own, and refuses one that cannot be met."""
        deadline = min(rider.deadline, now + self._timeout_s)
        slot_free_s = 0.0
        if self._free == 0 and self._expected_ends:
            slot_free_s = max(min(self._expected_ends.values()) - now, 0.0)
        before = self._lobby.rows_before(rider.priority)
        expected_s = self._admission.expected_s(self.wall, rider.rows, before, slot_free_s)
        if now + expected_s > deadline and not self._tries_out(now, deadline, expected_s):
            raise self._admission.unmeetable(deadline - now, expected_s)
        rider.deadline = deadline
        self._wake_at(max(deadline, self._last_purge + PURGE_EVERY_S), now)

    def _tries_out(self, now: float, deadline: float, expected_s: float) -> bool:
        """Takes a rider that is likely to be late, to learn what a run costs by now."""
        if self.running or self._lobby.rows or deadline <= now:
            return False
        if not self._probe.due(now, self.wall.runs, expected_s):
            return False
        self.wall.forget()
        return True

    # ---- running --------------------------------------------------------------------------------

    def _next_turn(self) -> None:
        """Lets go what is due of what came before this turn; later riders wait for the next."""
        self._scheduled = False
        self._pump()

    def _pump(self) -> None:
        lobby, now = self._lobby, self._clock()
        rows = lobby.rows
        hurry = "drain" if self._draining else ""
        if self._delay_s and not hurry and now >= self._rush_at():
            hurry = "delay"
        while rows > 0 and self._free > self._unwritten:
            batch = lobby.next_batch(now, hurry)
            if lobby.expired or lobby.gone:
                self._turn_away_lapsed()
            if batch is None:
                break
            rows -= batch.rows
            self._launch(batch)
        if self._delay_s and lobby.rows and self._free > self._unwritten and not self._draining:
            self._wake_at(min(lobby.next_due(), max(self._rush_at(), now)), now)
        if self._on_empty is not None:
            self._check_empty()

    def _rush_at(self) -> float:
        """When a batch must go, delay or no delay, for the earliest deadline to be met."""
        rows = min(self._lobby.rows, self._max_rows)
        return self._lobby.next_deadline - self.wall.estimate(rows) - RUSH_S

    def _launch(self, batch: Batch) -> None:
        self._free -= 1
        self._owed += 1
        self.running += 1
        self.in_flight += batch.rows
        self.riding += len(batch.riders)
        if self._mark is not None:
            self._mark(1)
        if self._output_sets is not None:
            batch.runtime = self._output_sets.choose(batch.wanted)
        if self._short(batch.rows) and not self._turn.spent:
            self._run_on_loop(batch)
            return
        self._expected_ends[id(batch)] = batch.formed + self.wall.estimate(batch.rows)
        self._hand_over(self._run_on_thread, batch)

    def _short(self, rows: int) -> bool:
        """A run of so many rows may be made on the event loop."""
        hold = self.hold
        return self._on_loop and hold.runs > 0 and hold.estimate(rows) < ON_LOOP_S

    def _run_on_loop(self, batch: Batch) -> None:
        batch.on_loop = True
        self.execution.run(batch)
        if batch.error is not None and len(batch.riders) > 1:
            self._hand_over(self._isolate_on_thread, batch)
            return
        if batch.cpu_s > NEVER_ON_LOOP_S:
            self._on_loop = False
        self._release(batch)
        self._give(batch)
        self._owed -= 1
        self._turn.spend(self._clock() - batch.started)

    def _hand_over(self, call: Callable[[Batch], None], batch: Batch) -> None:
        try:
            self._executor.submit(call, batch)
        except RuntimeError:  # no thread could be started
            log.exception("model '%s': no thread to run on", self._name)
            batch.error = GatewayError("internal error: no thread to run on")
            self._scheduler.call_soon(self._finished, batch, [batch])

    def _run_on_thread(self, batch: Batch) -> None:
        self.execution.run(batch)
        if batch.error is not None and len(batch.riders) > 1:
            self._isolate_on_thread(batch)
        else:
            self._scheduler.call_soon_threadsafe(self._finished, batch, [batch])

    def _isolate_on_thread(self, batch: Batch) -> None:
        parts = self.execution.isolate(batch)
        self._scheduler.call_soon_threadsafe(self._finished, batch, parts)

    def _finished(self, batch: Batch, parts: list[Batch]) -> None:
        """A thread is done with a batch: the slot's next run starts before this one is answered."""
        began = self._clock()
        self._release(batch)
        if parts[0] is not batch:
            self.isolations += 1
        waiting = self._lobby.rows
        if waiting and not self._short(min(waiting, self._max_rows or 1)):
            self._pump()
        for part in parts:
            self._give(part)
        self._owed -= 1
        self._turn.spend(self._clock() - began)
        self._look_again()

    def _look_again(self) -> None:
        """Something has come free: in the next turn, if anybody waits for it."""
        if (self._lobby.rows or self._on_empty is not None) and not self._scheduled:
            self._scheduled = True
            self._scheduler.call_soon(self._next_turn)

    def _release(self, batch: Batch) -> None:
        self._free += 1
        self.running -= 1
        self.in_flight -= batch.rows
        self.riding -= len(batch.riders)
        self._expected_ends.pop(id(batch), None)
        if self._mark is not None:
            self._mark(-1)

    def _give(self, batch: Batch) -> None:
        if batch.error is None and batch.runtime is None:
            wall_s = batch.finished - batch.started
            self.wall.add(batch.rows, wall_s)
            self._room = self._admission.room(self.wall)
            # A thread's wall time holds waiting for the core and the interpreter, which a run on
            # the loop would not see: judged by it, a model once moved off the loop would never come
            # back. Where a run has several threads, one thread's own time says too little.
            self.hold.add(batch.rows, batch.cpu_s if self._one_thread else wall_s)
        try:
            self._deliver(batch)
        except Exception:
            log.exception("model '%s': answering a batch failed", self._name)

    # ---- answers that take a thread --------------------------------------------------------------

    def answers_later(self, batch: Batch) -> None:
        """From within `deliver`: a batch's answers are being written elsewhere, until `answered`.

        So long a drain waits for it, and it keeps a slot from the next batch: outputs that wait to
        be written are memory, which nothing else bounds.
        """
        self._owed += 1
        self._unwritten += 1
        self.riding += len(batch.riders)

    def answered(self, batch: Batch) -> None:
        """The answers of such a batch have been written."""
        self._owed -= 1
        self._unwritten -= 1
        self.riding -= len(batch.riders)
        self._look_again()

    # ---- deadlines and the timer ----------------------------------------------------------------

    def _wake_at(self, when: float, now: float) -> None:
        if when < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = when
            self._timer = self._scheduler.call_later(max(when - now, 0.0), self._woke)

    def _woke(self) -> None:
        self._timer, self._timer_at = None, INFINITE
        lobby, now = self._lobby, self._clock()
        if now >= lobby.next_deadline:
            self._last_purge = now
            lobby.purge(now)
            self._turn_away_lapsed()
        self._pump()
        if lobby.next_deadline != INFINITE:
            self._wake_at(max(lobby.next_deadline, self._last_purge + PURGE_EVERY_S), now)

    def _turn_away_lapsed(self) -> None:
        lobby = self._lobby
        gone, lobby.gone = lobby.gone, 0
        expired, lobby.expired = lobby.expired, []
        if gone and self._on_left is not None:
            self._on_left(gone)
        for rider in expired:
            words = f"model '{self._name}': Request timeout expired while it waited"
            self._turn_away(rider, DeadlineExpired(words))

    def _turn_away(self, rider: Rider, error: GatewayError) -> None:
        try:
            self._refuse(rider, error)
        except Exception:
            log.exception("model '%s': refusing a request failed", self._name)

    # ---- leaving --------------------------------------------------------------------------------

    def drain(self, on_empty: Callable[[], None]) -> None:
        """Takes no more riders, lets who waits go without delay, and calls back once, when done."""
        self._draining = True
        self._on_empty = on_empty
        self._scheduler.call_soon(self._next_turn)

    def abandon(self, error: GatewayError) -> int:
        """Refuses everybody who still waits, and says how many they were; what runs goes on."""
        riders = self._lobby.clear()
        for rider in riders:
            self._turn_away(rider, error)
        if self._on_empty is not None:
            self._check_empty()
        return len(riders)

    def _check_empty(self) -> None:
        if self._lobby.rows or self._owed or self._on_empty is None:
            return
        on_empty, self._on_empty = self._on_empty, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, INFINITE
        on_empty()
