"""Has what a model's outcomes are become another function of its inputs? Watches its losses.

Knows records with outcomes, in the order in which these became known. Knows nothing of models, of
time, or of who is told.

All is one vector of numbers for each series of records: what the first outcomes were like, which is
what later ones are held against (the baseline); windows of newer ones, which begin anew when
they are full; and Page and Hinkley's test and ADWIN over two losses, from 0 to 1:

    loss    of a class: the log-loss of its score, in parts of MAX_NATS, which it is cut at;
            of a value: the absolute error, in parts of MAX_ERRORS times the mean one
    error   1 for a class that was not predicted, and for a value further away than FAR_ERRORS
            times the mean error; else 0

What the mean error of values is, their first outcomes say; the baseline comes after those.

**The error rate has risen** where the lowest rate of a window (`kernels.rates`) is above the
highest of the baseline, and above what was found there by more than a floor. **Calibration has
changed** where in some bin of scores the gap between scores and outcomes surely lies elsewhere than
in the baseline, and the gaps of all bins together have moved by more than a floor.

Both are looked at every CLOCK outcomes. ALPHA is shared out over windows, so that without a change
an alarm comes with that probability at most in so many outcomes as the longest holds, and once and
for all the baseline is wrong with that probability. After an alarm windows begin anew; it is over
when the shortest comes to its end without being beyond the limit.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels import adwin, page_hinkley
from kernels._jit import kernel
from kernels.ledger import OUTCOME, SCORE, TOP_AND_CORRECTIONS, Words
from kernels.performance import BINARY, EPSILON, VALUE
from kernels.rates import exceeds, highest, lowest

Reals = np.ndarray[Any, np.dtype[np.float64]]

MAX_NATS: Final = 4.0  # a probability of 0.018 for what happened
MAX_ERRORS: Final = 8.0
FAR_ERRORS: Final = 2.0  # 11 of 100 values, where errors are normal
CLOCK: Final = 32
ALPHA: Final = 0.01
# Of windows: a short one finds a large change soon, a long one a small change at all.
LENGTHS: Final = (500, 1000, 2000, 4000, 8000, 16_000, 32_000)
BINS: Final = 10

# Words of a part of the stream: outcomes, errors, and of each bin outcomes, hits and scores.
N, ERRORS = 0, 1
PART_BINS: Final = 2
BIN_N, HITS, SCORES = range(3)
PART_WORDS: Final = PART_BINS + BINS * 3

# Words of an alarm: how often it came, and whether it is on; of the last time at which outcome it
# came, when, in how many outcomes, what was found in these and how low that may be, its limit.
TIMES, ON, AT, AT_MS, OF, FOUND, LOW, LIMIT = range(8)
ALARM_WORDS: Final = 8

# Words of a state. SCALE: the mean error of values, NaN until it is known; 1 of classes.
SEEN, SCALE, SCALED, SCALED_SUM, FROZEN, RATE_HIGH = range(6)
GAP_LOW: Final = 6
GAP_HIGH: Final = GAP_LOW + BINS
BASE: Final = GAP_HIGH + BINS
WINDOWS: Final = BASE + PART_WORDS
ERROR_ALARM: Final = WINDOWS + len(LENGTHS) * PART_WORDS
GAP_ALARM: Final = ERROR_ALARM + ALARM_WORDS
LOSS_PH: Final = GAP_ALARM + ALARM_WORDS
ERROR_PH: Final = LOSS_PH + page_hinkley.WORDS
LOSS_ADWIN: Final = ERROR_PH + page_hinkley.WORDS
ERROR_ADWIN: Final = LOSS_ADWIN + adwin.WORDS
WORDS: Final = ERROR_ADWIN + adwin.WORDS

# Words of what is set: outcomes in the baseline, the two floors, above which probability positive
# is predicted, and what time it is.
BASE_ROWS, ERROR_FLOOR, GAP_FLOOR, THRESHOLD, NOW_MS = range(5)
SETTINGS: Final = 5

_HALF: Final = 32
_NO_HISTORY: Final = 1e-9
_LIMIT_BASE: Final = math.log(1.0 / ALPHA)
# Alpha of a window: its share of the longest, and of as many windows as there are.
LOG_LIMITS: Final = tuple(math.log(len(LENGTHS) * LENGTHS[-1] / n / ALPHA) for n in LENGTHS)
_OF_BINS: Final = math.log(BINS)


def new_state() -> Reals:
    """Of a series without outcomes."""
    state = np.zeros(WORDS)
    state[SCALE] = math.nan
    return state


@kernel("void(int64[:, ::1], float64[:, ::1], float64[::1], float64[::1])")
def feed(words: Words, reals: Reals, settings: Reals, state: Reals) -> None:
    """Takes records of one series, in the order in which their outcomes became known.

    Args:
        words: (records, ledger.RECORD_WORDS).
        reals: the same memory.
        settings: (SETTINGS,).
        state: (WORDS,) of the series.
    """
    for one in range(len(words)):
        score, outcome = reals[one, SCORE], reals[one, OUTCOME]
        top = words[one, TOP_AND_CORRECTIONS] >> _HALF
        if math.isnan(outcome) or math.isnan(score):
            continue
        if top != VALUE and not 0.0 <= score <= 1.0:
            continue
        state[SEEN] += 1.0
        hit = 0.0
        if top == VALUE:
            apart = abs(score - outcome)
            if math.isnan(state[SCALE]):
                _scale(state, apart, settings[BASE_ROWS])
                continue
            error = 1.0 if apart > FAR_ERRORS * state[SCALE] else 0.0
            least = max(state[SCALE], _NO_HISTORY)
            loss = min(apart / (MAX_ERRORS * least), 1.0)
        else:
            state[SCALE] = 1.0
            if top == BINARY:
                hit = outcome
                error = 1.0 if (score > settings[THRESHOLD]) != (outcome == 1.0) else 0.0
            else:
                hit = 1.0 if outcome == float(top) else 0.0
                error = 1.0 - hit
            chance = max(score if hit == 1.0 else 1.0 - score, EPSILON)
            loss = min(-math.log(chance) / MAX_NATS, 1.0)
        page_hinkley.update(state[LOSS_PH:ERROR_PH], loss)
        page_hinkley.update(state[ERROR_PH:LOSS_ADWIN], error)
        adwin.update(state[LOSS_ADWIN:ERROR_ADWIN], loss)
        adwin.update(state[ERROR_ADWIN:WORDS], error)
        place = -1 if top == VALUE else min(int(score * BINS), BINS - 1)
        if state[FROZEN] == 0.0:
            _count(state[BASE:WINDOWS], error, place, hit, score)
            if state[BASE + N] >= settings[BASE_ROWS]:
                _freeze(state)
            continue
        for window in range(len(LENGTHS)):
            first = WINDOWS + window * PART_WORDS
            _count(state[first : first + PART_WORDS], error, place, hit, score)
        if state[WINDOWS + N] % CLOCK == 0.0 or state[WINDOWS + N] >= LENGTHS[0]:
            _look(state, settings)


@kernel("void(float64[::1], float64, float64)")
def _scale(state: Reals, apart: float, rows: float) -> None:
    state[SCALED] += 1.0
    state[SCALED_SUM] += apart
    if state[SCALED] >= rows:
        state[SCALE] = state[SCALED_SUM] / state[SCALED]


@kernel("void(float64[::1], float64, int64, float64, float64)")
def _count(part: Reals, error: float, place: int, hit: float, score: float) -> None:
    part[N] += 1.0
    part[ERRORS] += error
    if place >= 0:
        first = PART_BINS + place * 3
        part[first + BIN_N] += 1.0
        part[first + HITS] += hit
        part[first + SCORES] += score


@kernel("void(float64[::1])")
def _freeze(state: Reals) -> None:
    """The baseline is whole: what it leaves possible."""
    base = state[BASE:WINDOWS]
    state[FROZEN] = 1.0
    state[RATE_HIGH] = highest(base[ERRORS], base[N], _LIMIT_BASE)
    for place in range(BINS):
        first = PART_BINS + place * 3
        n, hits = base[first + BIN_N], base[first + HITS]
        mean = base[first + SCORES] / n if n > 0.0 else 0.0
        # Of a bin without outcomes anything is possible.
        limit = _LIMIT_BASE + _OF_BINS
        state[GAP_LOW + place] = lowest(hits, n, limit) - mean if n > 0.0 else -1.0
        state[GAP_HIGH + place] = highest(hits, n, limit) - mean if n > 0.0 else 1.0


@kernel("void(float64[::1], float64[::1])")
def _look(state: Reals, settings: Reals) -> None:
    """Raises and ends alarms; windows that are full, or that raised or ended one, begin anew."""
    anew = False
    for window in range(len(LENGTHS)):
        first = WINDOWS + window * PART_WORDS
        anew |= _raised(state, settings, state[first : first + PART_WORDS], LOG_LIMITS[window])
    if not anew and state[WINDOWS + N] >= LENGTHS[0]:
        anew = _ended(state, settings)
    for window in range(len(LENGTHS)):
        first = WINDOWS + window * PART_WORDS
        if anew or state[first + N] >= LENGTHS[window]:
            state[first : first + PART_WORDS] = 0.0


@kernel("float64(float64[::1], float64)")
def rate_limit(state: Reals, floor: float) -> float:
    """What the error rate must be above for an alarm, once there is a baseline."""
    found = state[BASE + ERRORS] / state[BASE + N]
    limit: float = min(max(state[RATE_HIGH], found + floor), 1.0)
    return limit


@kernel("boolean(float64[::1], float64[::1], float64[::1], float64)")
def _raised(state: Reals, settings: Reals, part: Reals, log_limit: float) -> bool:
    """Whether a window raised an alarm."""
    raised = False
    limit = rate_limit(state, settings[ERROR_FLOOR])
    alarm = state[ERROR_ALARM:GAP_ALARM]
    if alarm[ON] == 0.0 and exceeds(part[ERRORS], part[N], limit, log_limit):
        alarm[FOUND] = part[ERRORS] / part[N]
        alarm[LOW] = lowest(part[ERRORS], part[N], log_limit)
        alarm[LIMIT] = limit
        _raise(alarm, state[SEEN], settings[NOW_MS], part[N])
        raised = True
    alarm = state[GAP_ALARM:LOSS_PH]
    if alarm[ON] == 0.0:
        low = gap_least(state, part, log_limit)
        found = gap_found(part, state[BASE:WINDOWS]) if low > 0.0 else 0.0
        if found > settings[GAP_FLOOR]:
            alarm[FOUND], alarm[LOW], alarm[LIMIT] = found, low, settings[GAP_FLOOR]
            _raise(alarm, state[SEEN], settings[NOW_MS], part[N])
            raised = True
    return raised


@kernel("void(float64[::1], float64, float64, float64)")
def _raise(alarm: Reals, seen: float, now_ms: float, of: float) -> None:
    alarm[TIMES] += 1.0
    alarm[ON] = 1.0
    alarm[AT] = seen
    alarm[AT_MS] = now_ms
    alarm[OF] = of


@kernel("boolean(float64[::1], float64[::1])")
def _ended(state: Reals, settings: Reals) -> bool:
    """Whether the shortest window, which is full, ended an alarm."""
    part = state[WINDOWS : WINDOWS + PART_WORDS]
    ended = False
    if state[ERROR_ALARM + ON] > 0.0:
        limit = rate_limit(state, settings[ERROR_FLOOR])
        if part[ERRORS] <= limit * part[N]:
            state[ERROR_ALARM + ON] = 0.0
            ended = True
    if state[GAP_ALARM + ON] > 0.0 and gap_found(part, state[BASE:WINDOWS]) <= settings[GAP_FLOOR]:
        state[GAP_ALARM + ON] = 0.0
        ended = True
    return ended


@kernel("float64(float64[::1], float64[::1])")
def gap_found(part: Reals, base: Reals) -> float:
    """By how much the gaps between outcomes and scores have moved: root of the mean square.

    What chance adds is taken off, as of the debiased calibration error; 0 where nothing is left.

    Args:
        part: (PART_WORDS,) newer outcomes.
        base: (PART_WORDS,) those that they are held against; bins that it lacks do not count.
    """
    moved, total = 0.0, 0.0
    for place in range(BINS):
        first = PART_BINS + place * 3
        n, before = part[first + BIN_N], base[first + BIN_N]
        if n < 2.0 or before < 2.0:
            continue
        rate, rate_before = part[first + HITS] / n, base[first + HITS] / before
        apart = rate - part[first + SCORES] / n - rate_before + base[first + SCORES] / before
        chance = rate * (1.0 - rate) / (n - 1.0) + rate_before * (1.0 - rate_before) / (
            before - 1.0
        )
        moved += n * (apart * apart - chance)
        total += n
    return math.sqrt(moved / total) if moved > 0.0 else 0.0


@kernel("float64(float64[::1], float64[::1], float64)")
def gap_least(state: Reals, part: Reals, log_limit: float) -> float:
    """By how much, as a mean over outcomes, the gaps have moved at least; 0: maybe not at all.

    Args:
        state: (WORDS,) with a baseline.
        part: (PART_WORDS,) newer outcomes.
        log_limit: ln(1 / alpha), of all bins together.
    """
    moved, total = 0.0, 0.0
    for place in range(BINS):
        first = PART_BINS + place * 3
        n, hits = part[first + BIN_N], part[first + HITS]
        total += n
        if n == 0.0:
            continue
        mean = part[first + SCORES] / n
        low, high = state[GAP_LOW + place], state[GAP_HIGH + place]
        # Ends are looked for only where it matters: it takes most of the time.
        if hits / n - mean > high:
            moved += n * max(lowest(hits, n, log_limit + _OF_BINS) - mean - high, 0.0)
        elif hits / n - mean < low:
            moved += n * max(low - highest(hits, n, log_limit + _OF_BINS) + mean, 0.0)
    return moved / total if total > 0.0 else 0.0
