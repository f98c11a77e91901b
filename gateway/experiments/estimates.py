"""What an arm is worth, and how much more than another, with intervals that hold at all times.

Knows sums of arms. Knows nothing of records, or of which way is better.

Whoever looks at an interval every minute and stops when it leaves 0 is wrong as often as it says,
alpha, and no more: confidence sequences. An arm by itself has that of a rate where its numbers are
0 and 1 (Robbins), else the asymptotic one (`outcomes.intervals`). Of two arms

    difference   mean of treatment - mean of control, of variance v = s1^2/n1 + s0^2/n0, n counted
                 in independent rows: the asymptotic sequence of the n1 + n0 terms whose mean it is
    lift         the relative difference, by Fieller's argument: all ratios r for which treatment -
                 r control is within the sequence around 0. It leaves 0 exactly when the difference
                 does; None where control's own mean is not yet told from 0

Sequences begin once both arms have `MIN_ASYMPTOTIC` independent rows; of rates, MIN_OF_EACH hits
and misses, too, without which a variance of rare events is not known.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and
asymptotic confidence sequences (2024); Fieller (1954).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gateway.experiments.sums import Sums
from gateway.outcomes.intervals import (
    MIN_ASYMPTOTIC,
    Interval,
    around,
    asymptotic_radius,
    rate_interval,
)

MIN_OF_EACH: Final = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one arm.

    Attributes:
        n: numbers that are known.
        mean: of them; None of none.
        low, high: where the true one lies; None: nothing can be said yet.
        effect: rows that are worth one independent one; None: it cannot be told yet.
    """

    n: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of an arm with control.

    Attributes:
        difference: of their means.
        low, high: where it lies; None: nothing can be said yet.
        lift: by how much of control's mean; None: that may be 0.
        lift_low, lift_high: where that lies.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    lift: float | None = None
    lift_low: float | None = None
    lift_high: float | None = None


def estimate(sums: Sums, alpha: float) -> Estimate:
    """What an arm is worth, wrong at any time with probability alpha."""
    if not sums.n:
        return Estimate(0, None)
    n, effect = round(sums.n), sums.effect
    if math.isinf(effect):
        return Estimate(n, sums.mean)
    found: Interval | None = None
    if sums.binary:
        found = rate_interval(float(sums.totals.sum()) / effect, sums.n / effect, alpha)
    elif sums.independent >= MIN_ASYMPTOTIC and sums.variance > 0.0:
        radius = asymptotic_radius(sums.independent, sums.variance, alpha)
        found = around(sums.mean, float(radius))
    low, high = found or (None, None)
    return Estimate(n, sums.mean, low, high, effect)


def compare(
    treatment: Sums, control: Sums, alpha: float, expected_rows: float
) -> Comparison | None:
    """How much more an arm is worth, wrong at any time with probability alpha; None: nothing known.

    Args:
        treatment: of one arm.
        control: of the other.
        alpha: how often an interval may ever miss.
        expected_rows: of both, in independent ones, about which it is narrowest.
    """
    if not treatment.n or not control.n:
        return None
    difference = treatment.mean - control.mean
    lift = difference / control.mean if control.mean else None
    if not (_enough(treatment) and _enough(control)):
        return Comparison(difference, lift=lift)
    of_treatment, of_control = _squared_error(treatment), _squared_error(control)
    width = critical(treatment.independent + control.independent, alpha, expected_rows)
    low, high = around(difference, width * math.sqrt(of_treatment + of_control))
    ratio = _fieller(treatment.mean, control.mean, of_treatment, of_control, width)
    if ratio is None:
        return Comparison(difference, low, high)
    return Comparison(difference, low, high, lift, ratio[0] - 1.0, ratio[1] - 1.0)


def critical(n: float, alpha: float, expected_rows: float) -> float:
    """How many standard errors a mean of n independent rows may ever lie from the truth."""
    return float(asymptotic_radius(n, 1.0, alpha, expected_rows)) * math.sqrt(n)


def _enough(sums: Sums) -> bool:
    if sums.independent < MIN_ASYMPTOTIC:
        return False
    if not sums.binary:
        return sums.variance > 0.0
    hits = float(sums.totals.sum()) / sums.effect
    return min(hits, sums.independent - hits) >= MIN_OF_EACH


def _squared_error(sums: Sums) -> float:
    return sums.variance / sums.independent


def _fieller(
    treatment: float, control: float, of_treatment: float, of_control: float, width: float
) -> Interval | None:
    """All ratios that the means may have; None where they have no bound."""
    squared = width**2
    steep = control**2 - squared * of_control
    if steep <= 0.0:
        return None
    inside = treatment**2 * of_control + control**2 * of_treatment
    inside -= squared * of_treatment * of_control
    half = width * math.sqrt(max(inside, 0.0))
    ends = sorted(((treatment * control - half) / steep, (treatment * control + half) / steep))
    return ends[0], ends[1]
