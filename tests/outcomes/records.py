"""Records of a ledger, made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gateway.outcomes.early import Key, Waiting
from gateway.outcomes.hours import Hour, Which
from gateway.outcomes.ledger import Forgotten
from gateway.outcomes.metric_sums import MetricHours
from kernels.ledger import (
    LOT_SHIFT,
    MARKS,
    OUTCOME,
    OUTCOME_MS,
    RECORD_WORDS,
    SCORE,
    SEQUENCE,
    SERIES_AND_ROW,
    TIME_MS,
    TOP_AND_CORRECTIONS,
)
from kernels.metrics import merge as merge_numbers
from kernels.metrics import no_sums as no_numbers
from kernels.performance import BINARY, Reals, Sums, merge, no_sums

NOON_MS = 1_800_000_000_000
STREAM = "host-3-0-1"


def records(
    sequences: Any,
    rows: Any = 0,
    scores: Any = 0.5,
    tops: Any = BINARY,
    at_ms: Any = NOON_MS,
    series: Any = 1,
    outcomes: Any = np.nan,
    outcome_ms: Any = 0,
    marks: Any = 0,
    lots: Any = 0,
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(records, RECORD_WORDS); each argument one value, or one for each record."""
    words = np.zeros((len(sequences), RECORD_WORDS), np.int64)
    reals = words.view(np.float64)
    words[:, SEQUENCE], words[:, TIME_MS], words[:, OUTCOME_MS] = sequences, at_ms, outcome_ms
    words[:, SERIES_AND_ROW] = (np.asarray(series) << 32) | np.asarray(rows)
    words[:, TOP_AND_CORRECTIONS] = np.asarray(tops, np.int64) << 32
    words[:, TOP_AND_CORRECTIONS] |= np.asarray(lots, np.int64) << LOT_SHIFT
    words[:, MARKS] = marks
    reals[:, SCORE], reals[:, OUTCOME] = scores, outcomes
    return words


class Memory:
    """Keeps what is forgotten, and what waits, in memory."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.numbers: MetricHours = {}
        self.early: dict[Key, Waiting] = {}
        self.streams: dict[str, Forgotten] = {}
        self.hours: dict[Which, Sums] = {}
        self.by_group: dict[tuple[int, int], Reals] = {}
        self.records = 0

    def forgotten(self) -> Mapping[str, Forgotten]:
        return dict(self.streams)

    def forget(
        self,
        stream: str,
        upto: Forgotten,
        records: int,
        hours: Iterable[Hour],
        metrics: MetricHours,
    ) -> None:
        self.streams[stream] = upto
        self.records += records
        for sums, cells in hours:
            for key, more in sums.items():
                merge(self.hours.setdefault(key, no_sums()), more)
            for place, added in cells.items():
                self.by_group[place] = self.by_group.get(place, 0) + added
        for which, numbers in metrics.items():
            merge_numbers(self.numbers.setdefault(which, no_numbers()), numbers)

    def metrics(self) -> dict[str, int]:
        return self.names

    def number_metric(self, name: str) -> int:
        self.names[name] = max(self.names.values(), default=0) + 1
        return self.names[name]

    def forget_metric(self, name: str) -> None:
        number = self.names.pop(name)
        self.numbers = {key: one for key, one in self.numbers.items() if key[0] != number}

    def metric_sums(
        self, metric: int, series: int, first_hour: int, mask: int = 0, marks: int = 0
    ) -> list[Any]:
        return [
            numbers
            for (its, key), numbers in self.numbers.items()
            if (its, key) == (metric, (series, key.hour, mask, marks)) and key.hour >= first_hour
        ]

    def sums(self, series: int, first_hour: int, mask: int = 0, marks: int = 0) -> list[Sums]:
        return [
            sums
            for key, sums in self.hours.items()
            if key == (series, key.hour, mask, marks) and key.hour >= first_hour
        ]

    def cells(self, series: int, first_hour: int) -> list[Reals]:
        return [
            c for (one, hour), c in self.by_group.items() if one == series and hour >= first_hour
        ]

    def waiting(self) -> list[Waiting]:
        return list(self.early.values())

    def keep_waiting(self, come: Sequence[Waiting], gone: Sequence[Key]) -> None:
        for key in gone:
            self.early.pop(key, None)
        self.early |= {one.key: one for one in come}
