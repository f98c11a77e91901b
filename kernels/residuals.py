"""Errors of either sign counted in buckets whose width follows the exponent of the error.

Knows numbers. Knows nothing of what was predicted.

Between 2**-24 and 2**40 each doubling is cut into 32 equal buckets: the middle of one is within
1/64 (1.6 %) of every error in it. What is nearer to zero lies in the bucket around it, what is
further away in the outermost. Histograms merge by adding, in any order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Counts = np.ndarray[Any, np.dtype[np.float64]]

SUB_BITS: Final = 5
MIN_BITS: Final = -24  # 6e-8: a float32 around 1 is no more exact
MAX_BITS: Final = 40
SIDE: Final = (MAX_BITS - MIN_BITS) << SUB_BITS  # buckets of one sign
BUCKETS: Final = 2 * SIDE + 1
_SHIFT: Final = 52 - SUB_BITS  # a float64 keeps 52 bits below its exponent
_BASE: Final = (1023 + MIN_BITS) << SUB_BITS
_LEAST: Final = 2.0**MIN_BITS
_MOST: Final = 2.0**MAX_BITS


@kernel("int64(float64)")
def bucket(error: float) -> int:
    """Which of BUCKETS, ascending with the error, holds it; it is no NaN."""
    size = abs(error)
    if size < _LEAST:
        return SIDE
    if size >= _MOST:
        place = SIDE - 1
    else:
        # Exponent and leading bits of a float are, read as one number, its bucket.
        bits: int = np.float64(size).view(np.int64)  # type: ignore[assignment]
        place = (bits >> _SHIFT) - _BASE
    return SIDE + 1 + place if error > 0.0 else SIDE - 1 - place


def edges() -> Counts:
    """(BUCKETS + 1,) the ends of buckets; the outermost are infinite."""
    steps = np.arange(SIDE + 1)
    part = 1.0 + (steps & ((1 << SUB_BITS) - 1)) / (1 << SUB_BITS)
    sizes = np.ldexp(part, (steps >> SUB_BITS) + MIN_BITS)
    sizes[-1] = np.inf
    return np.concatenate((-sizes[::-1], sizes))


def quantile(counts: Counts, share: float) -> float:
    """The error that `share` of the counted ones do not pass, by nearest rank.

    Args:
        counts: (BUCKETS,) counts.
        share: above 0, at most 1.

    Returns:
        The middle of its bucket, of an outermost one the end that is finite; NaN where nothing was
        counted.
    """
    upto = counts.cumsum()
    if not upto[-1]:
        return float("nan")
    found = int(np.searchsorted(upto, np.ceil(share * upto[-1])))
    low, high = edges()[found : found + 2]
    if not np.isfinite(low) or not np.isfinite(high):
        return float(high if np.isfinite(high) else low)
    return float((low + high) / 2.0)
