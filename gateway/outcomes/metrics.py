"""Named numbers of what was answered (conversion, revenue): what they add up to, and how surely.

Knows sums (`kernels.metrics`). Knows nothing of files, or of what a metric means.

The interval of a mean holds at all times at once, as those of `intervals` do. Where every number is
0 or 1 it is that of a rate, and exact. Else it is an asymptotic confidence sequence: it holds for
numbers of any distribution with a finite variance once there are enough of them, and is not given
before. It is narrowest around TIGHTEST numbers.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central limit theory
and asymptotic confidence sequences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gateway.outcomes.intervals import ALPHA, rate_interval
from kernels.ledger import Reals
from kernels.metrics import AROUND, MAX, MEAN, MIN, SUM, N

TIGHTEST: Final = 1000.0
# Before, the spread of what came says too little of the spread of what comes.
MIN_FOR_INTERVAL: Final = 50
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
        low, high: where the mean lies with probability 0.95 at all times at once; None: too few.
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


def metric(name: str, sums: Reals, records: float) -> Metric | None:
    """What some numbers say; None where there are none.

    Args:
        name: of the metric.
        sums: of the numbers.
        records: answered.
    """
    n = int(sums[N])
    if not n:
        return None
    low, high = _interval(sums) or (None, None)
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


def _interval(sums: Reals) -> tuple[float, float] | None:
    n, mean = sums[N], sums[MEAN]
    # Squares of 0 and 1, and of no other numbers between, are the numbers themselves.
    apart = sums[AROUND] - n * mean * (1.0 - mean)
    if sums[MIN] >= 0.0 and sums[MAX] <= 1.0 and abs(apart) <= _ROUNDING * n:
        return rate_interval(round(sums[SUM]), n)
    return mean_interval(n, mean, sums[AROUND])


def mean_interval(
    n: float, mean: float, around: float, alpha: float = ALPHA
) -> tuple[float, float] | None:
    """Where the mean of independent numbers lies, with probability 1 - alpha at all times at once.

    Args:
        n: how many.
        mean: of them.
        around: their squares around it, added up.
        alpha: how often it may ever be wrong, in the limit of large n.

    Returns:
        Lowest and highest mean; None where there are too few, or all are the same.
    """
    if n < MIN_FOR_INTERVAL or not around > 0.0:
        return None
    narrow = -2.0 * math.log(alpha)
    rho2 = (narrow + math.log(narrow) + 1.0) / TIGHTEST
    spread = n * rho2 + 1.0
    half = math.sqrt(around / (n - 1.0))
    half *= math.sqrt(spread / (n * n * rho2) * math.log(spread / (alpha * alpha)))
    return float(mean - half), float(mean + half)
