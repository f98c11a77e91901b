"""What outcomes say of each series as they come in: is it still as right as it was?

Knows series by their numbers, records with outcomes, and what is made of them (`kernels.concept`).
Knows nothing of models, of files or of who is told.

A record is fed once, when its first outcome is joined: one that is corrected later has been seen,
and one that is sent again is nothing new. Outcomes are fed in the order in which they come in and,
of those that come in together, in which they are said to have become known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from gateway.outcomes.packed import check_state, packed, unpacked
from kernels import adwin, page_hinkley
from kernels import concept as c
from kernels.ledger import OUTCOME_MS, SEQUENCE, TIME_MS, Words, series_of
from kernels.performance import THRESHOLD
from kernels.rates import highest, lowest

log = logging.getLogger("penstock.control")

# Raised where the words of a state change their meaning: what was kept in others begins anew.
LAYOUT: Final = 1
# So long a test that found a rise says so.
RECENT: Final = 500
# A window of fewer outcomes says little of how things are now.
LEAST_SHOWN: Final = 100
VERDICTS: Final = ("ok", "drift", "too_few_rows")


class Settings(NamedTuple):
    """What is held against what.

    Attributes:
        baseline_outcomes: in the baseline.
        error_floor: see `kernels.concept`.
        calibration_floor: the same.
    """

    baseline_outcomes: int
    error_floor: float
    calibration_floor: float


@dataclass(frozen=True, slots=True)
class Raised:
    """The last alarm of a figure.

    Attributes:
        at: seconds since 1970.
        outcome: which it came at, from 1 on.
        outcomes: in the window that raised it.
        value, low, limit: what was found there, what it was at least, and what it is held against.
    """

    at: float
    outcome: int
    outcomes: int
    value: float
    low: float
    limit: float


@dataclass(frozen=True, slots=True)
class Figure:
    """The error rate, or by how much calibration has moved.

    Attributes:
        verdict: of VERDICTS.
        outcomes: in the window that the figures are of: the shortest that says something.
        value: there; None where nothing is known.
        low, high: where the error rate lies, for sure at all times; of calibration, how much it has
            moved at least.
        limit: above which there is an alarm.
        alarms: how many there were.
        raised: the last one.
    """

    verdict: str
    outcomes: int
    value: float | None
    low: float | None
    high: float | None
    limit: float | None
    alarms: int
    raised: Raised | None


@dataclass(frozen=True, slots=True)
class Test:
    """Page and Hinkley's, or ADWIN, over a loss.

    Attributes:
        verdict: of VERDICTS; drift for RECENT outcomes after a rise was found.
        outcomes: since the last rise, or in ADWIN's window.
        mean: of these.
        rises: that were found.
        outcome: at which the last one was, from 1 on.
        before, after: mean loss on both sides of it; ADWIN alone knows.
    """

    verdict: str
    outcomes: int
    mean: float | None
    rises: int
    outcome: int | None
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of a series.

    Attributes:
        outcomes: that were fed.
        verdict: the worse of the error rate's and calibration's.
        baseline_outcomes: in the baseline so far; of values, those count that came after the first,
            which say what their usual error is.
        baseline_error_rate: there.
        usual_error: the mean absolute one of values; None of classes.
        error_rate, calibration: held against it. Calibration is None of values.
        tests: by name, over each loss.
    """

    outcomes: int
    verdict: str
    baseline_outcomes: int
    baseline_error_rate: float | None
    usual_error: float | None
    error_rate: Figure
    calibration: Figure | None
    tests: Mapping[str, Test]


class Streams:
    """Of one ledger. Blocking: it lives on the ledger's thread."""

    def __init__(self, kept: Callable[[int], bytes | None]) -> None:
        """Remembers nothing but what `kept` has of a series."""
        self._kept = kept
        self._states: dict[int, c.Reals] = {}
        self._fed: set[int] = set()

    def feed(
        self,
        records: Words,
        settings: Settings,
        now_ms: int,
        threshold: Callable[[int], float] = lambda series: THRESHOLD,
    ) -> None:
        """Takes records whose first outcomes came in, each once.

        Args:
            records: (records, ledger.RECORD_WORDS) of any series, with outcomes.
            settings: in force.
            now_ms: wall clock.
            threshold: above which probability a series predicts positive.
        """
        numbers = series_of(records)
        known = (records[:, SEQUENCE], records[:, TIME_MS], records[:, OUTCOME_MS])
        order = np.lexsort((*known, numbers))
        found, starts = np.unique(numbers[order], return_index=True)
        for series, part in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            some = records[part]
            told = np.array([*settings, threshold(series), now_ms], np.float64)
            c.feed(some, some.view(np.float64), told, self._state(series))
            self._fed.add(series)

    def unsaved(self) -> dict[int, bytes]:
        """What changed since it was last `saved`, by series."""
        return {series: _packed(self._states[series]) for series in self._fed}

    def saved(self) -> None:
        """What `unsaved` told is kept."""
        self._fed.clear()

    def judged(self, series: int, settings: Settings) -> Judged:
        """What is known of a series."""
        return judge(self._state(series), settings)

    def _state(self, series: int) -> c.Reals:
        if series not in self._states:
            kept = self._kept(series)
            found = None if kept is None else _unpacked(kept)
            if kept is not None and found is None:
                log.error("what was seen of series %d cannot be read, and begins anew", series)
            self._states[series] = c.new_state() if found is None else found
        return self._states[series]


