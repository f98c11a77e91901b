"""Whether probabilities are as high as they should be.

Knows sums (`kernels.performance`): of the positive class' probability or, with more classes, of the
top class' being right. Knows nothing of decisions.

Within a bin, what is off is E[y - s]; so the calibration error is the largest mean of +-(y - s)
over all ways to give bins signs, and a bound for all of these means at once is one for it: by the
sum of (y - s)^2 alone, whatever the bins hold.

Sources: Brier (1950); ECE as Guo et al. (2017) have it; the debiased error of Kumar, Liang and Ma
(2019); slope and intercept of Cox (1958).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.outcomes.brier import brier_parts, means
from gateway.outcomes.intervals import (
    ALPHA,
    MIN_ASYMPTOTIC,
    Figure,
    Figures,
    Interval,
    around,
    asymptotic_radius,
    bounded_mean,
    bounded_radius,
    from_zero,
    mean,
    rate,
    rate_intervals,
)
from kernels.performance import (
    BINS,
    FOURTH_POWERS,
    L_N,
    L_X,
    L_Y,
    LOG_LOSS,
    LOG_LOSS_SQUARES,
    SS,
    SY,
    N,
    Reals,
    S,
    Y,
)

CALIBRATION_BINS: Final = 15
# Ways to give CALIBRATION_BINS signs; and to give them to BINS so that they change no more often
# than between as many bins, wherever these end.
_SIGNS: Final = 2.0**CALIBRATION_BINS
_SIGNS_ANYWHERE: Final = float(
    sum(2 * math.comb(BINS - 1, changes) for changes in range(CALIBRATION_BINS))
)
_NEWTON_STEPS: Final = 50
_CLOSE: Final = 1e-10


@dataclass(frozen=True, slots=True)
class Bin:
    """Outcomes of scores in (the bin before, `le`].

    Attributes:
        le: its upper edge.
        n: outcomes.
        mean_score, mean_outcome: of them; None where there are none.
        low, high: where the rate of outcomes lies, each bin by itself; None where there are none.
    """

    le: float
    n: int
    mean_score: float | None
    mean_outcome: float | None
    low: float | None
    high: float | None


def calibration(totals: Reals, bins: Reals, logits: Reals, alpha: float = ALPHA) -> Figures:
    """Every figure of probabilities; there is at least one outcome."""
    joined = _joined(bins)
    n, y, s, ss, sy = joined[:, [N, Y, S, SS, SY]].sum(axis=0).tolist()
    rows, squares = int(n), y + ss - 2.0 * sy  # outcomes are 0 and 1: their own squares
    scores = bounded_mean(n, s - n / 2.0, ss - s + n / 4.0, -0.5, 0.5, alpha)
    slope, intercept = _line(logits, alpha)
    loss = float(totals[LOG_LOSS]), float(totals[LOG_LOSS_SQUARES])
    return {
        "log_loss": from_zero(mean(n, *loss, alpha)),
        "brier": bounded_mean(n, squares, float(totals[FOURTH_POWERS]), 0.0, 1.0, alpha),
        "mean_score": Figure(s / n, rows, _shifted(scores.interval, 0.5)),
        "mean_outcome": rate(y, n, alpha),
        "calibration_in_the_large": bounded_mean(n, y - s, squares, -1.0, 1.0, alpha),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        **_errors(bins, joined, squares, alpha),
        **brier_parts(joined, alpha),
    }


def reliability(bins: Reals) -> list[Bin]:
    """CALIBRATION_BINS of equal width."""
    joined = _joined(bins)
    low, high = rate_intervals(joined[:, Y], joined[:, N])
    lines = []
    for number, one in enumerate(joined.tolist()):
        n, le = one[N], (number + 1) / len(joined)
        if n:
            ends = float(low[number]), float(high[number])
            lines.append(Bin(le, int(n), one[S] / n, one[Y] / n, *ends))
        else:
            lines.append(Bin(le, 0, None, None, None, None))
    return lines


# ---- errors -------------------------------------------------------------------------------------


def _errors(bins: Reals, joined: Reals, squares: float, alpha: float) -> Figures:
    n = joined[:, N].sum()
    rows = int(n)
    equal = _joined(bins, _equal_mass(bins[:, N]))
    found, found_equal = _ece(joined), _ece(equal)
    apart = np.abs(means(joined, Y) - means(joined, S))
    half = bounded_radius(n, squares, alpha / _SIGNS)  # of two sides and half of alpha
    low, high = around(found, half, 0.0, 1.0)
    worst = _largest(joined, alpha / 2.0)
    # The square error of bins that hold outcomes is at least the square of their error, and no more
    # than the latter times the largest.
    squared = (low**2, high * worst[1])
    return {
        "ece": _spread(found, rows, squares, alpha / _SIGNS),
        "ece_equal_mass": _spread(found_equal, rows, squares, alpha / _SIGNS_ANYWHERE),
        "mce": Figure(float(apart.max()), rows, _largest(joined, alpha)),
        "calibration_error_debiased": Figure(_debiased(joined), rows, squared),
        "brier_reliability": Figure(float((joined[:, N] * apart**2).sum() / n), rows, squared),
    }


def _ece(joined: Reals) -> float:
    return float(np.abs(joined[:, Y] - joined[:, S]).sum() / joined[:, N].sum())


def _spread(value: float, rows: int, squares: float, alpha: float) -> Figure:
    radius = bounded_radius(rows, squares, 2.0 * alpha)
    return Figure(value, rows, around(value, radius, 0.0, 1.0))


def _largest(joined: Reals, alpha: float) -> Interval:
    """Of the bins that hold outcomes, what the largest error may be."""
    some = joined[joined[:, N] > 0.0]
    n, apart = some[:, N], np.abs(means(some, Y) - means(some, S))
    squares = some[:, Y] + some[:, SS] - 2.0 * some[:, SY]
    radius = bounded_radius(n, squares, alpha / CALIBRATION_BINS)
    low, high = (apart - radius).max(), (apart + radius).max()
    return max(float(low), 0.0), min(float(high), 1.0)


def _debiased(joined: Reals) -> float | None:
    """Squared calibration error without what chance adds to it; about 0 where there is none."""
    some = joined[joined[:, N] > 1.0]
    if not len(some):
        return None
    n, rates, scores = some[:, N], means(some, Y), means(some, S)
    noise = rates * (1.0 - rates) / (n - 1.0)
    return float((n * ((scores - rates) ** 2 - noise)).sum() / n.sum())


# ---- the line through log-odds ------------------------------------------------------------------


def _line(logits: Reals, alpha: float) -> tuple[Figure, Figure]:
    """Slope and intercept of outcomes over the scores' log-odds: 1 and 0 where all is well.

    None where outcomes are of one class, or parted by their scores: no line is the best then.
    """
    some = logits[logits[:, L_N] > 0.0]
    n, y, rows = some[:, L_N], some[:, L_Y], int(some[:, L_N].sum())
    x = np.stack((np.ones(len(some)), some[:, L_X] / n), axis=1)
    beta = None if _parted(x[:, 1], n, y) else _fitted(x, n, y)
    if beta is None:
        return Figure(None, rows), Figure(None, rows)
    p = _logistic(x @ beta)
    bread = np.linalg.inv((x * (n * p * (1.0 - p))[:, None]).T @ x / rows)
    meat = (x * (y * (1.0 - p) ** 2 + (n - y) * p**2)[:, None]).T @ x / rows
    variances = np.diag(bread @ meat @ bread)
    found = []
    for value, variance in zip(beta.tolist(), variances.tolist(), strict=True):
        ends = None
        if rows >= MIN_ASYMPTOTIC and math.isfinite(variance):
            ends = around(value, asymptotic_radius(rows, variance, alpha))
        found.append(Figure(value, rows, ends))
    return found[1], found[0]


def _parted(x: Reals, n: Reals, y: Reals) -> bool:
    """Whether some x has all positive outcomes on one side and all others on the other.

    Both may lie at that x, as of a model that is surely right wherever it says no.
    """
    ones, others = x[y > 0.0], x[y < n]
    if not len(ones) or not len(others):
        return True
    return bool(others.max() <= ones.min() or ones.max() <= others.min())


def _fitted(x: Reals, n: Reals, y: Reals) -> Reals | None:
    """Newton's; None where it does not settle."""
    # Flat: of sure and wrong scores, a slope of 1 leaves no curvature to go by.
    beta: Reals = np.zeros(2)
    likelihood = _log_likelihood(x @ beta, n, y)
    for _ in range(_NEWTON_STEPS):
        p = _logistic(x @ beta)
        curvature = (x * (n * p * (1.0 - p))[:, None]).T @ x
        try:
            step = np.linalg.solve(curvature, x.T @ (y - n * p))
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(step).all():
            return None
        while (after := _log_likelihood(x @ (beta + step), n, y)) < likelihood:
            step = step / 2.0
            if np.abs(step).max() < _CLOSE:
                return beta
        beta, likelihood = beta + step, after
        if np.abs(step).max() < _CLOSE * (1.0 + np.abs(beta).max()):
            return beta
    return None


def _logistic(x: Reals) -> Reals:
    found: Reals = 0.5 * (1.0 + np.tanh(x / 2.0))
    return found


def _log_likelihood(x: Reals, n: Reals, y: Reals) -> float:
    return float((y * x - n * np.logaddexp(0.0, x)).sum())


# ---- bins ---------------------------------------------------------------------------------------


def _equal_mass(n: Reals) -> Any:
    """Which of CALIBRATION_BINS each bin goes to, whole, so that they hold about as many."""
    middles = n.cumsum() - n / 2.0
    return np.minimum(middles * CALIBRATION_BINS / n.sum(), CALIBRATION_BINS - 1).astype(np.int64)


def _joined(bins: Reals, places: Any = None) -> Reals:
    """(CALIBRATION_BINS, BIN_SUMS): bins joined to few; of equal width where no places are said."""
    if places is None:
        places = np.arange(BINS) * CALIBRATION_BINS // BINS
    joined = np.zeros((CALIBRATION_BINS, bins.shape[1]))
    np.add.at(joined, places, bins)
    return joined


def _shifted(interval: Interval | None, by: float) -> Interval | None:
    return None if interval is None else (interval[0] + by, interval[1] + by)
