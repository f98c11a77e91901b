"""Counts the values of row-major batches into a sketch block, column by column.

Knows the words of a slot, and bins, categories and moments. Knows nothing of models, features'
names or what counts are compared with.

A slot is int64 words: SLOT_HEAD words about all of it, then, for each column at its own offset,
COLUMN_HEAD words and its bins. Counts only grow. Moments do not: they stand in two sets, for even
and for odd ticks, each with the tick that it belongs to, and a set is begun afresh by the first
value of another tick. Whoever raises the tick reads the set of the tick before.

A bin is right-closed: a value's bin is the number of edges strictly below it. Which bin that is
comes from a table and a few comparisons (kernels.layouts); the same number is made for all values
of a column, none of them a branch, so that skewed data costs what even data does.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Words = np.ndarray[Any, np.dtype[np.int64]]
Reals = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[Any]]

# ---------------------------------------------------------------- words of a slot

ROWS: Final = 0
BATCHES: Final = 1
TICK: Final = 2  # of the newest batch
LAST_MS: Final = 3  # wall clock
SLOT_HEAD: Final = 8

# ---------------------------------------------------------------- words of a column in a slot

NAN: Final = 0
NULL: Final = 1
POS_INF: Final = 2
NEG_INF: Final = 3
BELOW: Final = 4  # below the reference's minimum; also in the first bin
ABOVE: Final = 5  # above its maximum; also in the last bin
WRONG_TYPE: Final = 6
UNSEEN: Final = 7  # in none of the reference's categories
MOMENTS: Final = 8  # a set for even ticks, then one for odd ticks
SET_WORDS: Final = 5  # N, then as float64: SUM and SUM_SQ of value - centre, MIN, MAX
SET_TICK: Final = 18  # the tick of each set, plus 1: 0 means that it was never begun
COLUMN_HEAD: Final = 20

# ---------------------------------------------------------------- words of a layout

COLUMNS: Final = 0
BLOCK_WORDS: Final = 1
COUNTS_ROWS: Final = 2  # of the tensors of a batch, one counts ROWS and BATCHES
TYPED_ONE: Final = 3  # the number 1 in the rows' own type, filling the word
LAYOUT_HEAD: Final = 8

# A record for each column; places of tables are counted in items of the table's type.
KIND: Final = 0
PLACE: Final = 1  # of the column in the block
BINS: Final = 2
TABLE: Final = 3  # of its middle cell, in uint16
EDGES: Final = 4  # two before them: reference minimum and maximum; in items of the rows' type
STEPS: Final = 5  # comparisons that find the edge within any cell
BASE: Final = 6  # float64
SCALE: Final = 7  # float64
CEILING: Final = 8  # float64
SHIFT: Final = 9
UNIT: Final = 10  # what 1.0 is after the shift
CENTRE: Final = 11  # float64, of the moments
RECORD: Final = 12

NUMERIC: Final = 0  # bins between edges
CATEGORIES: Final = 1  # edges are categories, and nothing else is in a bin
IDS: Final = 2  # values are numbers of categories, or one of these:

UNSEEN_ID: Final = -1
NULL_ID: Final = -2
WRONG_TYPE_ID: Final = -3

# So many rows of a batch are counted at a time, for each column in turn: they stay in the cache.
STRIP: Final = 128

# Up to here whole numbers are what they are as float64.
EXACT: Final = 2.0**53

_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_TWO: Final = np.uint64(2)


@kernel("int64(float64, float64, float64, float64, int64, int64)")
def cell(x: Any, base: Any, scale: Any, ceiling: Any, shift: Any, unit: Any) -> Any:
    """The cell of a finite number, counted from the middle of its column's table.

    Never falls as x rises, whatever is rounded on the way. Cells are equally wide within
    1 / scale of the base, and grow with the distance from there on: the leading bits of
    1 + distance, read as an integer, are nearly its logarithm.
    """
    y = np.float64((x - base) * scale)
    far = np.float64(min(abs(y) + 1.0, ceiling))
    side = y.view(np.int64) >> np.int64(63)  # 0, or -1 below the base
    return ((far.view(np.int64) >> shift) - unit) ^ side


@kernel("void(int64[::1], float64[::1], int64, int64)")
def _begin_set(block: Words, sums: Reals, place: int, tick: int) -> None:
    """Empties a column's set of moments for a new tick."""
    parity = tick & 1
    moments = place + MOMENTS + parity * SET_WORDS
    block[place + SET_TICK + parity] = tick + 1
    block[moments] = 0
    sums[moments + 1] = sums[moments + 2] = 0.0
    sums[moments + 3], sums[moments + 4] = np.inf, -np.inf


