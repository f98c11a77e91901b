"""Compiles what is known of columns into the words that the counting kernels read.

Knows edges, categories and the words of a layout. Knows nothing of where they come from. Runs once
per profile, off the hot path; nothing here is compiled.

A value's bin is looked up in two steps. `kernels.columns.cell` maps it to one of some 4 cells a bin
(`_warps`); the table holds how many edges lie in the cells before, and the edges within are
compared, quartering. The map never falls, so this is exact whatever it rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kernels import columns
from kernels._warps import best_warp
from kernels.columns import COLUMN_HEAD, LAYOUT_HEAD, RECORD, SLOT_HEAD, Reals, Words

Values = np.ndarray[Any, np.dtype[Any]]

MAX_BINS: Final = 1 << 15  # of numbers; places in tables are 16 bits
MAX_POINTS: Final = 4096
TYPES: Final = (np.float32, np.float64, np.int64, np.int32)


@dataclass(frozen=True, slots=True)
class Numeric:
    """A column of numbers in bins.

    Attributes:
        edges: (bins - 1,) finite, never falling; bin j is (edges[j - 1], edges[j]], the first and
            the last are open. No edges: one bin.
        lowest: the reference's minimum; what is less counts as BELOW, too.
        highest: its maximum.
        centre: subtracted before values are summed: about the mean.
    """

    edges: Values
    lowest: float
    highest: float
    centre: float = 0.0


@dataclass(frozen=True, slots=True)
class Categories:
    """A column of numbers that stand for categories: what equals none of them is UNSEEN.

    Attributes:
        values: (bins,) finite, rising. None at all: a column of which the reference knows nothing.
        centre: as for numbers.
    """

    values: Values
    centre: float = 0.0


@dataclass(frozen=True, slots=True)
class Ids:
    """A column of ids 0 to count - 1 that stand for categories; below zero, columns.*_ID."""

    count: int


ColumnPlan = Numeric | Categories | Ids


@dataclass(frozen=True, slots=True)
class Layout:
    """One tensor's columns in a sketch block.

    Attributes:
        words: what the kernels read.
        block_words: the block's size so far: where columns of the next tensor may begin.
        offsets: (columns,) where each column begins in the block.
        bins: (columns,) how many bins each has.
        bin_places: (all bins,) where each bin of each column is in the block.
        centres: (columns,) what its sums are of: value - centre.
    """

    words: Words
    block_words: int
    offsets: Words
    bins: Words
    bin_places: Words
    centres: Reals


def compile_layout(
    plans: Sequence[ColumnPlan], dtype: Any, at: int = SLOT_HEAD, counts_rows: bool = True
) -> Layout:
    """The layout of a tensor's columns.

    Args:
        plans: one a column; ids only where dtype is int32, and nothing else there.
        dtype: of the rows: float32, float64, int64, or int32 for ids.
        at: where its columns begin in the block.
        counts_rows: whether this tensor counts rows and batches: one of a batch's tensors does.

    Raises:
        ValueError: a type that is not counted, or edges or categories that are out of order, not
            finite, not exact in the type, or too many.
    """
    dtype = np.dtype(dtype)
    if dtype not in TYPES:
        raise ValueError(f"layout: expected float32, float64, int64 or int32, got {dtype}")
    head = np.zeros(LAYOUT_HEAD + len(plans) * RECORD, np.int64)
    words = _Words(head)
    bins = np.array([_bins(plan) for plan in plans], np.int64)
    sizes = -(-(COLUMN_HEAD + bins) // 8) * 8
    offsets = at + np.cumsum(sizes) - sizes
    block_words = int(at + sizes.sum())
    head[columns.COLUMNS], head[columns.BLOCK_WORDS] = len(plans), block_words
    head[columns.COUNTS_ROWS] = counts_rows
    ones = np.ones(8 // dtype.itemsize, dtype)
    head[columns.TYPED_ONE : columns.TYPED_ONE + 1] = ones.view(np.int64)
    centres = np.zeros(len(plans))
    for column, plan in enumerate(plans):
        try:
            record = head[LAYOUT_HEAD + column * RECORD :][:RECORD]
            record[columns.PLACE], record[columns.BINS] = offsets[column], bins[column]
            if isinstance(plan, Ids) != (dtype == np.int32):
                raise ValueError(f"{type(plan).__name__} cannot be counted from {dtype}")
            if isinstance(plan, Ids):
                record[columns.KIND] = columns.IDS
            else:
                centres[column] = plan.centre
                _fill(record, plan, dtype, words)
        except ValueError as error:
            raise ValueError(f"layout: column {column}: {error}") from None
    firsts = np.repeat(offsets + COLUMN_HEAD - (np.cumsum(bins) - bins), bins)
    places = firsts + np.arange(bins.sum())
    return Layout(words.joined(), block_words, offsets, bins, places, centres)


def exact_points(points: Values, lowest: float, highest: float, centre: float = 0.0) -> Numeric:
    """Counters for exact Kolmogorov-Smirnov distances: every point, and every gap between two.

    Args:
        points: (R,) distinct reference values, rising, in the rows' own type; 1 to MAX_POINTS.
        lowest: the reference's minimum.
        highest: its maximum.
        centre: as for other numbers.

    Returns:
        2 R + 1 bins: bin 2 i + 1 holds what equals points[i], bin 2 i what lies before it and
        after points[i - 1].

    Raises:
        ValueError: no points, or too many.
    """
    if not 0 < len(points) <= MAX_POINTS:
        raise ValueError(f"expected 1 to {MAX_POINTS} points, got {len(points)}")
    edges = np.repeat(points, 2)
    # A point's bin begins right after its lower neighbour, the next number of its type.
    if points.dtype.kind == "f":
        with np.errstate(over="ignore", under="ignore"):
            edges[::2] = np.nextafter(points, points.dtype.type(-np.inf))
    elif points[0] == np.iinfo(points.dtype).min:
        raise ValueError("the least integer has no neighbour below, and cannot be a point")
    else:
        edges[::2] -= 1
    return Numeric(edges, lowest, highest, centre)


def _bins(plan: ColumnPlan) -> int:
    if isinstance(plan, Numeric):
        return len(plan.edges) + 1
    return len(plan.values) if isinstance(plan, Categories) else plan.count


class _Words:
    """Collects what goes into one array of words, and tells where each part begins."""

    def __init__(self, head: Words) -> None:
        self._parts = [head]
        self._size = len(head)

    def add(self, values: Values) -> int:
        """Puts values behind what is there; where, in items of their type."""
        place = self._size * (8 // values.itemsize)
        words = np.zeros(-(-values.nbytes // 8), np.int64)
        words.view(values.dtype)[: len(values)] = values
        self._parts.append(words)
        self._size += len(words)
        return place

    def joined(self) -> Words:
        return np.concatenate(self._parts)


def _fill(record: Words, plan: Numeric | Categories, dtype: Any, words: _Words) -> None:
    """Writes the record of a column of numbers, and adds its edges and its table."""
    edges, limits = _typed(plan, dtype)
    if len(edges) >= MAX_BINS:
        raise ValueError(f"expected fewer than {MAX_BINS} edges or categories, got {len(edges)}")
    warp, cells = best_warp(edges.astype(np.float64))
    fullest = int(np.bincount(cells + warp.cells).max()) if len(cells) else 0
    steps = fullest.bit_length()
    # What stands behind the edges is greater than any value, for the steps that end there.
    behind = np.full(1 << steps, limits[1], dtype)
    record[columns.KIND] = columns.CATEGORIES if isinstance(plan, Categories) else columns.NUMERIC
    record[columns.EDGES] = words.add(np.concatenate([_range(plan, dtype), edges, behind])) + 2
    before = np.searchsorted(cells, np.arange(-warp.cells, warp.cells))
    record[columns.TABLE] = words.add(before.astype(np.uint16)) + warp.cells
    record[columns.STEPS] = steps
    record[columns.SHIFT], record[columns.UNIT] = warp.shift, warp.unit
    for word, value in (
        (columns.BASE, warp.base),
        (columns.SCALE, warp.scale),
        (columns.CEILING, warp.ceiling),
        (columns.CENTRE, plan.centre),
    ):
        record[word : word + 1].view(np.float64)[0] = value


def _limits(dtype: Any) -> tuple[Any, Any]:
    """Numbers that no value of a type is below, and above."""
    if dtype.kind == "f":
        return -np.inf, np.inf
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _range(plan: Numeric | Categories, dtype: Any) -> Values:
    """The reference's range in the column's type; all of it for categories."""
    if isinstance(plan, Categories):
        return np.array(_limits(dtype), dtype)
    return np.array([plan.lowest, plan.highest], dtype)


def _typed(plan: Numeric | Categories, dtype: Any) -> tuple[Values, tuple[Any, Any]]:
    """Edges or categories in the column's type.

    Raises:
        ValueError: they are out of order, not finite, or not exact in that type.
    """
    given = np.asarray(plan.edges if isinstance(plan, Numeric) else plan.values)
    with np.errstate(invalid="ignore", over="ignore"):
        typed = given.astype(dtype) + dtype.type(0)  # -0.0 is 0.0, and lies in its cell
    limits = _limits(dtype)
    if not (typed == given).all() or (dtype.kind == "f" and not (typed < limits[1]).all()):
        raise ValueError(f"expected edges or categories that are finite and exact in {dtype}")
    rising = typed[1:] > typed[:-1] if isinstance(plan, Categories) else typed[1:] >= typed[:-1]
    if not rising.all():
        raise ValueError("expected edges that never fall, or categories that rise")
    if not np.isfinite(plan.centre):
        raise ValueError(f"expected a finite centre, got {plan.centre}")
    return typed, limits
