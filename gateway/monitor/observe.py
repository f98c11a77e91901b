"""What a worker counts while it serves: one observer per loaded model, one per worker.

Knows words of the arena and plain numbers. Knows nothing of exchanges, batchers or HTTP.

Results are counted before an answer is written, so that a killed worker never answered more than it
counted; timings after, by one kernel call per executed batch, so that they cost the riders nothing
and a killed worker loses at most those of one batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

import numpy as np

from gateway.errors import GatewayError
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from kernels import timing
from kernels.timing import Stamps

# Up to here a batch's stamps are written by one prepared call, 7 ns a number; above, numpy's 20 ns
# do not matter beside the run of so many riders.
_PACKED_RIDERS: Final = 256
_INTERNAL: Final = layout.CODE_PLACE[GatewayError.code]


class BatchObserver:
    """Counts the traffic of one loaded model in one worker. Used on the event loop alone."""

    def __init__(
        self,
        arena: Arena,
        offset: int,
        worker: int,
        wall: Callable[[], float] = time.time,
        failing: Callable[[int], None] = lambda offset: None,
    ) -> None:
        """Takes a slot of a block.

        Args:
            arena: holds it.
            offset: of the block.
            worker: whose slot.
            wall: seconds since 1970.
            failing: hears of each failure once it is counted, with the offset.
        """
        self._offset = offset
        self._failing = failing
        self._slot = arena.slot(offset, worker)
        self._timing = arena.array(offset, worker)[layout.TIMING :]
        self._wall = wall
        # Until replaced by a larger one.
        self._stamps: Stamps = np.zeros(timing.ARRIVED + 2 * _PACKED_RIDERS)
        self._packers: dict[int, Callable[..., None]] = {}

    def counted(
        self,
        reason: str,
        executed_rows: int,
        ok: int,
        rows: int,
        left: int = 0,
        pruned: bool = False,
        non_finite: int = 0,
    ) -> None:
        """One run went well. Before the first answer of the batch is written.

        Args:
            reason: why it was launched, one of `layout.RELEASE_REASONS`.
            executed_rows: rows that ran, those of clients that left included.
            ok: requests about to be answered.
            rows: rows of those.
            left: requests whose client is gone.
            pruned: only the outputs asked for were computed.
            non_finite: of the rows that ran, those of which an output holds NaN or infinity.
        """
        slot = self._slot
        slot[layout.OK] += ok
        slot[layout.ROWS] += rows
        slot[layout.EXECUTIONS] += 1
        slot[layout.EXECUTED_ROWS] += executed_rows
        slot[layout.REASON_PLACE[reason]] += 1
        if left:
            slot[layout.LEFT] += left
        if pruned:
            slot[layout.PRUNED_RUNS] += 1
        if non_finite:
            slot[layout.NON_FINITE] += non_finite

    def observed(
        self,
        arrived: Sequence[float],
        queued: Sequence[float],
        started: float,
        ready: float,
        finished: float,
        encoded: float,
        rows: int,
        cpu_s: float = 0.0,
        on_loop: bool = False,
        padded_cells: int = 0,
        cells: int = 0,
    ) -> None:
        """The batch's answers are written: when everything happened, and what it cost.

        All times are seconds of one monotonic clock.

        Args:
            arrived: per answered rider, when the first byte of its request was read.
            queued: per answered rider, when it joined the queue.
            started: when the batch was released.
            ready: when its inputs were put together.
            finished: when its outputs were there.
            encoded: when its last answer was written.
            rows: that ran.
            cpu_s: CPU seconds of the run.
            on_loop: it ran on the event loop rather than on a thread.
            padded_cells: values that only filled shorter requests up.
            cells: values that ran, padding included.
        """
        riders = len(arrived)
        about = (started, ready, finished, encoded, rows, cpu_s, on_loop, padded_cells, cells)
        if riders <= _PACKED_RIDERS:
            pack = self._packers.get(riders) or self._new_packer(riders)
            pack(self._stamps, 0, *about, self._wall(), *arrived, *queued)
        else:
            self._fill(about, arrived, queued)
        timing.observe_batch(self._timing, self._stamps, riders)

    def erred(self, error: GatewayError, seconds: float = 0.0, requests: int = 1) -> None:
        """Requests are about to be answered with an error, after `seconds` in all."""
        slot = self._slot
        failed = error.at_fault
        slot[layout.FAILED if failed else layout.REFUSED] += requests
        slot[layout.ERRORS + layout.CODE_PLACE.get(error.code, _INTERNAL)] += requests
        slot[layout.FAIL_NS] += max(round(seconds * 1e9), 0)
        slot[layout.FAIL_TIMED] += requests
        if failed:
            self._failing(self._offset)

    def left(self, requests: int = 1) -> None:
        """Clients left whose requests never ran, or whose run failed."""
        self._slot[layout.LEFT] += requests

    def named(self) -> None:
        """A request has come by a path that names the version."""
        self._slot[layout.NAMED] += 1

    def reran(self, requests: int) -> None:
        """Riders of a failed batch run once more, alone."""
        self._slot[layout.RERUNS] += requests

    def built(self, success: bool) -> None:
        """A session that computes some of the outputs was built, or could not be."""
        self._slot[layout.PRUNED_BUILT if success else layout.PRUNED_REFUSED] += 1

    def waiting(self, queued_rows: int, queued_requests: int, in_flight: int) -> None:
        """Sets the gauges: what waits for a run now, and what is between arrival and answer."""
        slot = self._slot
        slot[layout.QUEUED_ROWS] = queued_rows
        slot[layout.QUEUED_REQUESTS] = queued_requests
        slot[layout.IN_FLIGHT] = in_flight

    def loaded(self, seconds: float) -> None:
        """This worker can answer with the model now; loading and warming it took `seconds`."""
        self._slot[layout.LOADS] += 1
        self._slot[layout.LOAD_NS] = int(seconds * 1e9)
        self._slot[layout.LOADED] += 1

    def unloaded(self) -> None:
        """What `loaded` told of is closed; other content of the model may still count here."""
        self._slot[layout.LOADED] -= 1
        if not self._slot[layout.LOADED]:
            self.waiting(0, 0, 0)

    def _new_packer(self, riders: int) -> Callable[..., None]:
        pack = Struct(f"{timing.ARRIVED + 2 * riders}d").pack_into
        self._packers[riders] = pack
        return pack

    def _fill(
        self, about: tuple[float, ...], arrived: Sequence[float], queued: Sequence[float]
    ) -> None:
        first, riders = timing.ARRIVED, len(arrived)
        if len(self._stamps) < first + 2 * riders:
            self._stamps = np.zeros(first + 2 * riders)
        self._stamps[:first] = (*about, self._wall())
        self._stamps[first : first + riders] = arrived
        self._stamps[first + riders : first + 2 * riders] = queued


class WorkerObserver:
    """Counts what is no model's. `slot` is open to hot code: `slot[layout.ACCEPTED] += 1`."""

    def __init__(self, arena: Arena, worker: int) -> None:
        """Takes the slot of `worker` in the block that counts connections and HTTP."""
        self.slot = arena.slot(arena.worker_block, worker)

    def refused(self, code: str) -> None:
        """A request is about to be refused before any model was known."""
        self.slot[layout.HTTP_ERRORS + layout.CODE_PLACE.get(code, _INTERNAL)] += 1

    def answered(self, status: int) -> None:
        """The ASGI side answers with this status."""
        self.slot[layout.STATUS + min(max(status // 100, 1), 5) - 1] += 1

    def mailed(self, sent: bool) -> None:
        """A message to control went out, or found no room."""
        self.slot[layout.MAILBOX_SENT if sent else layout.MAILBOX_DROPPED] += 1

    def dropped(self, records: int) -> None:
        """Records of the access log found no room."""
        self.slot[layout.ACCESS_DROPPED] += records

    def untraced(self, requests: int) -> None:
        """Traced requests found no room on their way to control."""
        self.slot[layout.TRACES_DROPPED] += requests

    def lagged(self, seconds: float) -> None:
        """The event loop came so much later than it was asked to."""
        ns = max(int(seconds * 1e9), 0)
        self.slot[layout.LOOP_LAG_NS] = ns
        if ns > self.slot[layout.MAX_LOOP_LAG_NS]:
            self.slot[layout.MAX_LOOP_LAG_NS] = ns