@kernel(
    "int64(float32[:, ::1], int64, int64, int64[::1], int64[::1], int64)",
    "int64(float64[:, ::1], int64, int64, int64[::1], int64[::1], int64)",
    "int64(int64[:, ::1], int64, int64, int64[::1], int64[::1], int64)",
)
def count_strip(rows: Rows, start: int, stop: int, block: Words, layout: Words, tick: int) -> int:
    """Counts rows [start, stop), STRIP or fewer, of every column; how many values are unusual."""
    # One view of each kind for all columns: making one costs as much as counting ten values.
    cells, typed = layout.view(np.uint16), layout.view(rows.dtype)
    reals, sums = layout.view(np.float64), block.view(np.float64)
    parity = tick & 1
    unusual = np.int64(0)
    for column in range(rows.shape[1]):
        record = LAYOUT_HEAD + column * RECORD
        place, steps = layout[record + PLACE], np.uint64(layout[record + STEPS])
        table, shift, unit = layout[record + TABLE], layout[record + SHIFT], layout[record + UNIT]
        base, scale, ceiling = reals[record + BASE], reals[record + SCALE], reals[record + CEILING]
        centre, edges = reals[record + CENTRE], np.uint64(layout[record + EDGES])
        lowest, highest = typed[edges - _TWO], typed[edges - _ONE]
        only, many = layout[record + KIND] == CATEGORIES, np.uint64(layout[record + BINS])
        bins = np.uint64(place + COLUMN_HEAD)
        moments = place + MOMENTS + parity * SET_WORDS
        if block[place + SET_TICK + parity] != tick + 1:
            _begin_set(block, sums, place, tick)
        total, squares = sums[moments + 1], sums[moments + 2]
        least, most = np.inf, -np.inf
        odd = np.int64(0)
        for row in range(start, stop):
            value = rows[row, column]
            x = np.float64(value)
            if abs(x) < np.inf:
                at = np.uint64(cells[np.uint64(table + cell(x, base, scale, ceiling, shift, unit))])
                step = steps
                # Sums of shifted truths: written as a choice they would be compiled to branches,
                # which for random values are mispredicted every other time.
                if step & _ONE:
                    step -= _ONE
                    at += np.uint64(typed[edges + at + (_ONE << step) - _ONE] < value) << step
                while step > _ZERO:
                    # Two halvings at once: three loads that wait for no other take less time than
                    # two of which the second waits for the first.
                    step -= _TWO
                    width = _ONE << step
                    edge = edges + at + width - _ONE
                    passed = np.uint64(typed[edge] < value) + np.uint64(typed[edge + width] < value)
                    passed += np.uint64(typed[edge + width + width] < value)
                    at += passed << step
                if only and (at == many or typed[edges + at] != value):
                    block[place + UNSEEN] += 1
                    unusual += 1
                else:
                    block[bins + at] += 1
                off = x - centre
                total += off
                squares += off * off
                least, most = min(least, x), max(most, x)
            else:
                odd += 1
                if x > 0.0:
                    block[place + POS_INF] += 1
                elif x < 0.0:
                    block[place + NEG_INF] += 1
                else:
                    block[place + NAN] += 1
        unusual += odd
        block[moments] += stop - start - odd
        sums[moments + 1], sums[moments + 2] = total, squares
        sums[moments + 3] = min(sums[moments + 3], least)
        sums[moments + 4] = max(sums[moments + 4], most)
        low, high = np.float64(lowest), np.float64(highest)
        # What every value would have to be asked is asked once of their range, which is exact as
        # long as integers are as float64.
        if not only and (least < low or most > high or min(low, -high) <= -EXACT):
            below = above = np.int64(0)
            for row in range(start, stop):
                value = rows[row, column]
                finite = abs(np.float64(value)) < np.inf
                below += np.int64(finite and value < lowest)
                above += np.int64(finite and value > highest)
            unusual += below + above
            block[place + BELOW] += below
            block[place + ABOVE] += above
    return int(unusual)


