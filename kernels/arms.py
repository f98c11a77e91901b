"""Finds the rows of an experiment's arms among the records of a ledger, and the number of each.

Knows the words of a record, lots, and figures of one row. Knows nothing of what is added up.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from kernels._jit import kernel
from kernels.ledger import (
    LOT_SHIFT,
    OUTCOME,
    SCORE,
    SEQUENCE,
    SERIES_AND_ROW,
    TIME_MS,
    TOP_AND_CORRECTIONS,
    Reals,
    Words,
)
from kernels.lots import LOT_MASK, UNIT_BITS, UNITS
from kernels.performance import BINARY, VALUE

# The number of a row: of a metric beside the records, or a figure of its outcome.
NUMBER, ITS_OUTCOME, ACCURACY, ERROR, SQUARED_ERROR, ABSOLUTE_ERROR = range(6)

# Words of what is asked: when the first row may have been answered, and the last whose number
# counts (wall clock, milliseconds); which number; whether one that is not known is a 0; what time
# it is: a row of later is one of before the clock was set back, and counts.
FIRST_MS, UNTIL_MS, WHICH, ABSENT_IS_ZERO, NOW_MS = range(5)
ASKED: Final = 5
NOBODY: Final = -1  # in place of an arm
_HALF: Final = 32
_LOW: Final = 0xFFFFFFFF


class Rows(NamedTuple):
    """Rows of some arm, in the order of their records.

    Attributes:
        places: of their records.
        arms: of each.
        codes: of the chance that each had, as `kernels.lots` has them; 0: none.
        clusters: those with the same number may not be independent of each other.
        firsts: 1 of the first row of a request, else 0.
        values: the number of each; NaN: it does not count.
    """

    places: Words
    arms: Words
    codes: Words
    clusters: Words
    firsts: Words
    values: Reals


def rows(records: Words, numbers: Reals, arm_of: Words, asked: Words, threshold: float) -> Rows:
    """The rows of all arms.

    Args:
        records: (records, ledger.RECORD_WORDS).
        numbers: (records,) of the metric, NaN where nothing is known; none: of no row.
        arm_of: the arm of each series by its number, NOBODY of others and of all beyond.
        asked: (ASKED,).
        threshold: above which a positive class is predicted.
    """
    found = np.empty((5, len(records)), np.int64)
    values = np.empty(len(records))
    reals = records.view(np.float64)
    count = _rows(records, reals, numbers, arm_of, asked, threshold, found, values)
    places, its, codes, clusters, firsts = found[:, :count]
    return Rows(places, its, codes, clusters, firsts, values[:count])


@kernel("float64(int64, int64, float64, float64, float64)")
def _figure(which: int, top: int, score: float, outcome: float, threshold: float) -> float:
    if which == ITS_OUTCOME:
        return outcome
    if which == SQUARED_ERROR:
        return (score - outcome) ** 2
    if which == ABSOLUTE_ERROR:
        return abs(score - outcome)
    if top == VALUE or math.isnan(score) or math.isnan(outcome):
        return math.nan
    right = outcome == float(top)
    if top == BINARY:
        right = (score > threshold) == (outcome == 1.0)
    return 1.0 if right == (which == ACCURACY) else 0.0


@kernel(
    "int64(int64[:, ::1], float64[:, ::1], float64[::1], int64[::1], int64[::1], float64,"
    " int64[:, ::1], float64[::1])"
)
def _rows(
    words: Words,
    reals: Reals,
    numbers: Reals,
    arm_of: Words,
    asked: Words,
    threshold: float,
    found: Words,
    values: Reals,
) -> int:
    count = 0
    for one in range(len(words)):
        series = words[one, SERIES_AND_ROW] >> _HALF
        if series >= len(arm_of) or words[one, TIME_MS] < asked[FIRST_MS]:
            continue
        arm = arm_of[series]
        if arm == NOBODY:
            continue
        lot = words[one, TOP_AND_CORRECTIONS] >> LOT_SHIFT & LOT_MASK
        cluster = lot & UNITS
        if cluster == 0:  # no key: rows of its request alone hang together
            cluster = words[one, SEQUENCE] & UNITS
        value = math.nan
        if words[one, TIME_MS] <= asked[UNTIL_MS] or words[one, TIME_MS] > asked[NOW_MS]:
            if asked[WHICH] == NUMBER:
                if len(numbers) > 0:
                    value = numbers[one]
            else:
                top = words[one, TOP_AND_CORRECTIONS] >> _HALF
                score, outcome = reals[one, SCORE], reals[one, OUTCOME]
                value = _figure(asked[WHICH], top, score, outcome, threshold)
            if math.isnan(value) and asked[ABSENT_IS_ZERO] == 1:
                value = 0.0
        found[0, count], found[1, count], found[2, count] = one, arm, lot >> UNIT_BITS
        found[3, count] = cluster
        found[4, count] = 1 if words[one, SERIES_AND_ROW] & _LOW == 0 else 0
        values[count] = value
        count += 1
    return count
