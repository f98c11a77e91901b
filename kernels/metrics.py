"""Adds up the numbers of a metric, from a column beside the records of a ledger.

Knows the words of a record, a column and sums. Knows nothing of what a metric means, or of files.

The sums of two sets of records merge into those of both, whatever the order but for the last bits
of a float.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from kernels._jit import kernel
from kernels.ledger import (
    ACCEPTED,
    CORRECTED,
    DUPLICATE,
    MARKS,
    SERIES_AND_ROW,
    TIME_MS,
    Reals,
    Words,
)

# How many, what they add up to, their mean and squares around it, the least and the largest.
N, SUM, MEAN, AROUND, MIN, MAX = range(6)
SUMS: Final = 6
_HALF: Final = 32


def no_sums() -> Reals:
    """(SUMS,) of no numbers."""
    sums = np.zeros(SUMS)
    sums[MIN], sums[MAX] = math.inf, -math.inf
    return sums


def merge(into: Reals, more: Reals) -> None:
    """Adds the sums of other numbers, in place."""
    if not more[N]:
        return
    both, apart = into[N] + more[N], more[MEAN] - into[MEAN]
    into[AROUND] += more[AROUND] + apart * apart * into[N] * more[N] / both
    into[MEAN] += apart * more[N] / both
    into[N] = both
    into[SUM] += more[SUM]
    into[MIN], into[MAX] = min(into[MIN], more[MIN]), max(into[MAX], more[MAX])


def add(
    sums: Reals,
    words: Words,
    values: Reals,
    series: int,
    first_ms: int,
    end_ms: int,
    mask: int = 0,
    marks: int = 0,
) -> None:
    """Adds the numbers of records of a series that were answered in a stretch of time.

    Args:
        sums: (SUMS,) added to.
        words: (records, ledger.RECORD_WORDS).
        values: (records,) NaN where nothing is known.
        series: whose records count.
        first_ms: wall clock, milliseconds.
        end_ms: the same; from then on they do not count.
        mask: of a record's marks (`kernels.marks`).
        marks: only those count that have these under it.
    """
    _add(words, values, series, np.array((first_ms, end_ms, mask, marks)), sums)


@kernel("void(int64[:, ::1], float64[::1], int64, int64[::1], float64[::1])")
def _add(words: Words, values: Reals, series: int, chosen: Words, sums: Reals) -> None:
    first_ms, end_ms, mask, marks = chosen[0], chosen[1], chosen[2], chosen[3]
    for one in range(len(words)):
        value = values[one]
        if math.isnan(value) or words[one, SERIES_AND_ROW] >> _HALF != series:
            continue
        if not first_ms <= words[one, TIME_MS] < end_ms or words[one, MARKS] & mask != marks:
            continue
        sums[N] += 1.0
        sums[SUM] += value
        # Welford's: sums of squares of large numbers would cancel.
        apart = value - sums[MEAN]
        sums[MEAN] += apart / sums[N]
        sums[AROUND] += apart * (value - sums[MEAN])
        sums[MIN], sums[MAX] = min(sums[MIN], value), max(sums[MAX], value)


@kernel("void(float64[::1], int64[::1], float64[::1], int64[::1])")
def write_numbers(stood: Reals, which: Words, values: Reals, became: Words) -> None:
    """Writes numbers, one after the other: the last of several stands.

    Args:
        stood: (records,) what stands there, NaN: nothing.
        which: (numbers,) of these each is for.
        values: (numbers,) none of them NaN.
        became: (numbers,) filled as `ledger.write_outcomes` does.
    """
    for one in range(len(which)):
        place = which[one]
        if stood[place] == values[one]:
            became[one] = DUPLICATE
            continue
        became[one] = ACCEPTED if math.isnan(stood[place]) else CORRECTED
        stood[place] = values[one]
