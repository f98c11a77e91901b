"""Holds row-major batches against what their columns may hold: finds the first breach, counts all.

Knows bounds, categories and what a value can be. Knows nothing of models, features' names or what
becomes of a breach.

A value breaks one rule at most, the first of those below that it breaks. A contract is words, as a
counting layout is (kernels.columns): LAYOUT_HEAD words about all of it, a record for each column,
and then tables in the rows' own type, so that a call takes rows and one array.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._jit import kernel
from kernels.columns import NULL_ID, Rows, Words

# ---------------------------------------------------------------- rules

MISSING: Final = 0  # NaN or null where nothing may be missing
INFINITE: Final = 1
CONSTANT: Final = 2  # not the one value that there is
BELOW: Final = 3  # below the least that is taken
ABOVE: Final = 4
FRACTION: Final = 5  # no whole number
UNSEEN: Final = 6  # none of the categories
RULES: Final = 7
KEPT: Final = -1  # none is broken

# ---------------------------------------------------------------- words of a contract

COLUMNS: Final = 0
TYPED_ONE: Final = 1  # the number 1 in the rows' own type, filling the word
LAYOUT_HEAD: Final = 2

# A record for each column; places of tables are counted in items of the rows' type.
KIND: Final = 0
FLAGS: Final = 1
BOUNDS: Final = 2  # least and greatest that are taken; of categories: nothing is between them
VALUES: Final = 3  # of the categories, rising
MANY: Final = 4  # of them
RECORD: Final = 5

NUMERIC: Final = 0
CATEGORIES: Final = 1
IDS: Final = 2  # numbers of categories from 0 on, or one of kernels.columns' *_ID

MAY_BE_MISSING: Final = 1
MAY_BE_INFINITE: Final = 2
WHOLE: Final = 4
OTHERS: Final = 8  # categories that are not listed are taken, too


@kernel(
    "boolean(float32, float32[::1], int64, int64)",
    "boolean(float64, float64[::1], int64, int64)",
    "boolean(int64, int64[::1], int64, int64)",
    "boolean(int32, int32[::1], int64, int64)",
)
def _listed(value: Any, typed: Rows, start: int, many: int) -> bool:
    """Whether a value is one of `many` rising ones from `start` on."""
    low, high = start, start + many
    while low < high:
        middle = (low + high) >> 1
        if typed[middle] < value:
            low = middle + 1
        else:
            high = middle
    return bool(low < start + many and typed[low] == value)


@kernel(
    "int64(float32, int64[::1], float32[::1], int64)",
    "int64(float64, int64[::1], float64[::1], int64)",
    "int64(int64, int64[::1], int64[::1], int64)",
    "int64(int32, int64[::1], int32[::1], int64)",
)
def _broken(value: Any, layout: Words, typed: Rows, column: int) -> int:
    """The rule that a value of a column breaks, or KEPT."""
    record = LAYOUT_HEAD + column * RECORD
    flags, bounds = layout[record + FLAGS], layout[record + BOUNDS]
    least, most = typed[bounds], typed[bounds + 1]
    # What nearly every value is: a number between bounds, of which no more is asked.
    if least <= value <= most and not flags & WHOLE:
        return KEPT
    kind, x = layout[record + KIND], np.float64(value)
    if x != x or (kind == IDS and value == NULL_ID):
        return KEPT if flags & MAY_BE_MISSING else MISSING
    if kind == IDS:
        return KEPT if value >= 0 or flags & OTHERS else UNSEEN
    if kind == CATEGORIES:
        listed = _listed(value, typed, layout[record + VALUES], layout[record + MANY])
        return KEPT if listed or flags & OTHERS else UNSEEN
    if abs(x) == np.inf:
        return KEPT if flags & MAY_BE_INFINITE else INFINITE
    if value < least or value > most:
        if least == most:
            return CONSTANT
        return BELOW if value < least else ABOVE
    return FRACTION if np.floor(x) != x else KEPT


@kernel(
    "boolean(float32[:, ::1], int64[::1])",
    "boolean(float64[:, ::1], int64[::1])",
    "boolean(int64[:, ::1], int64[::1])",
    "boolean(int32[:, ::1], int64[::1])",
)
def _fits(rows: Rows, layout: Words) -> bool:
    """Whether a contract is about so many columns of such a type."""
    one = layout.view(rows.dtype)[(TYPED_ONE + 1) * (8 // rows.itemsize) - 1]
    return bool(one == 1 and layout[COLUMNS] == rows.shape[1])


@kernel(
    "int64(float32[:, ::1], int64[::1])",
    "int64(float64[:, ::1], int64[::1])",
    "int64(int64[:, ::1], int64[::1])",
    "int64(int32[:, ::1], int64[::1])",
)
def first_breach(rows: Rows, layout: Words) -> int:
    """The first breach of a contract, row by row.

    Args:
        rows: (rows, columns) of the contract's type.
        layout: words of kernels.terms.compile_contract.

    Returns:
        (row * columns + column) * RULES + rule; KEPT where there is none.

    Raises:
        ValueError: the contract is for other columns or another type.
    """
    if not _fits(rows, layout):
        raise ValueError("first_breach: the contract is for other columns or another type")
    many_rows, columns = rows.shape
    typed = layout.view(rows.dtype)
    for row in range(many_rows):
        for column in range(columns):
            rule = _broken(rows[row, column], layout, typed, column)
            if rule != KEPT:
                return int((row * columns + column) * RULES + rule)
    return KEPT


@kernel(
    "void(float32[:, ::1], int64[::1], int64[::1])",
    "void(float64[:, ::1], int64[::1], int64[::1])",
    "void(int64[:, ::1], int64[::1], int64[::1])",
    "void(int32[:, ::1], int64[::1], int64[::1])",
)
def count_breaches(rows: Rows, layout: Words, counts: Words) -> None:
    """Counts every breach of a contract.

    Args:
        rows: (rows, columns) of the contract's type.
        layout: words of kernels.terms.compile_contract.
        counts: (columns * RULES,) added to.

    Raises:
        ValueError: the contract is for other columns or another type, or the counts are.
    """
    many_rows, columns = rows.shape
    if not _fits(rows, layout) or len(counts) != columns * RULES:
        raise ValueError("count_breaches: the contract is for other columns, type or counts")
    typed = layout.view(rows.dtype)
    for row in range(many_rows):
        for column in range(columns):
            rule = _broken(rows[row, column], layout, typed, column)
            if rule != KEPT:
                counts[column * RULES + rule] += 1