def judge(state: c.Reals, settings: Settings) -> Judged:
    """What a state says."""
    base = state[c.BASE : c.WINDOWS]
    whole = bool(state[c.FROZEN])
    error, gap = _error_rate(state, settings, whole), _calibration(state, settings, whole)
    verdicts = {error.verdict} | ({gap.verdict} if gap else set())
    worst = next(one for one in ("drift", "too_few_rows", "ok") if one in verdicts)
    of_values = bool(state[c.SCALED])
    unfed = int(state[c.SCALED])  # tests begin once it is known what a usual error is
    return Judged(
        outcomes=int(state[c.SEEN]),
        verdict=worst,
        baseline_outcomes=int(base[c.N]),
        baseline_error_rate=_ratio(base[c.ERRORS], base[c.N]),
        usual_error=float(state[c.SCALE]) if of_values and not np.isnan(state[c.SCALE]) else None,
        error_rate=error,
        calibration=gap,
        tests={
            "page_hinkley_loss": _page_hinkley(state[c.LOSS_PH : c.ERROR_PH], unfed),
            "page_hinkley_error": _page_hinkley(state[c.ERROR_PH : c.LOSS_ADWIN], unfed),
            "adwin_loss": _adwin(state[c.LOSS_ADWIN : c.ERROR_ADWIN], unfed),
            "adwin_error": _adwin(state[c.ERROR_ADWIN :], unfed),
        },
    )


# ---- figures ------------------------------------------------------------------------------------


def _error_rate(state: c.Reals, settings: Settings, whole: bool) -> Figure:
    part, log_limit = _shown(state)
    n, errors = part[c.N], part[c.ERRORS]
    low = float(lowest(errors, n, log_limit)) if n else None
    high = float(highest(errors, n, log_limit)) if n else None
    limit = c.rate_limit(state, settings.error_floor) if whole else None
    alarm = state[c.ERROR_ALARM : c.GAP_ALARM]
    times, last = _raised(alarm)
    return Figure(_verdict(alarm, whole), int(n), _ratio(errors, n), low, high, limit, times, last)


def _calibration(state: c.Reals, settings: Settings, whole: bool) -> Figure | None:
    if state[c.SCALED]:
        return None
    part, log_limit = _shown(state)
    base, n = state[c.BASE : c.WINDOWS], int(part[c.N])
    found = low = None
    if whole and n:
        found, low = c.gap_found(part, base), c.gap_least(state, part, log_limit)
    alarm = state[c.GAP_ALARM : c.LOSS_PH]
    limit = settings.calibration_floor if whole else None
    times, last = _raised(alarm)
    return Figure(_verdict(alarm, whole), n, found, low, None, limit, times, last)


def _shown(state: c.Reals) -> tuple[c.Reals, float]:
    """The window that says how things are now, and the logarithm of its 1 / alpha."""
    parts = state[c.WINDOWS : c.ERROR_ALARM].reshape(len(c.LENGTHS), c.PART_WORDS)
    enough = [place for place, part in enumerate(parts) if part[c.N] >= LEAST_SHOWN]
    place = enough[0] if enough else len(parts) - 1
    return parts[place], c.LOG_LIMITS[place]


def _verdict(alarm: c.Reals, whole: bool) -> str:
    if not whole:
        return "too_few_rows"
    return "drift" if alarm[c.ON] else "ok"


def _raised(alarm: c.Reals) -> tuple[int, Raised | None]:
    times = int(alarm[c.TIMES])
    if not times:
        return 0, None
    at, outcome, of, *figures = alarm[[c.AT_MS, c.AT, c.OF, c.FOUND, c.LOW, c.LIMIT]].tolist()
    return times, Raised(at / 1000.0, int(outcome), int(of), *figures)


def _page_hinkley(state: c.Reals, unfed: int) -> Test:
    p = page_hinkley
    rows = int(state[p.ROWS])
    mean = float(state[p.MEAN]) if rows else None
    seen, rises, last = state[[p.SEEN, p.RISES, p.LAST]].tolist()
    verdict = _of_test(seen, rises, last, p.LEAST_ROWS)
    return Test(verdict, rows, mean, int(rises), unfed + int(last) if rises else None, None, None)


def _adwin(state: c.Reals, unfed: int) -> Test:
    rows = int(state[adwin.ROWS])
    mean = _ratio(state[adwin.TOTAL], rows)
    seen, rises, last = state[[adwin.SEEN, adwin.RISES, adwin.LAST]].tolist()
    verdict = _of_test(seen, rises, last, adwin.CLOCK)
    if not rises:
        return Test(verdict, rows, mean, 0, None, None, None)
    ends = state[[adwin.BEFORE, adwin.AFTER]].tolist()
    return Test(verdict, rows, mean, int(rises), unfed + int(last), *ends)


def _of_test(seen: float, rises: float, last: float, least: int) -> str:
    if seen < least:
        return "too_few_rows"
    return "drift" if rises and seen - last < RECENT else "ok"


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


# ---- as it is kept -------------------------------------------------------------------------------


def _packed(state: c.Reals) -> bytes:
    return packed(np.array([LAYOUT]), state)


def _unpacked(kept: bytes) -> c.Reals | None:
    """A state; None where it is damaged, or one of another release."""
    try:
        layout, *_ = words = unpacked(kept, 1 + c.WORDS)
        state = words[1:].copy()
        check_state(state)
    except ValueError:
        return None
    return state if layout == LAYOUT else None
