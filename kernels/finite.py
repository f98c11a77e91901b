"""Counts rows that hold something else than finite numbers.

Knows numbers in rows. Knows nothing of models, or of what follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels._jit import kernel

Rows = np.ndarray[Any, np.dtype[Any]]


@kernel("int64(float32[:, ::1])", "int64(float64[:, ::1])")
def rows_not_finite(table: Rows) -> int:
    """How many rows hold NaN or infinity.

    Args:
        table: (rows, columns), C-contiguous.
    """
    found = np.int64(0)
    for row in range(table.shape[0]):
        odd = np.int64(0)  # a sum has no branch, so that several numbers are looked at at once
        for column in range(table.shape[1]):
            odd += np.int64(not abs(table[row, column]) < np.inf)
        found += np.int64(odd > 0)
    return int(found)
