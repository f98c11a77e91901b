"""Counts the rows of a frame, block by block, into bins that are fixed.

Knows matrices and bins. Knows nothing of where rows come from. Numbers are counted by the kernel
that counts live traffic, so that a profile's counts and live ones mean the same; strings, whose
ids only exist once a profile does, by their keys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gateway.profiles import points
from gateway.profiles.bins import Bins
from gateway.profiles.values import CATEGORY, Column, Moments, Specials
from gateway.tensors import Array
from kernels import columns, layouts

# Odd, and so another than the one that a fresh block's moments belong to.
_TICK = 1


class Counter(Protocol):
    """What counts a frame's rows."""

    def add(self, block: Array) -> None:
        """Counts some rows of the matrix."""

    def column(self, place: int, name: str, null: int) -> Column:
        """What was counted of a column. Of its NaN, `null` were nulls."""


class Numbers:
    """Counts a matrix of numbers.

    Args:
        bins: of each column.
        centres: of each column: about its mean, taken off before squares are summed.
        dtype: of the matrix.
    """

    def __init__(
        self, bins: Sequence[Bins], centres: Sequence[float], dtype: np.dtype[Any]
    ) -> None:
        self._bins, self._centres = bins, centres
        plans = [_plan(one, centre, dtype) for one, centre in zip(bins, centres, strict=True)]
        self._layout = layouts.compile_layout(plans, dtype)
        self._words = np.zeros(self._layout.block_words, np.int64)
        # The kernel's are doubles, which hold no more than 53 bits of a whole number.
        self._range: tuple[Array, Array] | None = None
        self._integers = dtype.kind == "i"
        self._fractions = np.zeros(len(bins), bool)

    def add(self, block: Array) -> None:
        """Counts (rows, columns), C-contiguous."""
        columns.count_rows(block, self._words, self._layout.words, _TICK, 0)
        if not self._integers:
            self._fractions |= ((np.floor(block) != block) & np.isfinite(block)).any(axis=0)
        elif len(block):
            low, high = block.min(axis=0), block.max(axis=0)
            if self._range is not None:
                low = np.minimum(low, self._range[0])
                high = np.maximum(high, self._range[1])
            self._range = low, high

    def column(self, place: int, name: str, null: int) -> Column:
        """See `Counter.column`."""
        bins = self._bins[place]
        words = self._words[int(self._layout.offsets[place]) :]
        counts = words[columns.COLUMN_HEAD :][: int(self._layout.bins[place])].copy()
        specials = Specials(
            nan=int(words[columns.NAN]) - null,
            null=null,
            pos_inf=int(words[columns.POS_INF]),
            neg_inf=int(words[columns.NEG_INF]),
            unseen=int(words[columns.UNSEEN]),
        )
        moments = self._moments(place, words)
        whole = not self._integers and moments.min is not None and not self._fractions[place]
        return _column(name, bins, counts, specials, moments, bool(whole))

    def _moments(self, place: int, words: Array) -> Moments:
        one = columns.MOMENTS + (_TICK & 1) * columns.SET_WORDS
        count, reals = int(words[one]), words[one + 1 : one + columns.SET_WORDS].view(np.float64)
        if not count:
            return Moments()
        total, squares, low, high = (float(value) for value in reals)
        if self._range is not None:
            least: float | int = int(self._range[0][place])
            most: float | int = int(self._range[1][place])
        else:
            least, most = low, high
        if least == most:
            return Moments(least, most, float(least), 0.0)
        away = total / count
        mean, variance = self._centres[place] + away, squares / count - away * away
        return Moments(
            least,
            most,
            mean if math.isfinite(mean) else None,
            math.sqrt(max(0.0, variance)) if math.isfinite(variance) else None,
        )


class Strings:
    """Counts a matrix of strings: a column of keys, then one of checksums, for each.

    Args:
        bins: of each column of strings.
    """

    def __init__(self, bins: Sequence[Bins]) -> None:
        self._bins = bins
        self._counts = [np.zeros(one.count, np.int64) for one in bins]
        self._unseen = [0 for _ in bins]

    def add(self, block: Array) -> None:
        """Counts (rows, 2 x columns)."""
        for place, bins in enumerate(self._bins):
            if bins.buckets:
                found = block[:, 2 * place + 1] % bins.buckets
            else:
                found = _places(bins, block[:, 2 * place])
            self._unseen[place] += len(block) - len(found)
            self._counts[place] += np.bincount(found, minlength=bins.count)

    def column(self, place: int, name: str, null: int) -> Column:
        """See `Counter.column`."""
        specials = Specials(null=null, unseen=self._unseen[place])
        return _column(name, self._bins[place], self._counts[place], specials, Moments())


def _places(bins: Bins, keys: Array) -> Array:
    """The bins of those keys that have one."""
    if not len(bins.keys):
        return np.empty(0, np.int64)
    nearest = np.minimum(np.searchsorted(bins.keys, keys), len(bins.keys) - 1)
    found: Array = bins.places[nearest[bins.keys[nearest] == keys]]
    return found


def _plan(bins: Bins, centre: float, dtype: np.dtype[Any]) -> layouts.ColumnPlan:
    if bins.kind == CATEGORY:
        return layouts.Categories(np.array(bins.categories, dtype), centre)
    # What lies outside the reference's range is for live traffic: here there is nothing.
    if len(bins.points):
        return layouts.exact_points(bins.points, 0, 0, centre)
    return layouts.Numeric(bins.edges, 0, 0, centre)


def _column(
    name: str,
    bins: Bins,
    counts: Array,
    specials: Specials,
    moments: Moments,
    whole: bool = False,
) -> Column:
    finer = np.empty(0, np.int64)
    if len(bins.points):
        counts, finer = points.in_bins(counts, bins.points, bins.edges), counts
    return Column(
        name,
        bins.kind,
        bins.type,
        bins.edges,
        bins.categories,
        bins.buckets,
        counts,
        specials,
        moments,
        whole,
        bins.points,
        finer,
    )
