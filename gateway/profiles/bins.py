"""Bins out of a sample of a column, and the counting into them.

Knows one column at a time. Knows nothing of frames or files.

Numbers: `bins` bins of equal mass. An edge is a value of the sample, the smallest that has at least
its share of it at or below; quantiles that fall on one value collapse into one edge, and where
there are no more distinct values than bins, each has a bin of its own. Categories: a bin each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gateway.profiles.values import (
    CATEGORY,
    NUMERIC,
    Column,
    Moments,
    Specials,
)
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
    """

    kind: str
    type: str
    edges: Array
    categories: tuple[str | int | bool, ...] = ()
    buckets: int = 0
    keys: Array = field(default_factory=lambda: np.empty(0, np.int64))
    places: Array = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def count(self) -> int:
        """How many bins there are."""
        return self.buckets or (
            len(self.categories) if self.kind == CATEGORY else len(self.edges) + 1
        )


def numeric(sample: Array, bins: int) -> Bins:
    """Equal-mass bins of a sample, whatever is not finite left out."""
    finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    return Bins(NUMERIC, sample.dtype.name, equal_mass(finite, bins))


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


class Tally:
    """Counts of one column, block by block.

    Args:
        bins: where values go.
        centre: taken off values before they are squared, so that no digits are lost.
    """

    def __init__(self, bins: Bins, centre: float = 0.0) -> None:
        self._bins = bins
        self._centre = centre
        self._counts = np.zeros(bins.count, np.int64)
        self._nan = self._pos_inf = self._neg_inf = self._unseen = 0
        self._finite, self._sum, self._squares = 0, 0.0, 0.0
        self._min: float | int | None = None
        self._max: float | int | None = None

    def numbers(self, values: Array) -> None:
        """Counts (rows,) numbers of the column's type."""
        if values.dtype.kind == "f":
            values = self._finite_ones(values)
        if not len(values):
            return
        if self._bins.kind == CATEGORY:
            self._named(np.array(self._bins.categories, values.dtype), values)
        else:
            places = np.searchsorted(self._bins.edges, values, side="left")
            self._counts += np.bincount(places, minlength=self._bins.count)
        self._finite += len(values)
        low, high = values.min().item(), values.max().item()
        self._min = low if self._min is None else min(self._min, low)
        self._max = high if self._max is None else max(self._max, high)
        with np.errstate(over="ignore", invalid="ignore"):
            away = values.astype(np.float64) - self._centre
            self._sum += float(away.sum())
            self._squares += float(away @ away)

    def strings(self, keys: Array, checks: Array) -> None:
        """Counts (rows,) keys of strings, or, where there are buckets, their checksums."""
        if self._bins.buckets:
            places = checks % self._bins.buckets
            self._counts += np.bincount(places, minlength=self._bins.buckets)
        else:
            self._named(self._bins.keys, keys, self._bins.places)

    def column(self, name: str, null: int) -> Column:
        """What was counted. Of the NaN, `null` were nulls."""
        bins = self._bins
        specials = Specials(
            nan=self._nan - null,
            null=null,
            pos_inf=self._pos_inf,
            neg_inf=self._neg_inf,
            unseen=self._unseen,
        )
        return Column(
            name,
            bins.kind,
            bins.type,
            bins.edges,
            bins.categories,
            bins.buckets,
            self._counts,
            specials,
            self._moments(),
        )

    def _finite_ones(self, values: Array) -> Array:
        finite = np.isfinite(values)
        if finite.all():
            return values
        self._nan += int(np.isnan(values).sum())
        self._pos_inf += int((values == np.inf).sum())
        self._neg_inf += int((values == -np.inf).sum())
        return values[finite]

    def _named(self, names: Array, values: Array, places: Array | None = None) -> None:
        """Counts what equals one of some ascending names; the rest is unseen."""
        if not len(names):
            self._unseen += len(values)
            return
        nearest = np.minimum(np.searchsorted(names, values), len(names) - 1)
        found = nearest[names[nearest] == values]
        self._unseen += len(values) - len(found)
        found = found if places is None else places[found]
        self._counts += np.bincount(found, minlength=len(self._counts))

    def _moments(self) -> Moments:
        if not self._finite:
            return Moments()
        away = self._sum / self._finite
        mean: float | None = self._centre + away
        variance = self._squares / self._finite - away * away
        std: float | None = math.sqrt(max(0.0, variance)) if math.isfinite(variance) else None
        if self._min == self._max:
            mean, std = _as_float(self._min), 0.0
        return Moments(self._min, self._max, mean if math.isfinite(mean or 0.0) else None, std)


def _as_float(value: float | int | None) -> float:
    return 0.0 if value is None else float(value)
