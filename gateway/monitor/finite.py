"""Counts the rows of a batch for which a model had no number: NaN or infinity.

Knows outputs as arrays. Knows nothing of models, or of what is done about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.tensors import Array
from kernels.finite import rows_not_finite


def non_finite_rows(outputs: Sequence[Array | None], batched: bool) -> int:
    """How many rows hold something else than finite numbers, by the output that has most.

    Args:
        outputs: of one run; None for what was not computed.
        batched: their first axis counts rows; else all of a run is one.
    """
    most = 0
    for array in outputs:
        if array is not None and array.dtype.kind == "f" and array.size:
            most = max(most, rows_not_finite(_table(array, batched)))
    return most


def _table(array: Array, batched: bool) -> Array:
    """(rows, columns), as the kernel takes it."""
    if array.ndim != 2 or not batched:
        array = array.reshape(len(array) if batched else 1, -1)
    if array.dtype == np.float16:
        return array.astype(np.float32, order="C")
    # What may not be written to is another type to the kernel.
    flags = array.flags
    return array if flags.c_contiguous and flags.writeable else np.array(array, order="C")
