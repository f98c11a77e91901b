"""Holds a model's answers against another's to the same rows, and adds up how they differ.

Knows rows of two outputs of one shape, and the words of a slot. Knows nothing of which models they
are of, or of what follows.

What is compared of a row is a score, as `kernels.ring` finds one: a column of the output, or of the
best class that the first one chose its probability. All words only grow, so that slots add up and
differences of two readings are what came in between.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._jit import kernel
from kernels.performance import VALUE
from kernels.ring import BEST

Words = np.ndarray[Any, np.dtype[np.int64]]
Matrix = np.ndarray[Any, np.dtype[Any]]
Reals = np.ndarray[Any, np.dtype[np.float64]]

# Words of a slot, in rows. Those at 4 and 5 belong to every block that is counted into.
ROWS: Final = 0  # that both answered, and whose scores are numbers
AGREED: Final = 1
HIGHER: Final = 2  # of those, the second one's score is
LOWER: Final = 3
COPIED: Final = 6  # taken to be run: compared, dropped, failed, unlike, or still waiting
DROPPED: Final = 7  # found no room
FAILED: Final = 8  # the second one could not answer
UNLIKE: Final = 9  # a score is no number, or there is none
RUN_NS: Final = 10  # processor time of the second one for the rows that it answered
RUN_ROWS: Final = 11
# Of runs that both have made, one after the other: processor time of each.
BOTH_ROWS: Final = 12
FIRST_NS: Final = 13
SECOND_NS: Final = 14
# Bits of a float: differences, second minus first, above and below zero, and their squares.
UP: Final = 16
DOWN: Final = 17
SQUARES: Final = 18
# Copies that the second one ran, and those that it failed: a request, or several that shared a run.
RAN: Final = 19
BROKE: Final = 20
# Rows by difference; of predicted numbers, by its part of the larger one.
DIFFERENCES: Final = 24
EDGES: Final = (1e-6, 1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SIDE: Final = len(EDGES)  # bins below zero, from far to near; one around it; as many above
BINS: Final = 2 * SIDE + 1
# Of probabilities, by the second one's: rows, and (bits of floats) both sums.
CALIBRATION: Final = DIFFERENCES + BINS + 1
CALIBRATION_BINS: Final = 10
CALIBRATION_WIDTH: Final = 3
WORDS: Final = CALIBRATION + CALIBRATION_BINS * CALIBRATION_WIDTH

FLOATS: Final = (
    UP,
    DOWN,
    SQUARES,
    *(CALIBRATION + CALIBRATION_WIDTH * n + one for n in range(CALIBRATION_BINS) for one in (1, 2)),
)
"""Words that are bits of floats."""

NO_NUMBER: Final = 4.0
"""How different rows are one of whose scores is no number: more than any others."""
FARTHEST: Final = 2.0
"""How far scores count as apart: as numbers of two signs are, in parts of the larger; probabilities
are nearer. Other scores of classes may be further, and agree none the less where the class does."""


@kernel("int64(float64)")
def bin_of(difference: float) -> int:
    """Which of the BINS holds a difference."""
    size = abs(difference)
    place = 0
    while place < SIDE and size > EDGES[place]:
        place += 1
    return SIDE + place if difference > 0.0 else SIDE - place


_SIGNATURE: Final = (
    "float64(int64[::1], {0}[:, ::1], {0}[:, ::1], int64, int64, float64, float64, float64[::1])"
)


@kernel(_SIGNATURE.format("float32"), _SIGNATURE.format("float64"))
def compare(
    slot: Words,
    first: Matrix,
    second: Matrix,
    column: int,
    told: int,
    threshold: float,
    tolerance: float,
    unlikeness: Reals,
) -> float:
    """Counts pairs of answers.

    Args:
        slot: the writer's own.
        first: (rows, columns) what was answered.
        second: the same of the other model.
        column: whose value is the score; BEST: classes, of which the largest is predicted.
        told: `performance.BINARY` or VALUE, where it is a column.
        threshold: above which the positive class is predicted.
        tolerance: numbers agree that differ by no more than this part of the larger.
        unlikeness: (rows,) is set: up to 1, and above it where they do not agree.

    Returns:
        The highest unlikeness; -1.0 where the arrays do not match, and nothing was counted.
    """
    rows, columns = first.shape
    if second.shape[0] != rows or second.shape[1] != columns or columns <= max(column, 0):
        return -1.0
    if len(unlikeness) < rows:
        return -1.0
    floats = slot.view(np.float64)
    most = 0.0
    for row in range(rows):
        place, agree = column, True
        if column == BEST:
            place, other = 0, 0
            for one in range(1, columns):
                if first[row, one] > first[row, place]:
                    place = one
                if second[row, one] > second[row, other]:
                    other = one
            agree = place == other
        was, now = float(first[row, place]), float(second[row, place])
        difference = now - was
        if not np.isfinite(difference):
            slot[UNLIKE] += 1
            unlikeness[row] = most = NO_NUMBER
            continue
        size = difference
        if column != BEST and told == VALUE:
            larger = max(abs(was), abs(now))
            size = difference / larger if larger > 0.0 else 0.0
            agree = abs(size) <= tolerance
        elif column != BEST:
            agree = (was > threshold) == (now > threshold)
        slot[ROWS] += 1
        if agree:
            slot[AGREED] += 1
        if difference > 0.0:
            slot[HIGHER] += 1
            floats[UP] += difference
        elif difference < 0.0:
            slot[LOWER] += 1
            floats[DOWN] -= difference
        floats[SQUARES] += difference * difference
        slot[DIFFERENCES + bin_of(size)] += 1
        if told != VALUE or column == BEST:
            level = min(max(int(now * CALIBRATION_BINS), 0), CALIBRATION_BINS - 1)
            at = CALIBRATION + level * CALIBRATION_WIDTH
            slot[at] += 1
            floats[at + 1] += was
            floats[at + 2] += now
        apart = min(abs(size), FARTHEST)
        unlikeness[row] = min(apart, 1.0) if agree else 1.0 + apart
        most = max(most, unlikeness[row])
    return most
