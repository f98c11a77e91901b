"""Named numbers of what was answered (conversion, revenue): what they add up to, and how surely.

Knows sums (`kernels.metrics`). Knows nothing of files, or of what a metric means.

The interval of a mean holds at all times at once, as all of `intervals` do. Where every number is 0
or 1 it is that of a rate, and needs no large numbers; else it is the asymptotic one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gateway.outcomes.intervals import (
    ALPHA,
    MIN_ASYMPTOTIC,
    Interval,
    around,
    asymptotic_radius,
    rate_interval,
)
from kernels.ledger import Reals
from kernels.metrics import AROUND, MAX, MEAN, MIN, SUM, N

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Metric:
    """What is known of one metric.

    Attributes:
        name: of it.
        n: rows that have a number.
        coverage: share of the rows that were answered.
        mean, sum, min, max: of the numbers.
        std: of them; None of one alone.
        low, high: where the mean lies with probability 1 - alpha at all times at once; None where
            there are too few.
    """

    name: str
    n: int
    coverage: float | None
    mean: float
    sum: float
    min: float
    max: float
    std: float | None
    low: float | None
    high: float | None


def metric(name: str, sums: Reals, records: float, alpha: float = ALPHA) -> Metric | None:
    """What some numbers say; None where there are none.

    Args:
        name: of the metric.
        sums: of the numbers.
        records: answered.
        alpha: how often the mean may ever lie outside of its interval.
    """
    n = int(sums[N])
    if not n:
        return None
    low, high = _interval(sums, alpha) or (None, None)
    return Metric(
        name,
        n,
        n / records if records else None,
        float(sums[MEAN]),
        float(sums[SUM]),
        float(sums[MIN]),
        float(sums[MAX]),
        math.sqrt(sums[AROUND] / (n - 1)) if n > 1 else None,
        low,
        high,
    )


def _interval(sums: Reals, alpha: float) -> Interval | None:
    """Where the mean lies; None where there are too few numbers, or all are the same."""
    n, mean = sums[N], sums[MEAN]
    # Squares of 0 and 1, and of no other numbers between, are the numbers themselves.
    apart = sums[AROUND] - n * mean * (1.0 - mean)
    if sums[MIN] >= 0.0 and sums[MAX] <= 1.0 and abs(apart) <= _ROUNDING * n:
        return rate_interval(round(sums[SUM]), n, alpha)
    if n < MIN_ASYMPTOTIC or not sums[AROUND] > 0.0:
        return None
    return around(mean, asymptotic_radius(n, sums[AROUND] / (n - 1.0), alpha))
