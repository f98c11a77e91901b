"""How far predicted numbers are from what came.

Knows sums (`kernels.performance`). Knows nothing of classes. Error is prediction minus outcome.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from gateway.outcomes.intervals import (
    ALPHA,
    MIN_ASYMPTOTIC,
    Figure,
    Figures,
    Interval,
    asymptotic_radius,
    finite,
    from_zero,
    mean,
    quantile_ranks,
)
from kernels import residuals
from kernels.performance import (
    ABS_ERROR,
    AROUND_MEAN,
    ERROR,
    FOURTH_ERROR,
    FOURTHS,
    MEAN,
    SQ_ERROR,
    VALUES,
    Reals,
)

QUANTILES: Final = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


def values(totals: Reals, errors: Reals, alpha: float = ALPHA) -> Figures:
    """Every figure of numbers; there is at least one outcome."""
    n, error, absolute, squares = totals[[VALUES, ERROR, ABS_ERROR, SQ_ERROR]].tolist()
    rows, fourths = int(n), float(totals[FOURTH_ERROR])
    outcomes = float(totals[MEAN])
    spread = float(totals[AROUND_MEAN])
    return {
        "mae": from_zero(mean(n, absolute, squares, alpha)),
        "rmse": _root(mean(n, squares, fourths, alpha)),
        "bias": mean(n, error, squares, alpha),
        "r2": _explained(totals, alpha),
        "mean_outcome": _mean_outcome(rows, outcomes, spread, alpha),
        "mean_score": _mean_score(totals, alpha),
        **{
            f"residual_{name}": _quantile(errors, share, alpha) for name, share in QUANTILES.items()
        },
    }


def _root(squares: Figure) -> Figure:
    """Of the mean of squares."""
    if squares.value is None:
        return squares
    ends = squares.interval
    if ends is not None:
        ends = math.sqrt(max(ends[0], 0.0)), math.sqrt(ends[1])
    return Figure(math.sqrt(squares.value), squares.n, ends)


def _mean_outcome(rows: int, value: float, around: float, alpha: float) -> Figure:
    centred = mean(rows, 0.0, around, alpha)
    if centred.interval is None or not math.isfinite(value):
        return Figure(finite(value), rows)
    return Figure(value, rows, (value + centred.interval[0], value + centred.interval[1]))


def _mean_score(totals: Reals, alpha: float) -> Figure:
    """A score is outcome plus error, so it deviates by no more than both do together."""
    n, error, squares, around = totals[[VALUES, ERROR, SQ_ERROR, AROUND_MEAN]].tolist()
    rows, bias = int(n), error / n
    value = finite(float(totals[MEAN]) + bias)
    spread = math.sqrt(max(squares / n - bias * bias, 0.0)) + math.sqrt(around / n)
    if value is None or rows < MIN_ASYMPTOTIC or not math.isfinite(spread):
        return Figure(value, rows)
    radius = spread * float(asymptotic_radius(n, 1.0, alpha))
    return Figure(value, rows, (value - radius, value + radius))


def _explained(totals: Reals, alpha: float) -> Figure:
    """R2, by what the mean square error and the outcomes' variance may be."""
    n, squares, around = totals[[VALUES, SQ_ERROR, AROUND_MEAN]].tolist()
    rows = int(n)
    if not around > 0.0:
        return Figure(None, rows)
    value = finite(1.0 - squares / around)
    error = mean(n, squares, float(totals[FOURTH_ERROR]), alpha / 2.0).interval
    spread = mean(n, around, float(totals[FOURTHS]), alpha / 2.0).interval
    if error is None or spread is None or spread[0] <= 0.0:
        return Figure(value, rows)
    low = 1.0 - error[1] / spread[0]
    return Figure(value, rows, (low, 1.0 - max(error[0], 0.0) / spread[1]))


def _quantile(errors: Reals, share: float, alpha: float) -> Figure:
    rows = int(errors.sum())
    if not rows:
        return Figure(None, 0)
    return Figure(
        residuals.quantile(errors, share), rows, _quantile_interval(errors, share, rows, alpha)
    )


def _quantile_interval(errors: Reals, share: float, rows: int, alpha: float) -> Interval | None:
    """From the edges of buckets that it lies between; None where there is none to one side."""
    low, high = quantile_ranks(share, rows, alpha)
    edges, upto = residuals.edges(), np.concatenate(([0.0], errors.cumsum()))
    below = edges[np.searchsorted(upto, low, side="right") - 1] if low >= 0 else -math.inf
    above = edges[np.searchsorted(upto, high)] if high <= rows else math.inf
    if not math.isfinite(below) or not math.isfinite(above):
        return None
    return float(below), float(above)
