"""Adds up what was said of the records of each group, and of each pair of groups, and was true.

Knows the words of a record and sums. Knows nothing of figures, of slices' names, or of files.

What there is of the records that are in two groups at once stands at [their slicings, the groups],
the first slicing being the earlier one; what there is of a group alone, at its own twice. Group 0
of a slicing: the records that are in none of its groups. Sums of other records are added to them.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels._jit import kernel
from kernels.ledger import MARKS, OUTCOME, SCORE, SERIES_AND_ROW, TIME_MS, TOP_AND_CORRECTIONS
from kernels.marks import GROUP_BITS, MAX_GROUPS
from kernels.performance import BINARY, THRESHOLD, VALUE

Words = np.ndarray[Any, np.dtype[np.int64]]
Reals = np.ndarray[Any, np.dtype[np.float64]]

GROUPS: Final = MAX_GROUPS + 1
# Of the records of a cell: all whose score is one, whether or not their outcome is known; of these
# those with the probability of a positive class, and with one above 0.5.
N, BINARIES, SELECTED = range(3)
# Of those that have an outcome: wrong ones; of a positive class, and predicted so; predicted so and
# not; squares of what the score is off; outcomes less scores. Of several classes, the outcome is
# whether the top one was right. Values that are predicted are neither right nor wrong.
LABELLED, WRONG, POSITIVE, HITS, FALSE_HITS, SQUARES, APART = range(3, 10)
CELL_SUMS: Final = 10
_HALF: Final = 32


def no_cells(groupings: int) -> Reals:
    """Of no records: (groupings, groupings, GROUPS, GROUPS, CELL_SUMS)."""
    return np.zeros((groupings, groupings, GROUPS, GROUPS, CELL_SUMS))


def add_cells(
    cells: Reals,
    words: Words,
    series: int,
    first_ms: int,
    end_ms: int,
    threshold: float = THRESHOLD,
) -> None:
    """Adds the records of a series that were answered from `first_ms` on and before `end_ms`.

    Args:
        cells: see `no_cells`; added to. Slicings beyond are not looked at.
        words: (records, ledger.RECORD_WORDS), contiguous.
        series: whose records count.
        first_ms: wall clock, milliseconds.
        end_ms: the same.
        threshold: the probability above which the positive class is predicted.
    """
    _add(words, words.view(np.float64), series, np.array((first_ms, end_ms)), threshold, cells)


@kernel(
    "void(int64[:, ::1], float64[:, ::1], int64, int64[::1], float64, float64[:, :, :, :, ::1])"
)
def _add(
    words: Words, reals: Reals, series: int, between: Words, threshold: float, cells: Reals
) -> None:
    first_ms, end_ms = between[0], between[1]
    sums = np.zeros(CELL_SUMS)
    for one in range(len(words)):
        if words[one, SERIES_AND_ROW] >> _HALF != series:
            continue
        if not first_ms <= words[one, TIME_MS] < end_ms:
            continue
        score, outcome = reals[one, SCORE], reals[one, OUTCOME]
        top = words[one, TOP_AND_CORRECTIONS] >> _HALF
        if math.isnan(score) or (top != VALUE and not 0.0 <= score <= 1.0):
            continue
        sums[:] = 0.0
        sums[N] = 1.0
        if top == BINARY:
            sums[BINARIES] = 1.0
            sums[SELECTED] = 1.0 if score > threshold else 0.0
        if top != VALUE and not math.isnan(outcome):
            hit = outcome
            wrong = outcome != sums[SELECTED]
            if top != BINARY:
                hit = 1.0 if outcome == top else 0.0
                wrong = hit == 0.0
            sums[LABELLED] = 1.0
            sums[WRONG] = 1.0 if wrong else 0.0
            if top == BINARY:
                sums[POSITIVE] = outcome
                sums[HITS] = outcome * sums[SELECTED]
                sums[FALSE_HITS] = (1.0 - outcome) * sums[SELECTED]
            sums[SQUARES] = (score - hit) * (score - hit)
            sums[APART] = hit - score
        marks = words[one, MARKS]
        for first in range(len(cells)):
            group = (marks >> (first * GROUP_BITS)) & MAX_GROUPS
            for second in range(first, len(cells)):
                other = (marks >> (second * GROUP_BITS)) & MAX_GROUPS
                cell = cells[first, second, group, other]
                for place in range(CELL_SUMS):
                    cell[place] += sums[place]
