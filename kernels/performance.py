"""Adds up how right a model was, from the records of a ledger: what every figure is made of.

Knows the words of a record and sums. Knows nothing of figures, windows or files.

The sums of two sets of records merge into those of both (`merge`), whatever the order but for the
last bits of a float. Binary scores are added up in bins of equal width, the score being that of the
positive class; multi-class ones by the score of the top class, its outcome being whether that was
right. Records without an outcome leave their scores: figures are estimated of those.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from kernels import histogram, residuals
from kernels._jit import kernel
from kernels.ledger import (
    MARKS,
    MAX_CORRECTIONS,
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
# Of a bin: labelled records, outcomes, scores, their squares and products; and of all records with
# a score: how many, scores, squares.
N, Y, S, SS, SY, ALL_N, ALL_S, ALL_SS = range(8)
BIN_SUMS: Final = 8

# The same scores by their log-odds, for what is steep near 0 and 1, in bins of 1/8.
LOGIT_STEPS: Final = 8
MAX_LOGIT: Final = 37
LOGITS: Final = 2 * MAX_LOGIT * LOGIT_STEPS
# Of such a bin, of labelled records: how many, outcomes, log-odds.
L_N, L_Y, L_X = range(3)
LOGIT_SUMS: Final = 3

MAX_CLASSES: Final = 256
# Of a class: records where it was the top, where it was the outcome, and where it was both.
PREDICTED, ACTUAL, RIGHT = range(3)
CLASS_SUMS: Final = 3

# Totals. Unscored: not a number or, as a probability, none.
RECORDS, UNSCORED, LABELLED, CORRECTED, DELAY_MS, MAX_DELAY_MS = range(6)
# Of labelled records of a class; a square error is one of the probability.
LOG_LOSS, LOG_LOSS_SQUARES, FOURTH_POWERS, TP, FP, TN, FN, OTHER_CLASSES = range(6, 14)
# Of labelled values: error is score minus outcome; the outcomes' mean and powers around it.
VALUES, ERROR, ABS_ERROR, SQ_ERROR, FOURTH_ERROR = range(14, 19)
MEAN, AROUND_MEAN, CUBES, FOURTHS = range(19, 23)
BINARIES: Final = 23  # of labelled records: probabilities of a positive class
# Of all records with a score: how many are of which kind; those predicted positive, their scores
# and squares; and the latter two of labelled ones.
ALL_BINARIES, ALL_VALUES, CHOSEN, CHOSEN_S, CHOSEN_SS = range(24, 29)
LABELLED_CHOSEN_S, LABELLED_CHOSEN_SS = range(29, 31)
TOTALS: Final = 31

EPSILON: Final = 2.0**-52  # a probability is taken as no nearer to 0 and 1 than this by a logarithm
THRESHOLD: Final = 0.5  # as the larger of two probabilities is
_HALF: Final = 32


class Sums(NamedTuple):
    """What figures are made of.

    Attributes:
        totals: (TOTALS,).
        bins: (BINS, BIN_SUMS) of probabilities.
        classes: (MAX_CLASSES, CLASS_SUMS).
        logits: (LOGITS, LOGIT_SUMS) of probabilities.
        residuals: (residuals.BUCKETS,) labelled values by their error.
        delays: (histogram.BUCKETS,) labelled records by the milliseconds until their outcome.
    """

    totals: Reals
    bins: Reals
    classes: Reals
    logits: Reals
    residuals: Reals
    delays: Reals


def no_sums() -> Sums:
    """Of no records."""
    return Sums(
        np.zeros(TOTALS),
        np.zeros((BINS, BIN_SUMS)),
        np.zeros((MAX_CLASSES, CLASS_SUMS)),
        np.zeros((LOGITS, LOGIT_SUMS)),
        np.zeros(residuals.BUCKETS),
        np.zeros(histogram.BUCKETS),
    )


def merge(into: Sums, more: Sums) -> None:
    """Adds the sums of other records, in place."""
    a, b = into.totals, more.totals
    longest = max(a[MAX_DELAY_MS], b[MAX_DELAY_MS])
    around = _around_both(a, b)
    for some, others in zip(into, more, strict=True):
        some += others
    a[MAX_DELAY_MS] = longest
    a[[MEAN, AROUND_MEAN, CUBES, FOURTHS]] = around


def _around_both(a: Reals, b: Reals) -> Reals:
    """Mean and powers around it of two sets of values. Source: Pebay (2008), SAND2008-6212."""
    if not a[VALUES] or not b[VALUES]:
        some: Reals = (b if b[VALUES] else a)[[MEAN, AROUND_MEAN, CUBES, FOURTHS]]
        return some
    p, q = a[VALUES], b[VALUES]
    n, d = p + q, b[MEAN] - a[MEAN]
    two_a, two_b, three_a, three_b = a[AROUND_MEAN], b[AROUND_MEAN], a[CUBES], b[CUBES]
    cubes = d**3 * p * q * (p - q) / n**2 + 3.0 * d * (p * two_b - q * two_a) / n
    fourths = d**4 * p * q * (p * p - p * q + q * q) / n**3
    fourths += 6.0 * d * d * (p * p * two_b + q * q * two_a) / n**2
    fourths += 4.0 * d * (p * three_b - q * three_a) / n
    return np.array(
        (
            a[MEAN] + d * q / n,
            two_a + two_b + d * d * p * q / n,
            three_a + three_b + cubes,
            a[FOURTHS] + b[FOURTHS] + fourths,
        )
    )


def add(
    sums: Sums,
    words: Words,
    series: int,
    first_ms: int,
    end_ms: int,
    mask: int = 0,
    marks: int = 0,
    threshold: float = THRESHOLD,
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
        threshold: the probability above which the positive class is predicted.
    """
    reals, chosen = words.view(np.float64), np.array((first_ms, end_ms, mask, marks))
    _add(words, reals, series, chosen, threshold, *sums)


