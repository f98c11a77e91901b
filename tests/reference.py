"""Slow, obvious twins of the kernels. Nothing here is meant to be fast."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


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


def json_floats(text: bytes, shape: Sequence[int]) -> list[float] | None:
    """The numbers of arrays nested to `shape`, by the standard library; None for anything else."""
    try:
        # The integer -0 is 0; NaN and infinity are not JSON.
        nested = json.loads(text, parse_int=lambda token: float(token) + 0.0, parse_constant=int)
    except ValueError:
        return None
    flat: list[Any] = [nested]
    for size in shape:
        if any(type(part) is not list or len(part) != size for part in flat):
            return None
        flat = [inner for part in flat for inner in part]
    return flat if all(type(number) is float for number in flat) else None
