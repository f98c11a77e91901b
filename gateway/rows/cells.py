"""Cells of a table as the values of an input.

Knows datatypes and how they are written as text. Knows nothing of files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gateway.client.encoding import of_list
from gateway.errors import InvalidTensor
from gateway.tensors import DTYPES, Array, TensorSpec

FLOATS = ("FP16", "BF16", "FP32", "FP64")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def of_rows(
    path: str,
    rows: Sequence[Sequence[Any]],
    first: int,
    header: Sequence[str],
    places: Sequence[int],
    spec: TensorSpec,
) -> tuple[Array, Array | None]:
    """Some columns of some rows in an input's datatype, and how many cells of each were empty.

    Args:
        path: of the file, for messages.
        rows: of cells: texts, or what JSON has.
        first: the number of the first of them, for messages.
        header: names of all cells of a row.
        places: of the cells that are wanted.
        spec: the input.

    Returns:
        (rows, columns), or (rows, columns, ...) where cells are lists; (columns,) or None: none.

    Raises:
        InvalidTensor: naming file, row and column, what was wanted and what was got.
    """
    table = [
        [_value(path, row[place], spec.datatype, number, header[place]) for place in places]
        for number, row in enumerate(rows, first)
    ]
    array = of_list(spec.name, table, spec.datatype).array
    if spec.datatype not in FLOATS:
        return array, None
    empty = np.array([sum(row[place] in ("", None) for row in rows) for place in places], np.int64)
    return array, empty if empty.any() else None


def of_numbers(array: Array, datatype: str) -> Array | None:
    """Numbers in an input's datatype; None where one would change by more than rounding does."""
    if datatype in ("BF16", "BYTES"):
        return None
    dtype = DTYPES[datatype]
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        return None
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(array, dtype)
    kept = (
        np.array_equal(np.isfinite(found), np.isfinite(array))
        if dtype.kind == "f"
        else np.array_equal(found, array)
    )
    return found if kept else None


def in_shape(array: Array, spec: TensorSpec) -> Array:
    """Values of (rows, columns) put into the input's shape; lists, (rows, 1, ...), have it.

    Raises:
        InvalidTensor: the lists of a cell do not fit.
    """
    rows, columns, *cell = array.shape
    inner = spec.shape[1:]
    if cell and columns == 1 and _fits(cell, inner):
        return array[:, 0]
    flat = (columns,) if inner == (-1,) else inner
    if not cell and -1 not in flat and math.prod(flat) == columns:
        return array.reshape(rows, *flat)
    raise InvalidTensor(
        f"input '{spec.name}': expected rows of shape {list(inner)}, got {cell or [columns]}"
    )


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        want in (-1, got) for got, want in zip(shape, wanted, strict=True)
    )


def _value(path: str, cell: Any, datatype: str, row: int, column: str) -> Any:
    """A cell of a table; empty ones are missing numbers, which only floats can be."""
    if type(cell) is list:
        return [_value(path, one, datatype, row, column) for one in cell]
    try:
        if datatype in FLOATS:
            return math.nan if cell in ("", None) else float(cell) if type(cell) is str else cell
        if cell is None:
            raise ValueError
        if type(cell) is not str or datatype == "BYTES":
            return cell
        return _BOOLEANS[cell.strip().lower()] if datatype == "BOOL" else int(cell)
    except (ValueError, KeyError) as error:
        got = "null" if cell is None else repr(cell[:40])
        raise InvalidTensor(
            f"{path}: row {row}, column {column}: expected a value of {datatype}, got {got}"
        ) from error
