"""Latencies counted in buckets whose width follows the exponent of the value.

Knows nanoseconds. Knows nothing of what took them.

A bucket is right-closed, (lower, upper], as Prometheus' `le` is. Up to 1.024 us buckets are 16 ns
wide; from there each doubling is cut into 64 equal buckets, up to 2**40 ns (18 minutes); the last
bucket takes what is longer. The middle of a bucket is within 1/128 (0.8 %) of every value in it,
from 1 us on. Histograms of equal layout merge by adding, in any order.

Powers of two are bucket edges. So are therefore the bounds of the classic Prometheus buckets, and
exporting loses nothing: a classic bucket holds exactly the latencies that are <= its bound.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Counts = np.ndarray[Any, np.dtype[np.int64]]

UNIT_BITS: Final = 4  # 16 ns: a clock read costs more than that
SUB_BITS: Final = 6  # 64 buckets a doubling: half a bucket is 0.8 % of its value
MAX_BITS: Final = 40
_SUB: Final = 1 << SUB_BITS
_MAX_UNITS: Final = 1 << (MAX_BITS - UNIT_BITS)
_SHIFT: Final = 52 - SUB_BITS  # a float64 keeps 52 bits below its exponent
_BASE: Final = ((1023 + SUB_BITS) << SUB_BITS) - _SUB
OVERFLOW: Final = (MAX_BITS - UNIT_BITS - SUB_BITS + 1) << SUB_BITS
BUCKETS: Final = OVERFLOW + 1

CLASSIC_BITS: Final = range(13, 37)
CLASSIC_BOUNDS_NS: Final = tuple(1 << bits for bits in CLASSIC_BITS)
"""Bounds of the exported buckets, 8.192 us to 68.7 s, each twice the one before."""


@kernel("int64(int64)")
def index(ns: int) -> int:
    """The bucket of a latency; what is negative (a clock that was set) falls into the first."""
    units = (ns - 1) >> UNIT_BITS
    if units < _SUB:
        return max(units, 0)
    if units >= _MAX_UNITS:
        return OVERFLOW
    # Exponent and leading bits of the float are, read as one number, the bucket.
    bits: int = np.float64(units).view(np.int64)  # type: ignore[assignment]
    return (bits >> _SHIFT) - _BASE


@kernel("void(int64[::1], int64[::1])")
def record(counts: Counts, values: Counts) -> None:
    """Counts latencies of nanoseconds into `counts`, (BUCKETS,)."""
    for value in values:
        counts[index(value)] += 1


def lower_bound(bucket: int) -> int:
    """The nanoseconds that every value of a bucket is above."""
    return _edge(bucket)


def upper_bound(bucket: int) -> float:
    """The nanoseconds that no value of a bucket is above; inf for the last."""
    return float("inf") if bucket == OVERFLOW else _edge(bucket + 1)


def _edge(bucket: int) -> int:
    if bucket < _SUB:
        return bucket << UNIT_BITS
    doubling, within = divmod(bucket, _SUB)
    return (_SUB + within) << (doubling - 1 + UNIT_BITS)


def quantile(counts: Counts, share: float) -> float:
    """The latency that `share` of the counted ones do not pass, by nearest rank.

    Args:
        counts: (BUCKETS,) counts.
        share: 0 to 1; 0 is the smallest.

    Returns:
        Nanoseconds, the middle of the bucket: within 1/128 of the true one from 1 us up to
        2**40 ns, which stands for everything longer. NaN where nothing was counted.

    Raises:
        ValueError: `share` is outside 0 to 1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"quantile: expected a share of 0 to 1, got {share}")
    upto = np.cumsum(counts)
    if upto[-1] == 0:
        return float("nan")
    rank = max(1, int(np.ceil(share * upto[-1])))
    bucket = int(np.searchsorted(upto, rank))
    return float(_edge(bucket)) if bucket == OVERFLOW else (_edge(bucket) + _edge(bucket + 1)) / 2


def classic(counts: Counts) -> list[int]:
    """Cumulative counts at CLASSIC_BOUNDS_NS and, last, of everything (`le="+Inf"`)."""
    upto = np.cumsum(counts)
    return [int(upto[place]) for place in _CLASSIC_PLACES]


_CLASSIC_PLACES: Final = (
    *(((bits - UNIT_BITS - SUB_BITS + 1) << SUB_BITS) - 1 for bits in CLASSIC_BITS),
    OVERFLOW,
)
