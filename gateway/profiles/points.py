"""Values of the reference at which the distribution function of live rows is known exactly.

Knows one column at a time. Knows nothing of who asks for it, or of how values are counted.

Kolmogorov and Smirnov's distance of two samples is taken at values of the reference, or just before
one. So a column of which it is wanted exactly is counted finer: each point has a counter, and each
gap beside one (`kernels.layouts.exact_points`). Edges of its bins are among its points, so that the
finer counts add up to those of bins, and every other figure stays what it is.

    counter   0        1     2           3     ...   2 R
    values    < p_1    p_1   between     p_2         > p_R
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from gateway.tensors import Array

MAX_POINTS: Final = 1000
"""Of a column. A reference with more distinct values has points of equal mass: what it holds
between two of them, a thousandth, is how far the distance may be off."""
MAX_COLUMNS: Final = 20
"""Of a profile: each takes the memory of some thirty others."""


def choose(values: Array, edges: Array) -> Array:
    """(R,) points of a column, ascending.

    Args:
        values: of the reference, finite, in any order.
        edges: of its bins, which are such values.
    """
    distinct: Array = np.unique(values)
    if len(distinct) and distinct[0] == least(distinct.dtype):
        distinct = distinct[1:]  # nothing lies below it, and no counter could say so
    if len(distinct) > MAX_POINTS:
        ordered = np.sort(values)
        wanted = MAX_POINTS - len(edges)
        distinct = np.union1d(ordered[np.arange(wanted) * len(ordered) // wanted], edges)
    return distinct if np.isin(edges, distinct).all() else distinct[:0]


def in_bins(counts: Array, points: Array, edges: Array) -> Array:
    """(..., bins) counts of the bins, out of those at points and in gaps, (..., 2 R + 1)."""
    # A gap lies in the bin that begins at or before the point that it follows.
    gaps = np.concatenate([[0], np.searchsorted(edges, points, side="right")])
    bins = np.empty(2 * len(points) + 1, np.int64)
    bins[0::2] = gaps
    bins[1::2] = np.searchsorted(edges, points, side="left")
    firsts = np.searchsorted(bins, np.arange(len(edges) + 1))
    found: Array = np.add.reduceat(counts, firsts, axis=-1)
    return found


def least(dtype: np.dtype[Any]) -> Any:
    """The least number of a type, which cannot be a point."""
    info: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return dtype.type(info.min)
