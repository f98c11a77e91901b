"""How far what was found may lie from what is behind it, however often one looks.

Knows counts and sums. Knows nothing of what they are of.

A fixed-size interval is wrong far more often than it says for whoever looks every day and stops at
what alarms them. These hold at all times at once, with probability 1 - alpha. All but the last need
no large numbers; each takes what it is of as independent.

    rates          a mixture of likelihood ratios (Robbins 1970; Ville)
    bounded means  a bound of the exponential type by the sum of squares (Fan, Grama and Liu 2015;
                   Howard, Ramdas, McAuliffe and Sekhon 2021)
    known spread   the like of it where variances are known (Bennett 1962; Freedman 1975)
    many means     all at once: a mixture of normal tilts of each (de la Pena, Klass and Lai 2004)
    quantiles      by the rate of what lies below (Howard and Ramdas 2022)
    other means    asymptotic: from `MIN_ASYMPTOTIC` on (Waudby-Smith, Arbour, Sinha, Kennedy and
                   Ramdas 2024)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

Reals = np.ndarray[Any, np.dtype[np.float64]]
Interval = tuple[float, float]

ALPHA: Final = 0.05
MIN_ASYMPTOTIC: Final = 100
_TIGHTEST_AT: Final = 1000  # rows, of the asymptotic ones
_STEPS: Final = 60  # of a bisection: beyond what a double tells apart
# Each with its share of alpha; those that fit ten rows and ten million are among them.
_TILTS: Final = 0.75 * 2.0 ** -np.arange(24)
_SHARES: Final = 1.0 / (np.arange(1, 25) * np.arange(2, 26))
_STEEP: Final = 16.0  # times steeper: rare and large deviations of what hardly varies
_lgamma: Final = np.frompyfunc(math.lgamma, 1, 1)


class Figure(NamedTuple):
    """One figure.

    Attributes:
        value: None where it does not exist.
        n: of how many rows it is.
        interval: where it lies; None where nothing holds that could be said.
    """

    value: float | None
    n: int
    interval: Interval | None = None


Figures = dict[str, Figure]


# ---- rates --------------------------------------------------------------------------------------


def rate(hits: float, trials: float, alpha: float = ALPHA) -> Figure:
    """A share of independent trials."""
    if not trials:
        return Figure(None, 0)
    return Figure(float(hits / trials), int(trials), rate_interval(hits, trials, alpha))


def rate_interval(hits: float, trials: float, alpha: float = ALPHA) -> Interval | None:
    """Where a rate lies; None without trials. Arguments as `rate_intervals` has them."""
    if not trials:
        return None
    low, high = rate_intervals(np.array([hits]), np.array([trials]), alpha)
    return float(low[0]), float(high[0])


def rate_intervals(hits: Reals, trials: Reals, alpha: Any = ALPHA) -> tuple[Reals, Reals]:
    """Where rates of independent trials lie, each with probability 1 - alpha.

    Args:
        hits: whole, at most `trials`.
        trials: of the same shape, whole; each either a hit or not. Of none, anything may be.
        alpha: how often one of them may ever be wrong; one, or an array of that.

    Returns:
        Lowest and highest, of that shape.
    """
    hits, trials = np.asarray(hits, float), np.asarray(trials, float)
    limit, found = -np.log(alpha), hits / np.maximum(trials, 1.0)
    mixture = _mixture(hits, trials)

    def passed(rates: Reals) -> Any:
        return mixture - _likelihood(hits, trials, rates) >= limit

    low = np.where(hits > 0.0, _edges(passed, np.zeros_like(found), found), 0.0)
    high = np.where(hits < trials, _edges(passed, np.ones_like(found), found), 1.0)
    return low, high


def _mixture(hits: Reals, trials: Reals) -> Reals:
    """Log-likelihood under all rates alike."""
    found = _lgamma(hits + 1.0) + _lgamma(trials - hits + 1.0) - _lgamma(trials + 2.0)
    return np.asarray(found, float)


def _likelihood(hits: Reals, trials: Reals, rates: Reals) -> Reals:
    """Log-likelihood under a rate each."""
    misses = trials - hits
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(hits > 0.0, hits * np.log(rates), 0.0)
        found = found + np.where(misses > 0.0, misses * np.log1p(-rates), 0.0)
    return np.asarray(found)


def _edges(passed: Callable[[Reals], Any], outside: Reals, inside: Reals) -> Reals:
    """Where between them it is passed no more; as wide as the last step leaves open."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2.0
        beyond = passed(middle)
        outside, inside = np.where(beyond, middle, outside), np.where(beyond, inside, middle)
    return outside


# ---- quantiles ----------------------------------------------------------------------------------


