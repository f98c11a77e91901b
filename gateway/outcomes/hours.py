"""What records that are forgotten leave behind: sums by the hour, of all of them and of each group.

Knows records, series and the sums of the kernels. Knows nothing of files, or of how sums are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from kernels.groups import Reals, add_cells, no_cells
from kernels.ledger import MARKS, TIME_MS, Words, series_of
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


def by_hour(
    records: Words, threshold: Callable[[int], float], groupings: Callable[[int], int]
) -> Iterator[Hour]:
    """What records add up to, by series and hour and, where they are in groups, by these.

    One after the other: of a day's thin traffic of many models and groups, all are gigabytes.

    Args:
        records: (records, ledger.RECORD_WORDS), contiguous.
        threshold: above which a series' positive class is predicted.
        groupings: how many slicings tell a series' rows apart.
    """
    keys = np.stack((series_of(records), records[:, TIME_MS] // HOUR_MS), axis=1)
    order = np.lexsort(keys.T)
    parts = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(axis=1)) + 1
    for part in np.split(order, parts) if len(order) else ():
        which = Which(*keys[part[0]].tolist())
        above, slicings = threshold(which.series), groupings(which.series)
        yield _of_hour(records[part], which, slicings, above)


def _of_hour(records: Words, which: Which, groupings: int, above: float) -> Hour:
    its = which.series, *_EVER
    sums = no_sums()
    add(sums, records, *its, threshold=above)
    found = {which: sums}
    cells: dict[tuple[int, int], Reals] = {}
    if groupings:
        made = cells[which.series, which.hour] = no_cells(GROUPINGS)
        add_cells(made, records, *its, above)
    for mask, marks in parts_of(np.unique(records[:, MARKS]), groupings):
        sums = found[which._replace(mask=mask, marks=marks)] = no_sums()
        add(sums, records, *its, mask, marks, above)
    return Hour(found, cells)


def parts_of(marks: Words, groupings: int) -> list[tuple[int, int]]:
    """Mask and value of what sums are kept of beside the whole.

    These are the groups that there are of so many slicings, those in none of one, and those that
    were held out, by the chance that they had, all together and of each group.
    """
    found = _groups(marks, groupings)
    its = marks[(marks & HELD_OUT) != 0]
    for value in np.unique(its & BY_CHANCE).tolist():
        some = _groups(its[its & BY_CHANCE == value], groupings)
        found += [(BY_CHANCE | mask, value | group) for mask, group in [(0, 0), *some]]
    return found


def _groups(marks: Words, groupings: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for grouping in range(groupings):
        mask, _ = grouped(grouping, 0)
        found += ((mask, value) for value in np.unique(marks & mask).tolist())
    return found
