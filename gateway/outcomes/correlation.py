"""The correlation of predicted with actual classes, where there are more than two.

Knows how often each class was predicted, came, and both (`kernels.performance`); of which others it
was taken for nothing is kept. Knows nothing of scores.

With X and Y the predicted and the actual class as vectors of a 1 and else 0, p and a their means,
it is E[(X - p)(Y - a)] over the root of E|X - p|^2 E|Y - a|^2. Those means are not known, but they
are fixed: so each of the three is a bounded mean, were they known; and with the shares that were
found in their place, its sum is off by no more than how far these may lie from p and a.

Sources: Gorodkin (2004); the bounds are `intervals`'.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from gateway.outcomes.intervals import ALPHA, Figure, Interval, bounded_radius, rate_intervals
from kernels.performance import ACTUAL, MAX_CLASSES, PREDICTED, RIGHT, Reals

# Both vectors of shares, and the three means.
_PARTS: Final = 5
# Of alpha, to each class, whether it came up or not; the last is all that are not counted singly.
_SHARES: Final = np.append(
    1.0 / (np.arange(1, MAX_CLASSES + 1) * np.arange(2, MAX_CLASSES + 2)), 1.0 / (MAX_CLASSES + 1)
)


def mcc(counts: Reals, alpha: float = ALPHA) -> Figure:
    """Matthews' correlation coefficient of several classes.

    Args:
        counts: (MAX_CLASSES, CLASS_SUMS) of at least one record; no other classes came up.
        alpha: how often it may ever lie outside of its interval.
    """
    predicted, actual, right = counts[:, PREDICTED], counts[:, ACTUAL], counts[:, RIGHT]
    n = actual.sum()
    together = right.sum() * n - (predicted * actual).sum()
    spread = (n**2 - (predicted**2).sum()) * (n**2 - (actual**2).sum())
    if not spread > 0.0:
        return Figure(None, int(n))
    value = float(together / math.sqrt(spread))
    return Figure(value, int(n), _interval(predicted, actual, right, alpha / _PARTS))


def _interval(predicted: Reals, actual: Reals, right: Reals, alpha: float) -> Interval:
    off = _astray(predicted, alpha), _astray(actual, alpha)
    low, high = _covariance(predicted, actual, right, off, alpha)
    spreads = _spread(predicted, off[0], alpha), _spread(actual, off[1], alpha)
    least, most = (math.sqrt(spreads[0][side] * spreads[1][side]) for side in (0, 1))
    return max(_over(low, least, most), -1.0), min(_over(high, most, least), 1.0)


def _over(covariance: float, if_below: float, if_above: float) -> float:
    """A bound of the quotient, by the root of the variances that bounds it on each side of 0."""
    root = if_above if covariance > 0.0 else if_below
    return covariance / root if root else math.copysign(math.inf, covariance)


def _astray(counts: Reals, alpha: float) -> Reals:
    """(MAX_CLASSES + 1,) how far the share of each class may lie from what is behind it."""
    every, n = np.append(counts, 0.0), counts.sum()
    low, high = rate_intervals(every, np.full(len(every), n), alpha * _SHARES)
    found: Reals = np.maximum(every / n - low, high - every / n)
    return found


def _spread(counts: Reals, off: Reals, alpha: float) -> Interval:
    """E|X - p|^2, which is 1 + E[z] of z = |p|^2 - 2 p_X, within -1 and 1.

    With the shares that were found, z is off as p_X and |p|^2 are, and its mean by |found - p|^2.
    """
    n = counts.sum()
    shares, far = counts / n, _length(off)
    length = (shares**2).sum()
    squares = (counts * (length - 2.0 * shares) ** 2).sum()
    # Of sums of squares, roots add up to no less than the root of the sum: Minkowski.
    root = math.sqrt(squares) + 2.0 * math.sqrt((counts * off[:-1] ** 2).sum())
    root += math.sqrt(n) * far * (2.0 * _length(shares) + far)
    radius = float(bounded_radius(n, min(root**2, n), alpha))
    value = float(1.0 - length)
    return max(value - radius, 0.0), min(value + far**2 + radius, 1.0)


def _covariance(
    predicted: Reals, actual: Reals, right: Reals, off: tuple[Reals, Reals], alpha: float
) -> Interval:
    """E[(X - p)(Y - a)], the mean of [X = Y] - a_X - p_Y + p a, within -2 and 2.

    With the shares that were found, it is off as a_X, p_Y and p a are, and its mean by the product
    of both distances.
    """
    n = actual.sum()
    p, a = predicted / n, actual / n
    both = (p * a).sum()
    squares = (right * (1.0 - p - a + both) ** 2).sum()
    # Which classes are taken for which is not known: (x + y)^2 is no more than 2 x^2 + 2 y^2.
    squares += 2.0 * ((predicted - right) * (a - both / 2.0) ** 2).sum()
    squares += 2.0 * ((actual - right) * (p - both / 2.0) ** 2).sum()
    root = math.sqrt(squares) + math.sqrt((predicted * off[1][:-1] ** 2).sum())
    root += math.sqrt((actual * off[0][:-1] ** 2).sum())
    far = _length(off[0]), _length(off[1])
    root += math.sqrt(n) * (far[0] * _length(a) + far[1] * _length(p) + far[0] * far[1])
    radius = 2.0 * float(bounded_radius(n, min(root**2 / 4.0, n), alpha)) + far[0] * far[1]
    value = float(right.sum() / n - both)
    return value - radius, value + radius


def _length(of: Reals) -> float:
    return math.sqrt((of**2).sum())
