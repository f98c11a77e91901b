"""Counts of many columns at once, as every statistic takes them, and what is wrong with some.

Knows a matrix of counts, (columns, width), of which row j holds `bins[j]` bins and zeros behind
them. Knows nothing of what is computed from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Counts = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def checked(bins: Counts, *counts: Counts) -> tuple[Counts, ...]:
    """The number of bins and the matrices of counts, contiguous int64, if they fit each other.

    Args:
        bins: (columns,) bins of each column; 0 for one that has none.
        counts: (columns, width) each, >= 0.

    Raises:
        ValueError: shapes differ, a column has more bins than its row, or a count is negative.
    """
    numbers = np.ascontiguousarray(bins, np.int64)
    matrices = [np.ascontiguousarray(matrix, np.int64) for matrix in counts]
    shape = matrices[0].shape
    if len(shape) != 2 or any(matrix.shape != shape for matrix in matrices):
        got = ", ".join(str(list(matrix.shape)) for matrix in matrices)
        raise ValueError(f"counts: expected equal shapes [columns, bins], got {got}")
    if numbers.shape != shape[:1]:
        raise ValueError(f"bins: expected shape [{shape[0]}], got {list(numbers.shape)}")
    if numbers.size and (numbers.min() < 0 or numbers.max() > shape[1]):
        raise ValueError(f"bins: expected 0 to {shape[1]} of each column, got {numbers.max()}")
    if any(matrix.size and matrix.min() < 0 for matrix in matrices):
        raise ValueError("counts: expected none below 0")
    return (numbers, *matrices)
