"""The parts of the Brier score: what bins of scores tell apart, and what is lost within them.

Knows sums of bins (`kernels.performance`). Knows nothing of what else figures say of them.

The means behind bins, E[y | bin] and E[s | bin], are not known, but they are fixed: so a figure is
the mean of what would be said of each row, were they known. That mean lies where `bounded_radius`
has it; by how much their estimates in its place change the sum is bounded by how far all of these
may lie off together (`scatter`), which is of second order.

Sources: Murphy (1973); within bins, Stephenson, Coelho and Jolliffe (2008).
"""

from __future__ import annotations

import math

import numpy as np

from gateway.outcomes.intervals import (
    ALPHA,
    SCATTERED,
    Figure,
    Figures,
    Interval,
    bounded_radius,
    rate,
    scatter,
)
from kernels.performance import SS, SY, N, Reals, S, Y


def brier_parts(bins: Reals, alpha: float = ALPHA) -> Figures:
    """Reliability - resolution + uncertainty + what scores vary within bins is the Brier score.

    Args:
        bins: (bins, BIN_SUMS) of equal width; there is at least one outcome.
        alpha: how often each may ever lie outside of its interval.
    """
    n, y = bins[:, [N, Y]].sum(axis=0).tolist()
    share = rate(y, n, alpha)
    value = share.value or 0.0
    return {
        "brier_resolution": _resolution(bins, value, alpha),
        "brier_uncertainty": Figure(value * (1.0 - value), int(n), _uncertainty(share.interval)),
        "brier_within_bins": _within(bins, alpha),
    }


def means(bins: Reals, of: int) -> Reals:
    """Of each bin; 0 of an empty one."""
    found: Reals = bins[:, of] / np.maximum(bins[:, N], 1.0)
    return found


def _uncertainty(share: Interval | None) -> Interval:
    low, high = share or (0.0, 1.0)
    ends = low * (1.0 - low), high * (1.0 - high)
    return min(ends), 0.25 if low <= 0.5 <= high else max(ends)


def _resolution(bins: Reals, share: float, alpha: float) -> Figure:
    """Uncertainty, less the mean of (y - q)^2 where q is the rate behind the row's bin.

    With the rates that were found in its place, its sum is less by n (found - q)^2 of each bin.
    """
    n, rates = bins[:, N], means(bins, Y)
    total, each = n.sum(), alpha / 3.0
    value = float((n * (rates - share) ** 2).sum() / total)
    least, most = _uncertainty(rate(share * total, total, each).interval)
    vary = n * rates * (1.0 - rates)
    astray = SCATTERED * scatter(n, 1.0, each)
    # (y - q)^2 differs from (y - found)^2 by 2 |found - q| at most: Minkowski's inequality.
    fourths = (vary * (1.0 - 3.0 * rates * (1.0 - rates))).sum()
    squares = (math.sqrt(fourths) + 2.0 * math.sqrt(astray)) ** 2
    radius = bounded_radius(total, min(squares, vary.sum() + astray), each)
    low, high = vary.sum() / total - radius, (vary.sum() + astray) / total + radius
    ends = max(float(least - high), 0.0), min(float(most - max(low, 0.0)), most)
    return Figure(value, int(total), ends)


def _within(bins: Reals, alpha: float) -> Figure:
    """The mean of (s - m)(s + m - 2 y), where m is the mean score behind the row's bin.

    With the mean scores that were found in its place, its sum differs by
    n (found - m)^2 - 2 n (found - m)(found - rate) of each bin, rates being as found.
    """
    n, rates, scores = bins[:, N], means(bins, Y), means(bins, S)
    total, each, width = n.sum(), alpha / 2.0, 1.0 / len(bins)
    vary = np.maximum(bins[:, SS] - n * scores**2, 0.0)
    together = bins[:, SY] - n * scores * rates
    value = float((vary - 2.0 * together).sum() / total)
    off = scatter(n, width, each)
    gaps = (np.where(n > 0.0, n + 0.25, 0.0) * (scores - rates) ** 2).sum()
    across = 2.0 * math.sqrt(off * gaps) / total
    astray = SCATTERED * off
    # Each is at most 2 |s - m|, so 2 widths.
    squares = (vary.sum() + astray) / width**2
    radius = 2.0 * width * float(bounded_radius(total, min(squares, total), each))
    # Var(s) - 2 Cov(s, y) of what is a width wide.
    least, most = width**2 / 4.0 - width / 2.0, width**2 / 4.0 + width / 2.0
    low, high = value - astray / total - across - radius, value + across + radius
    return Figure(value, int(total), (max(float(low), least), min(float(high), most)))
