"""Writes down what was answered, a record for each row, for outcomes to be joined to.

Knows a ring in the arena, scores and the numbers of requests. Knows nothing of requests otherwise,
of files, or of outcomes.

As all that is counted: after the answers of a batch are written, on the event loop or, where that
would take long, on a thread; nothing that goes wrong here reaches a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from typing import Final

import numpy as np

from gateway.monitor import layout
from gateway.monitor.hold_out import HoldOut
from gateway.monitor.scores import Reading
from gateway.monitor.sketch import THREAD_VALUES, Arrays
from gateway.monitor.slot import Slot
from gateway.tensors import Array
from kernels import ring

log = logging.getLogger("penstock.worker")

Words = ring.Words

NOBODY: Final = ring.NOBODY
NO_MARKS: Final = np.empty(0, np.int64)
# Up to here the numbers of a batch are written by one prepared call, 7 ns each; more ride on a
# thread.
_PACKED_REQUESTS: Final = 256


class LedgerWriter:
    """Of one deployment in one worker. Called on the event loop alone.

    Attributes:
        hold_out: who is held out; None: nobody.
    """

    def __init__(
        self,
        reading: Reading,
        slot: Slot,
        series: int,
        epoch: int,
        hold_out: HoldOut | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begins to write.

        Args:
            reading: where the model's scores are.
            slot: this worker's of the ring; all its deployments share it.
            series: the number that control gave to the version.
            epoch: of this worker process.
            hold_out: who is held out; None: nobody.
            wall: seconds since 1970.
        """
        self._reading = reading
        self._slot = slot
        self._series = series
        self._epoch = epoch
        self.hold_out = hold_out
        self._wall = wall
        self._complained = False
        # Of one batch, until the next.
        self._requests = np.zeros(2 * _PACKED_REQUESTS, np.int64)
        self._packers: dict[int, Callable[..., None]] = {}
        slot.use()

    def close(self) -> None:
        """Writes no more."""
        self._slot.leave()

    def record(
        self,
        outputs: Arrays,
        sequences: Sequence[int],
        rows: Sequence[int],
        marks: Words = NO_MARKS,
    ) -> None:
        """Takes the answers of a batch.

        Args:
            outputs: as the model gave them, None for what was not computed.
            sequences: the number of each request, NOBODY where it was not answered.
            rows: of each request, in the order in which they stand in `outputs`.
            marks: (rows,) as `kernels.marks` has them; none: nothing is said of any.
        """
        output, slot, count = outputs[self._reading.index], self._slot, len(sequences)
        if output is None:  # nobody asked for it
            slot.words[layout.SKETCH_SKIPPED] += sum(rows)
            return
        if self.hold_out is not None:
            luck = self.hold_out.marks(sequences, rows)
            marks = marks | luck if len(marks) else luck
        now_ms = int(self._wall() * 1000.0)
        if slot.busy or output.size > THREAD_VALUES or count > _PACKED_REQUESTS:
            requests = np.array([*sequences, *rows], np.int64)
            work = partial(self._append, output, requests, count, marks, now_ms)
            slot.line_up(work, sum(rows), output.nbytes)
            return
        pack = self._packers.get(count) or self._new_packer(count)
        pack(self._requests, 0, *sequences, *rows)
        if skipped := self._append(output, self._requests, count, marks, now_ms):
            slot.words[layout.SKETCH_SKIPPED] += skipped

    def _new_packer(self, count: int) -> Callable[..., None]:
        pack = self._packers[count] = Struct(f"{2 * count}q").pack_into
        return pack

    def _append(self, output: Array, requests: Array, count: int, marks: Words, now_ms: int) -> int:
        """On the loop or on a thread: never raises. How many rows were not written down."""
        found = self._reading
        try:
            if ring.append(
                self._slot.words,
                requests,
                count,
                found.matrix(output),
                found.column,
                found.told,
                marks,
                self._series,
                self._epoch,
                now_ms,
            ):
                return 0
            raise ValueError(f"output: {list(output.shape)} is not what its signature says")
        except Exception:
            if not self._complained:
                self._complained = True
                log.exception("a batch is not in the ledger; others like it are not told of")
            return int(requests[count : 2 * count].sum())
