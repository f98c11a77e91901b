"""Bins out of a sample of a column.

Knows one column at a time. Knows nothing of frames or files, nor of how bins are counted into.

Numbers: `bins` bins of equal mass. An edge is a value of the sample, the smallest that has at least
its share of it at or below; quantiles that fall on one value collapse into one edge, and where
there are no more distinct values than bins, each has a bin of its own. Categories: a bin each.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gateway.profiles import points
from gateway.profiles.values import CATEGORY, NUMERIC
from gateway.tensors import Array

# Categories that are kept of a column: the most frequent.
MAX_CATEGORIES = 1000


@dataclass(frozen=True, slots=True)
class Bins:
    """Where the values of a column go, before any is counted.

    Attributes:
        kind, type, edges, categories, buckets: as `values.Column` has them.
        keys: of a string column's categories, by which they are counted, ascending; else empty.
        places: the bin of each of `keys`.
        points: of a column of numbers that is counted exactly there.
    """

    kind: str
    type: str
    edges: Array
    categories: tuple[str | int | bool, ...] = ()
    buckets: int = 0
    keys: Array = field(default_factory=lambda: np.empty(0, np.int64))
    places: Array = field(default_factory=lambda: np.empty(0, np.int64))
    points: Array = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def count(self) -> int:
        """How many bins there are."""
        return self.buckets or (
            len(self.categories) if self.kind == CATEGORY else len(self.edges) + 1
        )


def numeric(sample: Array, bins: int, exact: bool = False) -> Bins:
    """Equal-mass bins of a sample, whatever is not finite left out; with points, if `exact`."""
    finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    edges = equal_mass(finite, bins)
    if not exact:
        return Bins(NUMERIC, sample.dtype.name, edges)
    return Bins(NUMERIC, sample.dtype.name, edges, points=points.choose(finite, edges))


def equal_mass(values: Array, bins: int) -> Array:
    """(at most bins - 1,) edges, strictly ascending; none of the sample lies above the last bin."""
    distinct = np.unique(values)
    if len(distinct) <= bins:
        return distinct[:-1].copy()
    ordered = np.sort(values)
    # The smallest value with j/bins of the sample at or below it, in whole numbers: exact.
    ranks = -(-np.arange(1, bins) * len(ordered) // bins) - 1
    edges: Array = np.unique(ordered[ranks])
    # An edge at the maximum would leave the last bin empty.
    return edges[:-1].copy() if edges[-1] == ordered[-1] else edges


def whole_categories(sample: Array, boolean: bool) -> Bins:
    """A bin for each of the most frequent whole numbers of a sample."""
    finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    values, counts = np.unique(finite, return_counts=True)
    kept = np.sort(values[np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]])
    names = tuple(bool(value) if boolean else int(value) for value in kept)
    return Bins(CATEGORY, sample.dtype.name, np.empty(0, sample.dtype), names)
