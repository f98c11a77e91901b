"""What the numbers of metrics add up to, over the files of a ledger and what it had to forget.

Knows files of records, their columns and sums. Knows nothing of figures. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np

from gateway.names import MAX_METRICS
from gateway.outcomes.hours import HOUR_MS, Which, parts_of
from gateway.outcomes.segment import Segment
from kernels.ledger import MARKS, TIME_MS, Reals, series_of
from kernels.metrics import N, add, merge, no_sums

MetricHours = dict[tuple[int, Which], Reals]
"""Sums by metric, and by which records were forgotten."""


class Names(Protocol):
    """What files do not say."""

    def metrics(self) -> Mapping[str, int]:
        """The metrics that have a number."""

    def number_metric(self, name: str) -> int:
        """Gives one a number.

        Raises:
            StoreFailed: it could not be kept.
        """

    def forget_metric(self, name: str) -> None:
        """Forgets one with all that is kept of it here; its number may be another's afterwards.

        Raises:
            StoreFailed: it could not be forgotten.
        """

    def metric_sums(
        self, metric: int, series: int, first_hour: int, mask: int = 0, marks: int = 0
    ) -> Iterable[Reals]:
        """What was forgotten of a series' numbers, or of a group's, from an hour on."""


class Metrics:
    """Of one ledger."""

    def __init__(self, segments: Callable[[], Iterator[Segment]], names: Names) -> None:
        """Takes all files of the ledger, and what they do not say."""
        self._segments = segments
        self._names = names

    @property
    def names(self) -> Mapping[str, int]:
        """All that ever had a number."""
        return self._names.metrics()

    def number(self, name: str, reserved: Collection[str] = ()) -> int | None:
        """The number of a metric; None where there are too many others.

        Args:
            name: of it.
            reserved: names that no other takes the place of.

        Raises:
            StoreFailed: a new one could not be kept.
        """
        known = self._names.metrics()
        if name in known:
            return known[name]
        kept_free = 0 if name in reserved else len(set(reserved) - known.keys())
        if len(known) + kept_free >= MAX_METRICS:
            return None
        return self._names.number_metric(name)

    def forget(self, name: str) -> bool:
        """Forgets a metric and its numbers; whether there was one. The same again goes on.

        Raises:
            StoreFailed: a file could not be removed, or it could not be kept.
        """
        number = self._names.metrics().get(name)
        if number is None:
            return False
        # Columns first: the name goes last, or its number would bring them to another one's.
        for segment in self._segments():
            segment.columns.drop(number)
        self._names.forget_metric(name)
        return True

    def sums(
        self,
        metric: int,
        series: int,
        first_ms: int,
        end_ms: int,
        mask: int = 0,
        marks: int = 0,
    ) -> Reals:
        """What the numbers of a metric add up to, as `kernels.metrics` has it.

        Args:
            metric: its number.
            series: of the records.
            first_ms: wall clock, milliseconds; of what was forgotten, whole hours from then on.
            end_ms: from then on they do not count.
            mask: of a group (`kernels.marks.grouped`); 0: whatever group they are in.
            marks: the same.

        Raises:
            StoreFailed: a file cannot be mapped.
        """
        found = no_sums()
        for segment in self._segments():
            if metric in segment.columns and segment.last_ms >= first_ms:
                values = segment.columns.values(metric)[: segment.count]
                add(found, segment.records(), values, series, first_ms, end_ms, mask, marks)
        first_hour = -(-first_ms // HOUR_MS)
        for more in self._names.metric_sums(metric, series, first_hour, mask, marks):
            merge(found, more)
        return found


def metrics_by_hour(segment: Segment, groupings: Callable[[int], int]) -> MetricHours:
    """What the numbers of a file's records add up to.

    Args:
        segment: the file.
        groupings: how many slicings tell a series' rows apart.

    Raises:
        StoreFailed: a file cannot be mapped.
    """
    found: MetricHours = {}
    records = segment.records()
    for number in segment.columns:
        values = segment.columns.values(number)[: len(records)]
        known = records[~np.isnan(values)]
        pairs = np.stack((series_of(known), known[:, TIME_MS] // HOUR_MS), axis=1)
        for series, hour in np.unique(pairs, axis=0).tolist():
            between = hour * HOUR_MS, (hour + 1) * HOUR_MS
            its = np.unique(known[series_of(known) == series, MARKS])
            for part in ((0, 0), *parts_of(its, groupings(series))):
                sums = no_sums()
                add(sums, records, values, series, *between, *part)
                if sums[N]:
                    found[number, Which(series, hour, *part)] = sums
    return found
