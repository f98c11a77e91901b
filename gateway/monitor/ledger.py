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
from typing import Final

import numpy as np

from gateway.monitor import layout
from gateway.monitor.scores import Reading
from gateway.monitor.sketch import THREAD_VALUES, Arrays, Slot
from gateway.tensors import Array
from kernels import ring

log = logging.getLogger("penstock.worker")

NOBODY: Final = ring.NOBODY


class LedgerWriter:
    """Of one deployment in one worker. Called on the event loop alone."""

    def __init__(
        self,
        reading: Reading,
        slot: Slot,
        series: int,
        epoch: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begins to write.

        Args:
            reading: where the model's scores are.
            slot: this worker's of the ring; all its deployments share it.
            series: the number that control gave to the version.
            epoch: of this worker process.
            wall: seconds since 1970.
        """
        self._reading = reading
        self._slot = slot
        self._series = series
        self._epoch = epoch
        self._wall = wall
        self._complained = False
        slot.use()

    def close(self) -> None:
        """Writes no more."""
        self._slot.leave()

    def record(self, outputs: Arrays, sequences: Sequence[int], rows: Sequence[int]) -> None:
        """Takes the answers of a batch.

        Args:
            outputs: as the model gave them, None for what was not computed.
            sequences: the number of each request, NOBODY where it was not answered.
            rows: of each request, in the order in which they stand in `outputs`.
        """
        scores = outputs[self._reading.index]
        slot, total = self._slot, sum(rows)
        if scores is None:  # nobody asked for it
            slot.words[layout.SKETCH_SKIPPED] += total
            return
        requests = np.array(sequences, np.int64), np.array(rows, np.int64)
        work = partial(self._append, scores, *requests, int(self._wall() * 1000.0))
        if slot.busy or scores.size > THREAD_VALUES:
            slot.line_up(work, total, scores.nbytes)
        elif skipped := work():
            slot.words[layout.SKETCH_SKIPPED] += skipped

    def _append(self, output: Array, sequences: Array, rows: Array, now_ms: int) -> int:
        """On the loop or on a thread: never raises. How many rows were not written down."""
        try:
            scores, tops = self._reading.scores(output)
            ring.append(
                self._slot.words,
                sequences,
                rows,
                scores.view(np.int64),
                tops,
                self._series,
                self._epoch,
                now_ms,
            )
            return 0
        except Exception:
            if not self._complained:
                self._complained = True
                log.exception("a batch is not in the ledger; others like it are not told of")
            return int(rows.sum())
