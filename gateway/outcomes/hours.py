"""What records that are forgotten leave behind: sums by the hour, of all of them and of each group.

Knows records, series and the sums of the kernels. Knows nothing of files, or of how sums are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from kernels.groups import Reals, add_cells, no_cells
from kernels.ledger import MARKS, TIME_MS, Words, series_of
from kernels.marks import BY_CHANCE, GROUPINGS, HELD_OUT, grouped
from kernels.performance import RECORDS, Sums, add, no_sums

HOUR_MS: Final = 3_600_000


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


Cells = Mapping[tuple[int, int], Reals]
"""As `kernels.groups` has them, by series and hour."""


def by_hour(
    records: Words, threshold: Callable[[int], float], groupings: Callable[[int], int]
) -> tuple[dict[Which, Sums], dict[tuple[int, int], Reals]]:
    """What records add up to, by series and hour and, where they are in groups, by these.

    Args:
        records: (records, ledger.RECORD_WORDS), contiguous.
        threshold: above which a series' positive class is predicted.
        groupings: how many slicings tell a series' rows apart.
    """
    found: dict[Which, Sums] = {}
    cells: dict[tuple[int, int], Reals] = {}
    hours = records[:, TIME_MS] // HOUR_MS
    pairs = np.unique(np.stack((series_of(records), hours), axis=1), axis=0)
    for series, hour in pairs.tolist():
        above, between = threshold(series), (hour * HOUR_MS, (hour + 1) * HOUR_MS)
        sums = found[Which(series, hour)] = no_sums()
        add(sums, records, series, *between, threshold=above)
        marks = np.unique(records[series_of(records) == series, MARKS])
        if groupings(series):
            cells[series, hour] = no_cells(GROUPINGS)
            add_cells(cells[series, hour], records, series, *between, above)
        for group in parts_of(marks, groupings(series)):
            more = no_sums()
            add(more, records, series, *between, *group, above)
            if more.totals[RECORDS]:
                found[Which(series, hour, *group)] = more
    return found, cells


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
