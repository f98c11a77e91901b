"""What records that are forgotten leave behind: sums by the hour, of all of them and of each group.

Knows records, series and the sums of the kernels. Knows nothing of files, or of how sums are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from kernels.groups import Reals, add_cells, no_cells
from kernels.ledger import MARKS, SERIES_AND_ROW, TIME_MS, Words
from kernels.marks import BY_CHANCE, GROUPINGS, HELD_OUT, grouped
from kernels.performance import Sums, add, no_sums

HOUR_MS: Final = 3_600_000
_EVER: Final = (-(1 << 62), 1 << 62)


class Which(NamedTuple):
    """Records that were forgotten together.

    Attributes:
        series: of them.
        hour: in which they were answered, since 1970.
        mask, marks: of a group (`kernels.marks.grouped`); 0: all of them.
    """

    series: int
    hour: int
    mask: int = 0
    marks: int = 0


class Hour(NamedTuple):
    """What is forgotten of a series and an hour.

    Attributes:
        sums: of all its records, and of those of each group.
        cells: by groups and pairs of them (`kernels.groups`), where any record is in a group, by
            series and hour.
    """

    sums: Mapping[Which, Sums]
    cells: Mapping[tuple[int, int], Reals]


def by_hour(records: Words, threshold: Callable[[int], float]) -> Iterator[Hour]:
    """What records add up to, by series and hour and, where they are in groups, by these.

    One after the other: of a day's thin traffic of many models and groups, all are gigabytes.

    Args:
        records: (records, ledger.RECORD_WORDS), contiguous.
        threshold: above which a series' positive class is predicted.
    """
    keys = np.stack((records[:, SERIES_AND_ROW] >> 32, records[:, TIME_MS] // HOUR_MS), axis=1)
    marks = {
        series: int(np.bitwise_or.reduce(records[keys[:, 0] == series, MARKS]))
        for series in np.unique(keys[:, 0]).tolist()
    }
    order = np.lexsort(keys.T)
    parts = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(axis=1)) + 1
    for part in np.split(order, parts) if len(order) else ():
        series, hour = keys[part[0]].tolist()
        yield _of_hour(records[part], Which(series, hour), marks[series], threshold(series))


def _of_hour(records: Words, which: Which, slicings: int, above: float) -> Hour:
    its = which.series, *_EVER
    sums = no_sums()
    add(sums, records, *its, threshold=above)
    found, marks = {which: sums}, np.unique(records[:, MARKS])
    cells: dict[tuple[int, int], Reals] = {}
    groups = list(_groups(marks, slicings))
    if groups:
        made = cells[which.series, which.hour] = no_cells(GROUPINGS)
        add_cells(made, records, *its, above)
    for group in (*groups, *_held_out(marks)):
        sums = found[Which(which.series, which.hour, *group)] = no_sums()
        add(sums, records, *its, *group, above)
    return Hour(found, cells)


def _groups(marks: Words, slicings: int) -> Iterator[tuple[int, int]]:
    """Mask and value of every group that there is, and of those in none.

    Of slicings that tell none of the series' records in a file apart, in whatever hour, there is
    nothing: `slicings` has a bit of every other one.
    """
    for grouping in range(GROUPINGS):
        mask, _ = grouped(grouping, 0)
        if slicings & mask:
            yield from ((mask, value) for value in np.unique(marks & mask).tolist())


def _held_out(marks: Words) -> Iterator[tuple[int, int]]:
    """The same of those that were held out, by the chance that they had."""
    its = np.unique(marks[(marks & HELD_OUT) != 0] & BY_CHANCE)
    yield from ((BY_CHANCE, value) for value in its.tolist())
