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

from gateway.digests import digest
from gateway.monitor import layout
from gateway.monitor.hold_out import HoldOut
from gateway.monitor.scores import Reading
from gateway.monitor.sketch import THREAD_VALUES, Arrays
from gateway.monitor.slot import Slot
from gateway.tensors import Array
from kernels import ring
from kernels.shares import chosen, limit

log = logging.getLogger("penstock.worker")

Words = ring.Words
Marks = Words | Callable[[], Words]
"""Of the rows of a batch, or what finds them."""

NOBODY: Final = ring.NOBODY
NO_MARKS: Final = np.empty(0, np.int64)
NO_NAMES: Final = np.empty((0, 3), np.int64)
# Up to here the numbers of a batch are written by one prepared call, 7 ns each; more ride on a
# thread.
_PACKED_REQUESTS: Final = 256
# Telling the groups of so many rows takes some 0.5 ms of the loop.
_MARKED_ROWS: Final = 4096


class LedgerWriter:
    """Of one deployment in one worker. Called on the event loop alone.

    Attributes:
        hold_out: who is held out; None: nobody.
        client_ids: it wants the ids that clients gave.
    """

    def __init__(
        self,
        reading: Reading,
        slot: Slot,
        series: int,
        epoch: int,
        hold_out: HoldOut | None = None,
        wall: Callable[[], float] = time.time,
        share: float = 1.0,
        client_ids: bool = False,
    ) -> None:
        """Begins to write.

        Args:
            reading: where the model's scores are.
            slot: this worker's of the ring; all its deployments share it.
            series: the number that control gave to the version.
            epoch: of this worker process.
            hold_out: who is held out; None: nobody.
            wall: seconds since 1970.
            share: of requests, that are written down.
            client_ids: whether clients' own ids are, too.
        """
        self._reading = reading
        self._slot = slot
        self._series = series
        self._epoch = epoch
        self.hold_out = hold_out
        self._wall = wall
        self.client_ids = client_ids
        self._limit = None if share == 1.0 else limit(share)
        self._complained = False
        # Of one batch, until the next.
        self._requests = np.zeros(3 * _PACKED_REQUESTS, np.int64)
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
        marks: Marks = NO_MARKS,
        ids: Sequence[str | None] = (),
        lots: Sequence[int] = (),
    ) -> None:
        """Takes the answers of a batch.

        Args:
            outputs: as the model gave them, None for what was not computed.
            sequences: the number of each request, NOBODY where it was not answered.
            rows: of each request, in the order in which they stand in `outputs`.
            marks: (rows,) as `kernels.marks` has them, or what makes them; none: nothing is said of
                any.
            ids: of each request what its client calls it; none: nobody wants them.
            lots: how each request got its variant, as `kernels.lots` has it; none: no route divides
                them.
        """
        output, slot, count = outputs[self._reading.index], self._slot, len(sequences)
        if self._limit is not None:
            sequences = self._sampled(sequences, rows, self._limit)
        if output is None:  # nobody asked for it
            slot.words[layout.SKETCH_SKIPPED] += _rows_of(sequences, rows)
            return
        if self.hold_out is not None:
            marks = _both(marks, self.hold_out.marks(sequences, rows))
        now_ms = int(self._wall() * 1000.0)
        names = _named(sequences, rows, ids) if ids else NO_NAMES
        lots = lots or (0,) * count
        heavy = output.size > THREAD_VALUES or (len(output) > _MARKED_ROWS and callable(marks))
        if slot.busy or heavy or count > _PACKED_REQUESTS:
            requests = np.array([*sequences, *rows, *lots], np.int64)
            work = partial(self._append, output, requests, count, marks, names, now_ms)
            slot.line_up(work, _rows_of(sequences, rows), output.nbytes)
            return
        pack = self._packers.get(count) or self._new_packer(count)
        pack(self._requests, 0, *sequences, *rows, *lots)
        if skipped := self._append(output, self._requests, count, marks, names, now_ms):
            slot.words[layout.SKETCH_SKIPPED] += skipped

    def _sampled(self, sequences: Sequence[int], rows: Sequence[int], limit: int) -> Sequence[int]:
        """With NOBODY in place of those that are not to be written down, which are counted."""
        found, left = list(sequences), 0
        for place, one in enumerate(sequences):
            if one != NOBODY and not chosen(one, limit):
                found[place] = NOBODY
                left += rows[place]
        if left:
            self._slot.words[layout.LEDGER_UNSAMPLED] += left
        return found

    def _new_packer(self, count: int) -> Callable[..., None]:
        pack = self._packers[count] = Struct(f"{3 * count}q").pack_into
        return pack

    def _append(
        self,
        output: Array,
        requests: Array,
        count: int,
        marks: Marks,
        names: Words,
        now_ms: int,
    ) -> int:
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
                marks() if callable(marks) else marks,
                self._series,
                self._epoch,
                now_ms,
            ):
                if len(names):
                    ring.append_names(self._slot.words, names, self._series, self._epoch, now_ms)
                return 0
            raise ValueError(f"output: {list(output.shape)} is not what its signature says")
        except Exception:
            if not self._complained:
                self._complained = True
                log.exception("a batch is not in the ledger; others like it are not told of")
            return int(requests[count : 2 * count][requests[:count] != NOBODY].sum())


def _both(groups: Marks, luck: Words) -> Marks:
    if callable(groups):
        return lambda: groups() | luck
    return groups | luck if len(groups) else luck


def _named(sequences: Sequence[int], rows: Sequence[int], ids: Sequence[str | None]) -> Words:
    """(requests, 3) as `ring.append_names` takes them, of those that have an id."""
    some = [
        (sequence, digest(name), its)
        for sequence, its, name in zip(sequences, rows, ids, strict=True)
        if name is not None and sequence != NOBODY
    ]
    return np.array(some, np.int64).reshape(-1, 3)


def _rows_of(sequences: Sequence[int], rows: Sequence[int]) -> int:
    """Rows of those requests that are anybody's."""
    pairs = zip(sequences, rows, strict=True)
    return sum([its for sequence, its in pairs if sequence != NOBODY])
