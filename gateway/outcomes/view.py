"""The ledger as it lies on the disk, looked at without changing anything, whoever writes it.

Knows files of records. Knows nothing of what was forgotten, or of names of models. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np

from gateway.errors import StoreFailed
from gateway.outcomes.segment import Segment, segments_in
from kernels.ledger import (
    FILE,
    NOT_THERE,
    OUTCOME,
    OUTCOME_MS,
    TIME_MS,
    Reals,
    Words,
    series_of,
    wanted,
)

# A server seals files while they are looked at; it does so once in thousands of records.
TRIES: Final = 5
T = TypeVar("T")


class Known(NamedTuple):
    """What came of rows.

    Attributes:
        outcomes: (rows,) NaN where that is not known.
        at_ms: (rows,) when it was known, 0 where it is not.
    """

    outcomes: Reals
    at_ms: Words


class LedgerView:
    """Of one home."""

    def __init__(self, folder: Path) -> None:
        """Looks into a folder; one that is not there is an empty ledger.

        Raises:
            StoreFailed: it cannot be read.
        """
        self._folder = folder
        self._segments: list[Segment] = []
        self._look()

    def outcomes(self, stream: str, sequences: Words, rows: Words) -> Known:
        """What came of rows of a stream.

        Args:
            stream: that they are of.
            sequences: (rows,) of their requests.
            rows: (rows,) their numbers in those.

        Raises:
            StoreFailed: the ledger cannot be read.
        """
        return self._again(lambda: self._outcomes(stream, sequences, rows))

    def count(self, series: Collection[int], first_ms: int) -> int:
        """How many records of some series have an outcome, of those answered since.

        Raises:
            StoreFailed: the ledger cannot be read.
        """
        return self._again(lambda: self._count(np.array(list(series), np.int64), first_ms))

    def _outcomes(self, stream: str, sequences: Words, rows: Words) -> Known:
        found = wanted(sequences, rows)
        order = np.argsort(sequences, kind="stable")
        for number, segment in enumerate(self._segments):
            if segment.stream == stream and segment.count:
                segment.gather(order, found, number)
        there = found[:, FILE] != NOT_THERE
        outcomes = np.where(there, found.view(np.float64)[:, OUTCOME], np.nan)
        return Known(outcomes, np.where(there, found[:, OUTCOME_MS], 0))

    def _count(self, series: Words, first_ms: int) -> int:
        count = 0
        for segment in self._segments:
            if segment.count and segment.last_ms >= first_ms:
                records = segment.records()
                own = np.isin(series_of(records), series)
                own &= records[:, TIME_MS] >= first_ms
                count += int((own & ~np.isnan(records.view(np.float64)[:, OUTCOME])).sum())
        return count

    def _again(self, work: Callable[[], T]) -> T:
        for _ in range(TRIES - 1):
            try:
                return work()
            except StoreFailed:
                self._look()
        return work()

    def _look(self) -> None:
        self._segments = segments_in(self._folder)[0] if self._folder.is_dir() else []
