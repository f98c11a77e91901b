"""Slow, obvious twins of the kernels. Nothing here is meant to be fast."""

from __future__ import annotations

import math
from collections.abc import Sequence


def latency_buckets() -> list[tuple[int, float]]:
    """Every bucket of the latency histogram as (lower, upper], built from its description."""
    edges = [16 * n for n in range(64)]
    start = 1024
    while start < 2**40:
        edges += [start + n * start // 64 for n in range(64)]
        start *= 2
    edges.append(2**40)
    return [*zip(edges, map(float, edges[1:]), strict=False), (2**40, math.inf)]


def latency_bucket(ns: int) -> int:
    """The bucket that holds a latency, by looking at all of them."""
    if ns <= 0:
        return 0
    return next(at for at, (low, high) in enumerate(latency_buckets()) if low < ns <= high)


def nearest_rank(values: Sequence[int], share: float) -> int:
    """The smallest value that at least `share` of all do not pass."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]
