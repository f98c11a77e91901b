"""Statistics that need the order of the bins, and what bins cannot tell about them.

Knows counts on right-closed bins (e_{j-1}, e_j] and, for distances along the axis, their edges.
Knows nothing of categories: a column without order has none of these.

What happens inside a bin is not known, so Kolmogorov and Smirnov's D and Wasserstein's W1 come with
bounds that hold whatever happened there. NaN where a side holds no row.

Sources: Kolmogorov (1933) and Smirnov (1939); the p-value's correction for finite samples: Vrbik
(2018); W1 as the area between distribution functions: Vallender (1973).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kernels._counts import Counts, Floats, checked
from kernels._jit import kernel
from kernels.tails import kolmogorov_tail


class KolmogorovSmirnov(NamedTuple):
    """Each (columns,): low <= D of the values themselves <= high."""

    low: Floats
    """Largest distance of the distribution functions at the edges: what reports call KS."""
    high: Floats
    """low plus at most the largest reference share: 1/60 for 60 equal-mass bins."""
    p_value: Floats
    """Of `low`, from Kolmogorov's limit: never smaller than the values' own."""


class Wasserstein(NamedTuple):
    """Each (columns,), in the column's unit: |W1 of the values themselves - distance| <= error."""

    distance: Floats
    error: Floats


def kolmogorov_smirnov(expected: Counts, observed: Counts, bins: Counts) -> KolmogorovSmirnov:
    """D from bins, with deterministic bounds.

    Args:
        expected: (columns, width) reference counts.
        observed: (columns, width) live counts on the same bins.
        bins: (columns,) how many bins of its row each column has.

    Raises:
        ValueError: shapes differ, or a count is negative.
    """
    numbers, reference, live = checked(bins, expected, observed)
    out = np.empty((3, len(numbers)))
    _kolmogorov_smirnov(reference, live, numbers, out)
    return KolmogorovSmirnov(*out)


class AtPoints(NamedTuple):
    """Of one column: low <= D of the values themselves <= high."""

    low: float
    """Largest distance at a point or just before one."""
    high: float
    """low plus at most the largest reference share between two points; without any, low."""
    p_value: float
    """Of `low`."""


def exact_ks(reference: Counts, live: Counts) -> AtPoints:
    """D at some values of the reference: the values' own D, if these are all that it has.

    Args:
        reference: (2 * points + 1,) reference rows below the first point, equal to it, between it
            and the second, and so on, above the last.
        live: the same of live rows.

    Returns:
        NaN where a side holds no row.

    Raises:
        ValueError: the sizes are not those of points, or differ.
    """
    if reference.shape != live.shape or len(live) % 2 == 0:
        raise ValueError(
            "live: expected as many counts as the reference's, an odd number of them, got"
            f" {list(live.shape)} and {list(reference.shape)}"
        )
    rows, live_rows = int(reference.sum()), int(live.sum())
    if rows == 0 or live_rows == 0:
        return AtPoints(math.nan, math.nan, math.nan)
    share = reference / rows
    apart = np.cumsum(live) / live_rows - np.cumsum(reference) / rows
    low = float(np.abs(apart).max())
    # Between two points, one side's rows may all come before the other's. Where the reference has
    # none there, its function rests and the live one only grows: the most is at an end.
    hidden, after = share[0::2], apart[0::2]
    before = np.concatenate([[0.0], apart[1::2]])
    inside = np.where(hidden > 0, np.maximum(after + hidden, hidden - before), 0.0)
    high = min(max(low, float(inside.max())), 1.0)
    return AtPoints(low, high, ks_p_value(low, 1.0 / (1.0 / rows + 1.0 / live_rows)))


def wasserstein(
    expected: Counts,
    observed: Counts,
    bins: Counts,
    edges: Floats,
    below: Floats,
    above: Floats,
    extremes: Floats,
) -> Wasserstein:
    """W1 from bins: rows are taken to lie evenly within their bin.

    Divided by the reference's standard deviation this is the figure that Evidently reports.

    Args:
        expected: (columns, width) reference counts.
        observed: (columns, width) live counts on the same bins.
        bins: (columns,) how many bins of its row each column has.
        edges: (columns, width + 1) edges, finite and ascending, from the reference's minimum to
            its maximum; `bins + 1` of each row are read.
        below: (columns,) live rows below the reference's minimum, which the first bin includes.
        above: (columns,) live rows above its maximum, which the last bin includes.
        extremes: (columns, 2) the live minimum and maximum; NaN counts as inside the edges, and
            what lies outside is then taken to lie at the edge.

    Raises:
        ValueError: shapes differ, or a count is negative.
    """
    numbers, reference, live = checked(bins, expected, observed)
    columns, width = reference.shape
    shapes = {"edges": (columns, width + 1), "below": (columns,), "above": (columns,)}
    given = {"edges": edges, "below": below, "above": above, "extremes": extremes}
    for name, shape in (shapes | {"extremes": (columns, 2)}).items():
        if given[name].shape != shape:
            raise ValueError(f"{name}: expected {list(shape)}, got {list(given[name].shape)}")
    outside = np.ascontiguousarray(np.stack([below, above], axis=1), np.float64)
    out = np.empty((2, columns))
    _wasserstein(
        reference,
        live,
        numbers,
        np.ascontiguousarray(edges, np.float64),
        outside,
        np.ascontiguousarray(extremes, np.float64),
        out,
    )
    return Wasserstein(*out)