def quantile_ranks(share: float, trials: int, alpha: float = ALPHA) -> tuple[int, int]:
    """Where a quantile lies among independent values, by their rank.

    Args:
        share: which quantile, inside of 0 to 1.
        trials: values.
        alpha: how often it may ever lie elsewhere.

    Returns:
        `low`, `high`: where so many values, or fewer, are not above a number, it is below the
        quantile; where `high` or more are below one, it is above. -1 and `trials` + 1: nothing is.
    """
    limit = math.log(2.0 / alpha)

    def passed(below: int) -> bool:
        hits, n = np.array(float(below)), np.array(float(trials))
        return bool(_mixture(hits, n) - _likelihood(hits, n, np.array(share)) >= limit)

    middle = int(share * trials)
    low = _last(passed, middle)
    return low, trials - _last(lambda above: passed(trials - above), trials - middle - 1)


def _last(holds: Callable[[int], bool], high: int) -> int:
    """The highest, up to `high`, up to which it holds; -1 where it does for none."""
    low = -1
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


# ---- means --------------------------------------------------------------------------------------


def bounded_radius(n: Any, squares: Any, alpha: float = ALPHA) -> Any:
    """How far the mean of values within -1 and 1 lies from what was found.

    Args:
        n: how many, above 0; or an array of that.
        squares: their sum of squares; or the same.
        alpha: how often it may ever lie further.
    """
    limits = np.log(2.0 / (alpha * _SHARES))
    costs = -np.log1p(-_TILTS) - _TILTS
    squares = np.asarray(squares, float)[..., None]
    return ((costs * squares + limits) / _TILTS).min(axis=-1) / n


def known_radius(variance: float, largest: float, alpha: float = ALPHA) -> float:
    """How far a sum lies from what was expected of it.

    Args:
        variance: of the sum.
        largest: how far one of its parts can lie from what was expected of that, above 0.
        alpha: how often it may ever lie further.
    """
    limits, tilts = np.log(2.0 / (alpha * _SHARES)), _STEEP * _TILTS
    costs = np.expm1(tilts) - tilts
    return float(largest * ((costs * variance / largest**2 + limits) / tilts).min())


# The most that n is above n^2 / (n + 1/4), from one value on: see `scatter`.
SCATTERED: Final = 1.25


def scatter(n: Reals, width: float, alpha: float = ALPHA) -> float:
    """How far means of several groups of values lie from what is behind them, all together.

    Args:
        n: (groups,) how many of each; of none, nothing is added.
        width: of a range that the values of a group lie in, each group in its own.
        alpha: how often the sum may ever be larger.

    Returns:
        What the sum of n^2 / (n + 1/4) (mean found - mean behind)^2 stays below.
    """
    tilts = np.log1p(4.0 * n).sum() / 2.0
    return float(width**2 / 2.0 * (tilts - math.log(alpha)))


def bounded_mean(
    n: float, total: float, squares: float, low: float, high: float, alpha: float = ALPHA
) -> Figure:
    """The mean of values that lie within -1 and 1.

    Args:
        n: how many.
        total: their sum.
        squares: their sum of squares.
        low: below which it cannot lie.
        high: above which it cannot.
        alpha: how often it may ever lie outside of its interval.
    """
    if not n:
        return Figure(None, 0)
    radius = bounded_radius(n, squares, alpha)
    return Figure(total / n, int(n), around(total / n, radius, low, high))


def around(value: float, radius: float, low: float = -math.inf, high: float = math.inf) -> Interval:
    """So far to both sides, within bounds."""
    return max(float(value - radius), low), min(float(value + radius), high)


def asymptotic_radius(
    n: Any, variance: Any, alpha: float = ALPHA, tightest_at: float = _TIGHTEST_AT
) -> Any:
    """How far a mean of values of a finite variance lies from what was found, once there are many.

    Args:
        n: how many, above 0; or an array of that.
        variance: of the values; or the same.
        alpha: how often it may ever lie further.
        tightest_at: how many, about which it is smallest for its time.
    """
    most = -2.0 * math.log(alpha)
    spread = (most + math.log(most) + 1.0) / tightest_at
    grown = np.asarray(n, float) * spread + 1.0
    return np.sqrt(variance * grown * np.log(grown / alpha**2) / spread) / n


def mean(n: float, total: float, squares: float, alpha: float = ALPHA) -> Figure:
    """The mean of values without bounds.

    Args:
        n: how many.
        total: their sum.
        squares: their sum of squares.
        alpha: how often it may ever lie outside of its interval.
    """
    if not n:
        return Figure(None, 0)
    value = total / n
    variance = max(squares / n - value * value, 0.0)
    if n < MIN_ASYMPTOTIC or not math.isfinite(variance):
        return Figure(finite(value), int(n))
    return Figure(value, int(n), around(value, asymptotic_radius(n, variance, alpha)))


def finite(value: float) -> float | None:
    """None where it overflowed."""
    return float(value) if math.isfinite(value) else None


def from_zero(figure: Figure) -> Figure:
    """The same, of one that cannot be below 0."""
    if figure.interval is None:
        return figure
    return figure._replace(interval=(max(figure.interval[0], 0.0), figure.interval[1]))
