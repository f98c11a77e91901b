"""How many rows an experiment needs, and how small a difference so many can show.

Knows variances, weights and what may go wrong. Knows nothing of models, or of time.

It is worked out of the boundary that the experiment itself uses (`estimates.critical`), which is
wider than that of a test which looks once; the rows of the latter stand beside it. At n rows of the
two arms the difference d is shown with the wanted power where

    d = (c(n) + z) sqrt(v / n),   v = s1^2/w1 + s0^2/w0,   w: parts of the two,   z: of the power

which counts on that moment alone: having looked before only adds to it. A test that ends when it
may has needed fewer rows in half of all cases: `typical`, where d = c(n) sqrt(v / n).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from gateway.experiments.estimates import MIN_OF_EACH, critical
from gateway.outcomes.intervals import MIN_ASYMPTOTIC

_STEPS: Final = 200
_MOST: Final = 1e15
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Design:
    """Of a treatment and control.

    Attributes:
        base: control's mean.
        variance: of a number; None: numbers are 0 or 1, of which it follows.
        treatment, control: parts of all rows that the two arms get, above 0.
        alpha: how often a difference may be shown that is none.
        power: how often one of the wanted size is to be.
        effect: rows that are worth one independent one.
    """

    base: float
    variance: float | None
    treatment: float
    control: float
    alpha: float
    power: float
    effect: float = 1.0


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of all arms together.

    Attributes:
        rows: that show the difference with the wanted power, by a test that looks all the time.
        typical: that half of such tests need.
        looking_once: of a test that looks once, at the end.
    """

    rows: int
    typical: int
    looking_once: int


def size(design: Design, difference: float) -> Size:
    """What a difference, not 0, needs.

    Raises:
        ValueError: no rate lies so far from control's, or it has no variance.
    """
    gap, spread = abs(difference), _spread(design, difference)
    z = _z(design)
    of_both = (design.treatment + design.control) / design.effect
    once = ((_NORMAL.inv_cdf(1.0 - design.alpha / 2.0) + z) / gap) ** 2 * spread
    least = _least(design, difference)
    rows = max(_first(lambda n: _critical(design, n) + z <= gap * math.sqrt(n / spread)), least)
    width = rows  # narrowest where the test is planned to have its power
    typical = _first(lambda n: critical(n, design.alpha, width) <= gap * math.sqrt(n / spread))
    typical = min(max(typical, least), rows)
    return Size(*(math.ceil(n / of_both) for n in (rows, typical, once)))


def smallest(design: Design, rows: float, rises: bool = True) -> float | None:
    """The smallest difference that so many rows of all arms show with the wanted power.

    Args:
        design: of the two arms.
        rows: of all arms.
        rises: above control's mean; else below it.

    Returns:
        Above 0; None where none that can be is large enough.
    """
    n = rows * (design.treatment + design.control) / design.effect
    width = _critical(design, n) + _z(design)
    sign, widest = 1.0 if rises else -1.0, _widest(design, rises)

    def shown(gap: float) -> bool:
        try:
            spread = _spread(design, sign * gap)
        except ValueError:
            return False
        enough = n >= _least(design, sign * gap)
        return enough and gap >= width * math.sqrt(spread / n)

    # Of the widest ones there may be no misses left, so that larger is not always sooner shown.
    gaps = (widest * 0.5**halving for halving in range(_STEPS, -1, -1))
    high = next((gap for gap in gaps if shown(gap)), None)
    if high is None:
        return None
    low = high / 2.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def _critical(design: Design, n: float) -> float:
    return critical(n, design.alpha, n)


def _z(design: Design) -> float:
    return _NORMAL.inv_cdf(design.power)


def _spread(design: Design, difference: float) -> float:
    """Of a term of the difference: over n of both arms' rows, the variance of that."""
    both = design.treatment + design.control
    if design.variance is not None:
        variances = design.variance, design.variance
    else:
        rate = design.base + difference
        if not (0.0 < rate < 1.0 and 0.0 < design.base < 1.0):
            raise ValueError(f"expected rates inside of 0 to 1, got {design.base} and {rate:.6g}")
        variances = rate * (1.0 - rate), design.base * (1.0 - design.base)
    return both * (variances[0] / design.treatment + variances[1] / design.control)


def _least(design: Design, difference: float) -> float:
    """Rows of both arms from which on anything is said."""
    both = design.treatment + design.control
    need = [MIN_ASYMPTOTIC * both / arm for arm in (design.treatment, design.control)]
    if design.variance is None:
        rates = (design.base + difference, design.treatment), (design.base, design.control)
        need += [MIN_OF_EACH * both / (arm * min(rate, 1.0 - rate)) for rate, arm in rates]
    return max(need)


def _widest(design: Design, rises: bool) -> float:
    if design.variance is not None:
        return 1e6 * math.sqrt(design.variance)
    return (1.0 - design.base if rises else design.base) * (1.0 - 1e-9)


def _first(holds: Callable[[float], bool]) -> float:
    """From how many rows on it holds."""
    low, high = 0.0, 2.0
    while not holds(high) and high < _MOST:
        low, high = high, high * 2.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
