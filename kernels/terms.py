"""Compiles what columns may hold into the words that the kernels of contracts read.

Knows bounds and categories. Knows nothing of where they come from. Runs once per contract, off the
hot path; nothing here is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels import contracts
from kernels.columns import Words
from kernels.contracts import LAYOUT_HEAD, RECORD
from kernels.layouts import TYPES, Values


@dataclass(frozen=True, slots=True)
class Bounded:
    """A column of numbers.

    Attributes:
        least, most: taken, bounds included; None: any. Equal ones: that value alone.
        flags: of contracts.MAY_BE_MISSING, MAY_BE_INFINITE and WHOLE.
    """

    least: float | None
    most: float | None
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """A column of categories.

    Attributes:
        values: numbers, rising; empty where rows are ids, of which all from 0 on are taken.
        flags: of contracts.MAY_BE_MISSING and OTHERS.
    """

    values: Values = field(default_factory=lambda: np.zeros(0, np.int64))
    flags: int = 0


ColumnTerms = Bounded | Listed


def compile_contract(terms: Sequence[ColumnTerms], dtype: Any) -> Words:
    """The words of one tensor's contract.

    Args:
        terms: one a column.
        dtype: of the rows: float32, float64, int64, or int32 for ids.

    Raises:
        ValueError: a type that is not held against contracts; bounds or categories that are not
            exact in the type, bounds that are the wrong way round, or categories out of order.
    """
    dtype = np.dtype(dtype)
    if dtype not in TYPES:
        raise ValueError(f"contract: expected float32, float64, int64 or int32, got {dtype}")
    head = np.zeros(LAYOUT_HEAD + len(terms) * RECORD, np.int64)
    head[contracts.COLUMNS] = len(terms)
    ones = np.ones(8 // dtype.itemsize, dtype)
    head[contracts.TYPED_ONE : contracts.TYPED_ONE + 1] = ones.view(np.int64)
    tables: list[Values] = []
    at = len(head) * (8 // dtype.itemsize)
    for column, one in enumerate(terms):
        record = head[LAYOUT_HEAD + column * RECORD :][:RECORD]
        try:
            bounds, values = _bounds(one, dtype), _values(one, dtype)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"column {column}: {error}") from error
        record[contracts.KIND], record[contracts.FLAGS] = _kind(one, dtype), one.flags
        record[contracts.BOUNDS], record[contracts.VALUES] = at, at + 2
        record[contracts.MANY] = len(values)
        tables += [bounds, values]
        at += 2 + len(values)
    flat = np.concatenate([*tables, np.zeros(0, dtype)])
    words = np.zeros(-(-flat.nbytes // 8), np.int64)
    words.view(dtype)[: len(flat)] = flat
    return np.concatenate([head, words])


def _kind(one: ColumnTerms, dtype: np.dtype[Any]) -> int:
    if isinstance(one, Bounded):
        return contracts.NUMERIC
    return contracts.IDS if dtype == np.int32 else contracts.CATEGORIES


def _bounds(one: ColumnTerms, dtype: np.dtype[Any]) -> Values:
    """Least and greatest; the wrong way round for categories, so that none passes by them."""
    if isinstance(one, Listed):
        return np.array([1, 0], dtype)
    limits = _limits(dtype)
    given = (
        limits[0] if one.least is None else one.least,
        limits[1] if one.most is None else one.most,
    )
    found = np.array([dtype.type(bound) for bound in given], dtype)
    if not all(a == b for a, b in zip(found.tolist(), given, strict=True)):
        raise ValueError(f"expected bounds that are exact in {dtype}, got {given}")
    if found[0] > found[1]:
        raise ValueError(f"expected a least that is not above the greatest, got {given}")
    return found


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The finite numbers that no finite value of a type is outside of: infinities are told."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _values(one: ColumnTerms, dtype: np.dtype[Any]) -> Values:
    if isinstance(one, Bounded):
        return np.zeros(0, dtype)
    found = one.values.astype(dtype)
    if not (found == one.values).all() or not (found[1:] > found[:-1]).all():
        raise ValueError(f"expected categories that rise and are exact in {dtype}")
    return found
