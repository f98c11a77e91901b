"""Adds up how right a model was, from the records of a ledger: what every figure is made of.

Knows the words of a record and sums. Knows nothing of figures, windows or files.

The sums of two sets of records merge into those of both (`merge`), whatever the order but for the
last bits of a float. Binary scores are added up in bins of equal width, the score being that of the
positive class; multi-class ones by the score of the top class, its outcome being whether that was
right.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from kernels._jit import kernel
from kernels.ledger import (
    MARKS,
    OUTCOME,
    OUTCOME_MS,
    SCORE,
    SERIES_AND_ROW,
    TIME_MS,
    TOP_AND_CORRECTIONS,
)

Words = np.ndarray[Any, np.dtype[np.int64]]
Reals = np.ndarray[Any, np.dtype[np.float64]]

# In place of a top class: what the score is.
BINARY: Final = -1
VALUE: Final = -2

BINS: Final = 960  # 10, 12, 15, 20, 30 and 32 wider ones nest in them
# Of a bin: records, outcomes, scores, their squares and products.
N, Y, S, SS, SY = range(5)
BIN_SUMS: Final = 5

MAX_CLASSES: Final = 256
# Of a class: records where it was the top, where it was the outcome, and where it was both.
PREDICTED, ACTUAL, RIGHT = range(3)
CLASS_SUMS: Final = 3

# Totals. Unscored: not a number or, as a probability, none.
RECORDS, UNSCORED, LABELLED, CORRECTED, DELAY_MS, MAX_DELAY_MS = range(6)
# Of labelled records of a class.
LOG_LOSS, TP, FP, TN, FN, OTHER_CLASSES = range(6, 12)
# Of labelled values: error is score minus outcome; the outcomes' mean and squares around it.
VALUES, ERROR, ABS_ERROR, SQ_ERROR, MEAN, AROUND_MEAN = range(12, 18)
BINARIES: Final = 18  # of labelled records: probabilities of a positive class
TOTALS: Final = 19

EPSILON: Final = 2.0**-52  # a probability is taken as no nearer to 0 and 1 than this by a logarithm
_HALF: Final = 32


class Sums(NamedTuple):
    """What figures are made of.

    Attributes:
        totals: (TOTALS,).
        bins: (BINS, BIN_SUMS).
        classes: (MAX_CLASSES, CLASS_SUMS).
    """

    totals: Reals
    bins: Reals
    classes: Reals


def no_sums() -> Sums:
    """Of no records."""
    return Sums(np.zeros(TOTALS), np.zeros((BINS, BIN_SUMS)), np.zeros((MAX_CLASSES, CLASS_SUMS)))


def merge(into: Sums, more: Sums) -> None:
    """Adds the sums of other records, in place."""
    a, b = into.totals, more.totals
    longest = max(a[MAX_DELAY_MS], b[MAX_DELAY_MS])
    both = a[VALUES] + b[VALUES]
    mean, around = a[MEAN], a[AROUND_MEAN]
    if b[VALUES]:
        apart = b[MEAN] - mean
        around += b[AROUND_MEAN] + apart * apart * a[VALUES] * b[VALUES] / both
        mean += apart * b[VALUES] / both
    a += b
    a[MAX_DELAY_MS], a[MEAN], a[AROUND_MEAN] = longest, mean, around
    into.bins[:] += more.bins
    into.classes[:] += more.classes


def add(
    sums: Sums,
    words: Words,
    series: int,
    first_ms: int,
    end_ms: int,
    mask: int = 0,
    marks: int = 0,
) -> None:
    """Adds the records of a series that were answered from `first_ms` on and before `end_ms`.

    Args:
        sums: added to.
        words: (records, ledger.RECORD_WORDS), contiguous.
        series: whose records count.
        first_ms: wall clock, milliseconds.
        end_ms: the same.
        mask: of a record's marks (`kernels.marks`).
        marks: only those count that have these under it.
    """
    reals, chosen = words.view(np.float64), np.array((first_ms, end_ms, mask, marks))
    _add(words, reals, series, chosen, sums.totals, sums.bins, sums.classes)


@kernel(
    "void(int64[:, ::1], float64[:, ::1], int64, int64[::1], float64[::1], float64[:, ::1],"
    " float64[:, ::1])"
)
def _add(
    words: Words,
    reals: Reals,
    series: int,
    chosen: Words,
    totals: Reals,
    bins: Reals,
    classes: Reals,
) -> None:
    first_ms, end_ms, mask, marks = chosen[0], chosen[1], chosen[2], chosen[3]
    for one in range(len(words)):
        time_ms = words[one, TIME_MS]
        if words[one, SERIES_AND_ROW] >> _HALF != series or not first_ms <= time_ms < end_ms:
            continue
        if words[one, MARKS] & mask != marks:
            continue
        score, outcome = reals[one, SCORE], reals[one, OUTCOME]
        top = words[one, TOP_AND_CORRECTIONS] >> _HALF
        totals[RECORDS] += 1.0
        if math.isnan(score) or (top != VALUE and not 0.0 <= score <= 1.0):
            totals[UNSCORED] += 1.0
            continue
        if math.isnan(outcome):
            continue
        totals[LABELLED] += 1.0
        if words[one, TOP_AND_CORRECTIONS] & 0xFFFFFFFF:
            totals[CORRECTED] += 1.0
        delay = float(max(words[one, OUTCOME_MS] - time_ms, 0))
        totals[DELAY_MS] += delay
        totals[MAX_DELAY_MS] = max(totals[MAX_DELAY_MS], delay)
        if top == VALUE:
            error = score - outcome
            totals[ERROR] += error
            totals[ABS_ERROR] += abs(error)
            totals[SQ_ERROR] += error * error
            # Welford's: sums of squares of large numbers would cancel.
            totals[VALUES] += 1.0
            apart = outcome - totals[MEAN]
            totals[MEAN] += apart / totals[VALUES]
            totals[AROUND_MEAN] += apart * (outcome - totals[MEAN])
            continue
        if top == BINARY:
            hit = outcome
            totals[BINARIES] += 1.0
            kept = min(max(score, EPSILON), 1.0 - EPSILON)
            totals[LOG_LOSS] -= math.log(kept) if outcome == 1.0 else math.log(1.0 - kept)
            if score > 0.5:
                totals[TP] += outcome
                totals[FP] += 1.0 - outcome
            else:
                totals[FN] += outcome
                totals[TN] += 1.0 - outcome
        else:
            actual = int(outcome)
            hit = 1.0 if actual == top else 0.0
            totals[TP] += hit
            totals[FP] += 1.0 - hit
            if top < MAX_CLASSES and actual < MAX_CLASSES:
                classes[top, PREDICTED] += 1.0
                classes[actual, ACTUAL] += 1.0
                classes[top, RIGHT] += hit
            else:
                totals[OTHER_CLASSES] += 1.0
        # Each bin holds its upper edge; the first its lower one, too.
        place = max(math.ceil(score * BINS) - 1, 0)
        bins[place, N] += 1.0
        bins[place, Y] += hit
        bins[place, S] += score
        bins[place, SS] += score * score
        bins[place, SY] += score * hit
