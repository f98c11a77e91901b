"""ADWIN: a window over a stream of losses that is cut wherever its mean has changed.

Knows numbers in the order in which they came. Knows nothing of what they are losses of.

The window is an exponential histogram: buckets of 1, 2, 4 ... losses, up to PER_LEVEL of each size,
so that n losses take log2(n) of them. Every CLOCK losses all cuts between two buckets are looked
at; where the means of the two parts are further apart than chance allows, the oldest bucket goes,
and once more, until they are not. What counts here is a rise; a fall shortens the window as well.

Chance is Bernstein's bound at DELTA / (2 ln n), as in the paper: of one look. It is no bound of
continuous watching: each look may be wrong anew. docs/outcomes.md says how often that was measured.

Source: Bifet and Gavalda (2007), Learning from time-changing data with adaptive windowing.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Reals = np.ndarray[Any, np.dtype[np.float64]]

DELTA: Final = 0.002
CLOCK: Final = 32
LEAST_PART: Final = 5  # losses on either side of a cut
PER_LEVEL: Final = 5
LEVELS: Final = 32  # 5 * 2^32 losses; then the oldest go

# Words of a state, and behind them the levels: how many buckets each has, and theirs, oldest first.
# SEEN: losses ever; RISES: cuts that found a rise, FALLS a fall; LAST: at which loss the last rise
# was found, from 1 on, and the means BEFORE and AFTER its cut. Of the window: ROWS, TOTAL, SQUARES
# around its mean; SINCE: losses since the last look.
SEEN, RISES, LAST, BEFORE, AFTER, FALLS, ROWS, TOTAL, SQUARES, SINCE = range(10)
_HEAD: Final = 10
_BUCKET: Final = 2  # a total, and squares around its mean
_LEVEL: Final = 1 + (PER_LEVEL + 1) * _BUCKET
WORDS: Final = _HEAD + LEVELS * _LEVEL


@kernel("boolean(float64[::1], float64)")
def update(state: Reals, loss: float) -> bool:
    """Takes a loss; whether the mean was found to have risen.

    Args:
        state: (WORDS,), at first zeros.
        loss: from 0 to 1.
    """
    state[SEEN] += 1.0
    state[SINCE] += 1.0
    if state[ROWS] > 0.0:
        apart = loss - state[TOTAL] / state[ROWS]
        state[SQUARES] += apart * apart * state[ROWS] / (state[ROWS] + 1.0)
    state[ROWS] += 1.0
    state[TOTAL] += loss
    _append(state, 0, loss, 0.0)
    _compress(state)
    if state[SINCE] < CLOCK:
        return False
    state[SINCE] = 0.0
    return _cut(state)


def is_state(state: Reals) -> bool:
    """Whether losses can have led to this: (WORDS,) finite numbers. `update` takes no other."""
    levels = state[_HEAD:].reshape(LEVELS, _LEVEL)
    counts, sizes = levels[:, 0], 2.0 ** np.arange(LEVELS)
    whole = np.append(state[[SEEN, RISES, LAST, FALLS, ROWS, SINCE]], counts)
    return bool(
        np.all((whole >= 0.0) & (whole == np.floor(whole)) & (whole < 2.0**53))
        and np.all(counts <= PER_LEVEL)
        and state[ROWS] == (counts * sizes).sum()
        and state[SINCE] < CLOCK
        and state[SQUARES] >= 0.0
        and np.all(levels[:, 2::_BUCKET] >= 0.0)
    )


@kernel("void(float64[::1], int64, float64, float64)")
def _append(state: Reals, level: int, total: float, squares: float) -> None:
    first = _HEAD + level * _LEVEL
    place = first + 1 + int(state[first]) * _BUCKET
    state[place], state[place + 1] = total, squares
    state[first] += 1.0


@kernel("void(float64[::1], int64)")
def _shift(state: Reals, level: int) -> None:
    """The oldest bucket of a level is gone."""
    first = _HEAD + level * _LEVEL
    state[first] -= 1.0
    for place in range(first + 1, first + 1 + int(state[first]) * _BUCKET):
        state[place] = state[place + _BUCKET]


@kernel("void(float64[::1])")
def _compress(state: Reals) -> None:
    """Where a level has one bucket too many, its two oldest become one of the next."""
    for level in range(LEVELS):
        first = _HEAD + level * _LEVEL
        if state[first] <= PER_LEVEL:
            return
        if level == LEVELS - 1:
            _drop(state)
            return
        total, other = state[first + 1], state[first + 3]
        size = 2.0**level
        apart = (total - other) / size
        squares = state[first + 2] + state[first + 4] + apart * apart * size / 2.0
        _shift(state, level)
        _shift(state, level)
        _append(state, level + 1, total + other, squares)


@kernel("void(float64[::1])")
def _drop(state: Reals) -> None:
    """Forgets the oldest bucket."""
    level = LEVELS - 1
    while state[_HEAD + level * _LEVEL] == 0.0:
        level -= 1
    first = _HEAD + level * _LEVEL
    size, total, squares = 2.0**level, state[first + 1], state[first + 2]
    _shift(state, level)
    state[ROWS] -= size
    state[TOTAL] -= total
    apart = total / size - state[TOTAL] / state[ROWS]
    squares += apart * apart * size * state[ROWS] / (size + state[ROWS])
    state[SQUARES] = max(state[SQUARES] - squares, 0.0)


@kernel("boolean(float64[::1])")
def _cut(state: Reals) -> bool:
    """Forgets what came before a change; whether it was a rise."""
    first = change = _change(state, False)
    while change != 0:
        _drop(state)
        change = _change(state, True)
    if first > 0:
        state[RISES] += 1.0
        state[LAST] = state[SEEN]
    elif first < 0:
        state[FALLS] += 1.0
    return first > 0


@kernel("int64(float64[::1], boolean)")
def _change(state: Reals, known: bool) -> int:
    """1 where the window's parts show a rise at any cut, -1 a fall, else 0.

    The means on both sides of a rise are written down, unless it is `known`.
    """
    rows = state[ROWS]
    if rows < 2 * LEAST_PART:
        return 0
    variance = state[SQUARES] / rows
    log_term = math.log(2.0 * math.log(rows) / DELTA)
    old, old_total = 0.0, 0.0
    for level in range(LEVELS - 1, -1, -1):
        first = _HEAD + level * _LEVEL
        for bucket in range(int(state[first])):
            old += 2.0**level
            old_total += state[first + 1 + bucket * _BUCKET]
            new = rows - old
            if new < LEAST_PART:
                return 0
            if old < LEAST_PART:
                continue
            before, after = old_total / old, (state[TOTAL] - old_total) / new
            harmonic = 1.0 / old + 1.0 / new
            chance = math.sqrt(2.0 * harmonic * variance * log_term)
            chance += 2.0 / 3.0 * harmonic * log_term
            if abs(before - after) <= chance:
                continue
            if after < before:
                return -1
            if not known:
                state[BEFORE], state[AFTER] = before, after
            return 1
    return 0