def quantiles(observed: Counts, bins: Counts, edges: Floats, shares: Floats) -> Floats:
    """Quantiles of binned rows, which are taken to lie evenly within their bin.

    Args:
        observed: (columns, width) counts.
        bins: (columns,) how many bins of its row each column has.
        edges: (columns, width + 1) edges, ascending; `bins + 1` of each row are read.
        shares: (n,) each 0 to 1.

    Returns:
        (columns, n): in the bin of the true quantile, so wrong by less than its width. NaN where
        nothing was counted.

    Raises:
        ValueError: shapes differ, a count is negative, or a share is outside 0 to 1.
    """
    numbers, live = checked(bins, observed)
    wanted = np.ascontiguousarray(shares, np.float64)
    if wanted.size and not (wanted.min() >= 0.0 and wanted.max() <= 1.0):
        raise ValueError("shares: expected each in 0 to 1")
    if edges.shape != (live.shape[0], live.shape[1] + 1):
        raise ValueError(f"edges: expected one more a row than bins, got {list(edges.shape)}")
    out = np.empty((len(numbers), len(wanted)))
    _quantiles(live, numbers, np.ascontiguousarray(edges, np.float64), wanted, out)
    return out


@kernel("float64(float64, float64)")
def ks_p_value(distance: float, effective_rows: float) -> float:
    """P(D at least `distance`) for two samples with N M / (N + M) = `effective_rows`.

    Within 0.002 of SciPy's `kstwo` from 50 effective rows on.
    """
    root = math.sqrt(effective_rows)
    x = distance * root
    if x <= 0.0:
        return 1.0
    return min(1.0, kolmogorov_tail(x + 1 / (6 * root) + (x - 1) / (4 * effective_rows)))


@kernel("void(int64[:, ::1], int64[:, ::1], int64[::1], float64[:, ::1])")
def _kolmogorov_smirnov(expected: Counts, observed: Counts, bins: Counts, out: Floats) -> None:
    for column in range(len(bins)):
        width = bins[column]
        expected_rows = expected[column, :width].sum()
        observed_rows = observed[column, :width].sum()
        if expected_rows == 0 or observed_rows == 0:
            out[:, column] = math.nan
            continue
        low = high = before = 0.0
        expected_upto = observed_upto = 0
        for bin in range(width):
            expected_upto += expected[column, bin]
            observed_upto += observed[column, bin]
            after = observed_upto / observed_rows - expected_upto / expected_rows
            low = max(low, abs(after))
            # Inside the bin one side may have come already and the other not yet.
            high = max(high, after + expected[column, bin] / expected_rows)
            high = max(high, expected[column, bin] / expected_rows - before)
            before = after
        out[0, column] = low
        out[1, column] = min(max(high, low), 1.0)
        effective = 1.0 / (1.0 / expected_rows + 1.0 / observed_rows)
        out[2, column] = ks_p_value(low, effective)


@kernel("float64(float64, float64)")
def _mean_distance(one: float, other: float) -> float:
    """The mean of |y| along a line from `one` to `other`."""
    if one * other >= 0.0:
        return abs(one + other) / 2
    return (one * one + other * other) / (2 * (abs(one) + abs(other)))


@kernel(
    "void(int64[:, ::1], int64[:, ::1], int64[::1], float64[:, ::1], float64[:, ::1],"
    " float64[:, ::1], float64[:, ::1])"
)
def _wasserstein(
    expected: Counts,
    observed: Counts,
    bins: Counts,
    edges: Floats,
    outside: Floats,
    extremes: Floats,
    out: Floats,
) -> None:
    for column in range(len(bins)):
        width = bins[column]
        expected_rows = expected[column, :width].sum()
        observed_rows = observed[column, :width].sum()
        if expected_rows == 0 or observed_rows == 0:
            out[:, column] = math.nan
            continue
        below, above = outside[column, 0] / observed_rows, outside[column, 1] / observed_rows
        distance = error = 0.0
        # What lies outside is spread evenly from the live extreme to the edge.
        if extremes[column, 0] < edges[column, 0]:
            distance += below / 2 * (edges[column, 0] - extremes[column, 0])
        if extremes[column, 1] > edges[column, width]:
            distance += above / 2 * (extremes[column, 1] - edges[column, width])
        error += distance
        before = below
        for bin in range(width):
            p = expected[column, bin] / expected_rows
            q = observed[column, bin] / observed_rows
            if bin == 0:
                q -= below
            if bin == width - 1:
                q -= above
            after = before + q - p
            size = edges[column, bin + 1] - edges[column, bin]
            distance += size * _mean_distance(before, after)
            error += size * (p + q) / 2
            before = after
        out[0, column] = distance
        out[1, column] = error


@kernel("void(int64[:, ::1], int64[::1], float64[:, ::1], float64[::1], float64[:, ::1])")
def _quantiles(observed: Counts, bins: Counts, edges: Floats, shares: Floats, out: Floats) -> None:
    for column in range(len(bins)):
        width = bins[column]
        rows = observed[column, :width].sum()
        for place in range(len(shares)):
            if rows == 0:
                out[column, place] = math.nan
                continue
            wanted = shares[place] * rows
            upto, bin = observed[column, 0], 0
            while bin + 1 < width and (upto < wanted or observed[column, bin] == 0):
                bin += 1
                upto += observed[column, bin]
            while bin > 0 and observed[column, bin] == 0:
                bin -= 1  # the last bins are empty: the largest value lies in an earlier one
            within = (wanted - (upto - observed[column, bin])) / observed[column, bin]
            low, high = edges[column, bin], edges[column, bin + 1]
            out[column, place] = low + min(max(within, 0.0), 1.0) * (high - low)