@kernel("void(int64[::1], int64[::1], int64, int64, int64)")
def count_batch(block: Words, layout: Words, rows: int, tick: int, now_ms: int) -> None:
    """Counts a batch itself, unless another of its tensors does."""
    if layout[COUNTS_ROWS]:
        block[ROWS] += rows
        block[BATCHES] += 1
        block[TICK] = tick
        block[LAST_MS] = now_ms


@kernel("boolean(int64[::1], int64[::1], int64)")
def fits(block: Words, layout: Words, columns: int) -> bool:
    """Whether a layout is about so many columns and such a block."""
    return bool(layout[COLUMNS] == columns and layout[BLOCK_WORDS] <= len(block))


@kernel(
    "int64(float32[:, ::1], int64[::1], int64[::1], int64, int64)",
    "int64(float64[:, ::1], int64[::1], int64[::1], int64, int64)",
    "int64(int64[:, ::1], int64[::1], int64[::1], int64, int64)",
)
def count_rows(rows: Rows, block: Words, layout: Words, tick: int, now_ms: int) -> int:
    """Counts a batch of numbers.

    Args:
        rows: (rows, columns) of the layout's type.
        block: a slot, of this one writer.
        layout: words of kernels.layouts.compile_layout.
        tick: what moments belong to.
        now_ms: wall clock.

    Returns:
        How many values are unusual: in no bin, or outside the reference's range.

    Raises:
        ValueError: the layout is for other columns, another type or a larger block.
    """
    many, columns = rows.shape
    in_word = 8 // rows.itemsize
    one = layout.view(rows.dtype)[(TYPED_ONE + 1) * in_word - 1]
    if one != 1 or not fits(block, layout, columns):
        raise ValueError("count_rows: the layout is for other columns, type or block")
    count_batch(block, layout, many, tick, now_ms)
    unusual = 0
    for start in range(0, many, STRIP):
        unusual += count_strip(rows, start, min(start + STRIP, many), block, layout, tick)
    return unusual


@kernel("int64(int32[:, ::1], int64[::1], int64[::1], int64, int64)")
def count_ids(rows: Rows, block: Words, layout: Words, tick: int, now_ms: int) -> int:
    """Counts a batch of category ids, as count_rows does numbers.

    Raises:
        ValueError: the layout is for other columns, another type or a larger block.
    """
    many, columns = rows.shape
    one = layout.view(np.int32)[(TYPED_ONE + 1) * 2 - 1]
    if one != 1 or not fits(block, layout, columns):
        raise ValueError("count_ids: the layout is for other columns, type or block")
    count_batch(block, layout, many, tick, now_ms)
    unusual = 0
    for column in range(columns):
        record = LAYOUT_HEAD + column * RECORD
        place, bins = layout[record + PLACE], layout[record + BINS]
        for row in range(many):
            value = np.int64(rows[row, column])
            if 0 <= value < bins:
                block[place + COLUMN_HEAD + value] += 1
                continue
            unusual += 1
            if value == NULL_ID:
                block[place + NULL] += 1
            elif value == WRONG_TYPE_ID:
                block[place + WRONG_TYPE] += 1
            else:
                block[place + UNSEEN] += 1
    return unusual