@kernel("void(float64, float64, float64[::1], float64[::1])")
def _add_value(score: float, outcome: float, totals: Reals, errors: Reals) -> None:
    error = score - outcome
    square = error * error
    totals[ERROR] += error
    totals[ABS_ERROR] += abs(error)
    totals[SQ_ERROR] += square
    totals[FOURTH_ERROR] += square * square
    if not math.isnan(error):  # inf minus inf
        errors[residuals.bucket(error)] += 1.0
    # Welford's: sums of squares of large numbers would cancel.
    totals[VALUES] += 1.0
    n = totals[VALUES]
    apart = outcome - totals[MEAN]
    step = apart / n
    grown = apart * step * (n - 1.0)
    totals[FOURTHS] += grown * step * step * (n * n - 3.0 * n + 3.0)
    totals[FOURTHS] += 6.0 * step * step * totals[AROUND_MEAN] - 4.0 * step * totals[CUBES]
    totals[CUBES] += grown * step * (n - 2.0) - 3.0 * step * totals[AROUND_MEAN]
    totals[AROUND_MEAN] += grown
    totals[MEAN] += step


@kernel(
    "void(int64[:, ::1], float64[:, ::1], int64, int64[::1], float64, float64[::1],"
    " float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[::1], float64[::1])"
)
def _add(
    words: Words,
    reals: Reals,
    series: int,
    chosen: Words,
    threshold: float,
    totals: Reals,
    bins: Reals,
    classes: Reals,
    logits: Reals,
    errors: Reals,
    delays: Reals,
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
        labelled = not math.isnan(outcome)
        if labelled:
            totals[LABELLED] += 1.0
            if words[one, TOP_AND_CORRECTIONS] & MAX_CORRECTIONS:
                totals[CORRECTED] += 1.0
            delay = max(words[one, OUTCOME_MS] - time_ms, 0)
            totals[DELAY_MS] += delay
            totals[MAX_DELAY_MS] = max(totals[MAX_DELAY_MS], float(delay))
            delays[histogram.index(delay)] += 1.0
        if top == VALUE:
            totals[ALL_VALUES] += 1.0
            if labelled:
                _add_value(score, outcome, totals, errors)
            continue
        square = score * score
        # Each bin holds its upper edge; the first its lower one, too.
        place = max(math.ceil(score * BINS) - 1, 0)
        bins[place, ALL_N] += 1.0
        bins[place, ALL_S] += score
        bins[place, ALL_SS] += square
        said = top == BINARY and score > threshold
        if top == BINARY:
            totals[ALL_BINARIES] += 1.0
        if said:
            totals[CHOSEN] += 1.0
            totals[CHOSEN_S] += score
            totals[CHOSEN_SS] += square
        if not labelled:
            continue
        if top == BINARY:
            hit = outcome
            totals[BINARIES] += 1.0
            if said:
                totals[TP] += outcome
                totals[FP] += 1.0 - outcome
                totals[LABELLED_CHOSEN_S] += score
                totals[LABELLED_CHOSEN_SS] += square
            else:
                totals[FN] += outcome
                totals[TN] += 1.0 - outcome
        else:
            hit = 1.0 if outcome == top else 0.0
            totals[TP] += hit
            totals[FP] += 1.0 - hit
            # From below, too: a file of the disk may say anything, and this is written to memory.
            if 0 <= top < MAX_CLASSES and 0.0 <= outcome < MAX_CLASSES:
                actual = int(outcome)
                classes[top, PREDICTED] += 1.0
                classes[actual, ACTUAL] += 1.0
                classes[top, RIGHT] += hit
            else:
                totals[OTHER_CLASSES] += 1.0
        bins[place, N] += 1.0
        bins[place, Y] += hit
        bins[place, S] += score
        bins[place, SS] += square
        bins[place, SY] += score * hit
        apart = (score - hit) * (score - hit)
        totals[FOURTH_POWERS] += apart * apart
        kept = min(max(score, EPSILON), 1.0 - EPSILON)
        logit = math.log(kept / (1.0 - kept))
        loss = -math.log(kept if hit == 1.0 else 1.0 - kept)
        totals[LOG_LOSS] += loss
        totals[LOG_LOSS_SQUARES] += loss * loss
        step = int((logit + MAX_LOGIT) * LOGIT_STEPS)
        logits[step, L_N] += 1.0
        logits[step, L_Y] += hit
        logits[step, L_X] += logit
