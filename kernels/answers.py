"""Holds a language model's answers against another's to the same requests, and adds up how.

Knows figures of answers, and words of a slot. Knows nothing of texts, of which models they are of,
or of what follows.

The words follow those of `kernels.pairs` in the same slot, where requests are its rows. All of them
only grow, so that slots add up and differences of two readings are what came in between.

    aspects   what of an answer agrees with the other one or does not; NaN: nothing to compare
    measures  what of it is more, or less, than the other one's; NaN: nobody knows
    likeness  of the two texts
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels import pairs
from kernels._jit import kernel
from kernels.pairs import Reals, Words

Table = np.ndarray[Any, np.dtype[np.float64]]

ASPECTS: Final = ("finish", "refused", "empty", "json_valid", "tools")
MEASURES: Final = ("output_tokens", "first_token_s", "duration_s", "cost_usd")
COLUMNS: Final = len(ASPECTS) + len(MEASURES)
"""Of a table of answers: aspects, then measures."""

ASPECTS_FIRST: Final = pairs.WORDS
# Of an aspect.
COMPARED: Final = 0
DIFFERING: Final = 1
RISEN: Final = 2  # of these, the second one's is the larger: it refuses, say, and the first did not
ASPECT_WIDTH: Final = 3

MEASURES_FIRST: Final = ASPECTS_FIRST + len(ASPECTS) * ASPECT_WIDTH
# Of a measure.
KNOWN: Final = 0  # of both
HIGHER: Final = 1  # the second one's is
LOWER: Final = 2
# Bits of floats: sums of both, and of logarithms of ratios, in units of LARGEST's: those above and
# below zero, and their squares.
FIRST_SUM: Final = 3
SECOND_SUM: Final = 4
UP: Final = 5
DOWN: Final = 6
SQUARES: Final = 7
RATIOS: Final = 8  # then by ratio
EDGES: Final = (1.05, 1.25, 1.5, 2.0, 4.0, 8.0)
SIDE: Final = len(EDGES)  # bins of lower ratios, from far to near; one around 1; as many of higher
BINS: Final = 2 * SIDE + 1
MEASURE_WIDTH: Final = RATIOS + BINS
LARGEST: Final = 64.0
"""A ratio that is larger, or of something to nothing, is taken for this."""

LIKENESS: Final = MEASURES_FIRST + len(MEASURES) * MEASURE_WIDTH
# Of it: texts, then bits of floats: what is missing to full likeness, and its squares.
TEXTS: Final = LIKENESS
MISSING: Final = LIKENESS + 1
MISSING_SQUARES: Final = LIKENESS + 2
LIKENESS_BINS: Final = 10
BY_LIKENESS: Final = LIKENESS + 3
WORDS: Final = BY_LIKENESS + LIKENESS_BINS

FLOATS: Final = (
    *(
        MEASURES_FIRST + place * MEASURE_WIDTH + word
        for place in range(len(MEASURES))
        for word in range(FIRST_SUM, SQUARES + 1)
    ),
    MISSING,
    MISSING_SQUARES,
)
"""Words that are bits of floats."""

_LOG_LARGEST: Final = math.log(LARGEST)


@kernel("float64(float64, float64)")
def _steps(was: float, now: float) -> float:
    """The logarithm of a ratio, from -1 to 1."""
    if was == now:
        return 0.0
    if was <= 0.0 or now <= 0.0:
        return 1.0 if now > was else -1.0
    return float(min(max(math.log(now / was) / _LOG_LARGEST, -1.0), 1.0))


@kernel("int64(float64)")
def bin_of(steps: float) -> int:
    """Which of the BINS holds a ratio, by what `_steps` makes of it."""
    size, place = abs(steps) * _LOG_LARGEST, 0
    while place < SIDE and size > math.log(EDGES[place]):
        place += 1
    return SIDE + place if steps > 0.0 else SIDE - place


@kernel("void(int64[::1], float64[::1], float64, float64)")
def _measure(words: Words, floats: Reals, was: float, now: float) -> None:
    steps = _steps(was, now)
    words[KNOWN] += 1
    floats[FIRST_SUM] += was
    floats[SECOND_SUM] += now
    if steps > 0.0:
        words[HIGHER] += 1
        floats[UP] += steps
    elif steps < 0.0:
        words[LOWER] += 1
        floats[DOWN] -= steps
    floats[SQUARES] += steps * steps
    words[RATIOS + bin_of(steps)] += 1


@kernel("float64(int64[::1], float64)")
def _texts(slot: Words, alike: float) -> float:
    """Counts how alike two texts are; what is missing to full likeness, 0 where there is none."""
    if np.isnan(alike):
        return 0.0
    missing = 1.0 - alike
    floats = slot.view(np.float64)
    slot[TEXTS] += 1
    floats[MISSING] += missing
    floats[MISSING_SQUARES] += missing * missing
    slot[BY_LIKENESS + min(int(alike * LIKENESS_BINS), LIKENESS_BINS - 1)] += 1
    return missing


@kernel("void(int64[::1], float64[:, ::1], float64[:, ::1], float64[::1], float64[::1])")
def compare(slot: Words, first: Table, second: Table, alike: Reals, unlikeness: Reals) -> None:
    """Counts pairs of answers.

    Args:
        slot: the writer's own.
        first: (requests, COLUMNS) of what was answered.
        second: the same of the other model.
        alike: (requests,) how alike both texts are; NaN: there is none.
        unlikeness: (requests,) is set: up to 1, and above it where an aspect differs.
    """
    floats = slot.view(np.float64)
    for row in range(len(first)):
        differing = 0
        for aspect in range(len(ASPECTS)):
            was, now = first[row, aspect], second[row, aspect]
            if np.isnan(was) or np.isnan(now):
                continue
            at = ASPECTS_FIRST + aspect * ASPECT_WIDTH
            slot[at + COMPARED] += 1
            if was != now:
                differing += 1
                slot[at + DIFFERING] += 1
                slot[at + RISEN] += now > was
        for measure in range(len(MEASURES)):
            was = first[row, len(ASPECTS) + measure]
            now = second[row, len(ASPECTS) + measure]
            if np.isfinite(was) and np.isfinite(now):
                at = MEASURES_FIRST + measure * MEASURE_WIDTH
                end = at + MEASURE_WIDTH
                _measure(slot[at:end], floats[at:end], was, now)
        slot[pairs.ROWS] += 1
        slot[pairs.AGREED] += differing == 0
        unlikeness[row] = _texts(slot, alike[row])
        if differing:  # above 1 also where the words are the same
            unlikeness[row] += 1.0 + differing / len(ASPECTS)
