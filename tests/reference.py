"""Slow, obvious twins of the kernels. Nothing here is meant to be fast."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np


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


def count_column(values: Sequence[Any], edges: Sequence[Any], low: Any, high: Any) -> Counts:
    """One numeric column by hand: bins of right-closed intervals, and what has none."""
    counts = Counts([0] * (len(edges) + 1))
    for value in values:
        if value != value:
            counts.nan += 1
        elif value in (math.inf, -math.inf):
            counts.pos_inf += value > 0
            counts.neg_inf += value < 0
        else:
            counts.bins[sum(edge < value for edge in edges)] += 1
            counts.below += value < low
            counts.above += value > high
            counts.seen.append(value)
    return counts


def count_categories(values: Sequence[Any], categories: Sequence[Any]) -> Counts:
    """One column of numbers that stand for categories, by hand."""
    counts = Counts([0] * len(categories))
    for value in values:
        if value != value:
            counts.nan += 1
        elif value in (math.inf, -math.inf):
            counts.pos_inf += value > 0
            counts.neg_inf += value < 0
        else:
            if value in categories:
                counts.bins[list(categories).index(value)] += 1
            else:
                counts.unseen += 1
            counts.seen.append(value)
    return counts


def count_ids(values: Sequence[int], categories: int) -> Counts:
    """One column of category ids, by hand."""
    counts = Counts([0] * categories)
    for value in values:
        if 0 <= value < categories:
            counts.bins[value] += 1
        elif value == -2:
            counts.null += 1
        elif value == -3:
            counts.wrong_type += 1
        else:
            counts.unseen += 1
    return counts


@dataclass
class Counts:
    """What is counted of one column, and the finite values that its moments are of."""

    bins: list[int]
    nan: int = 0
    null: int = 0
    pos_inf: int = 0
    neg_inf: int = 0
    below: int = 0
    above: int = 0
    wrong_type: int = 0
    unseen: int = 0
    seen: list[Any] = field(default_factory=list)

    def special(self) -> list[int]:
        """The counters beside the bins, in the order of a slot's words."""
        return [
            *(self.nan, self.null, self.pos_inf, self.neg_inf),
            *(self.below, self.above, self.wrong_type, self.unseen),
        ]

    def moments(self, centre: float) -> tuple[int, float, float, float, float]:
        """Number, sum and sum of squares of value - centre, minimum, maximum; summed in order."""
        total = squares = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for value in self.seen:
                off = np.float64(value) - centre
                total, squares = total + off, squares + off * off
        reals = [float(value) for value in self.seen]
        least, most = min(reals, default=math.inf), max(reals, default=-math.inf)
        return len(reals), float(total), float(squares), least, most


def image_figures(channel: Sequence[float], low: float, high: float) -> list[float]:
    """Mean, deviation, range and saturated share of one channel's pixels."""
    mean = math.fsum(channel) / len(channel)
    spread = math.fsum((x - mean) ** 2 for x in channel) / len(channel)
    saturated = sum(x <= low or x >= high for x in channel) / len(channel)
    return [mean, math.sqrt(spread), max(channel) - min(channel), saturated]


def sign_words(seed: int) -> Iterator[int]:
    """SplitMix64: the 64-bit words that follow a seed."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        yield mixed ^ (mixed >> 31)


def projection_signs(seed: int, width: int) -> list[list[int]]:
    """The signs of eight projections: a random one a place, times a Hadamard matrix' row."""
    hadamard = [[1]]
    for _ in range(3):
        hadamard = [row + row for row in hadamard] + [
            row + [-sign for sign in row] for row in hadamard
        ]
    words = sign_words(seed)
    bits = [word >> place & 1 for word in islice(words, -(-width // 64)) for place in range(64)]
    return [[(1 - 2 * bits[d]) * row[d % 8] for d in range(width)] for row in hadamard]


def embedding_figures(row: Sequence[float], seed: int) -> list[float]:
    """Norm, mean, deviation and projections of one row."""
    mean = math.fsum(row) / len(row)
    spread = math.fsum((x - mean) ** 2 for x in row) / len(row)
    projections = [
        math.fsum(sign * x for sign, x in zip(signs, row, strict=True)) / math.sqrt(len(row))
        for signs in projection_signs(seed, len(row))
    ]
    return [math.sqrt(math.fsum(x * x for x in row)), mean, math.sqrt(spread), *projections]


def probability_figures(scores: Sequence[float]) -> list[float]:
    """Entropy in nats, top score, top class and margin of one row."""
    entropy = -math.fsum(p * math.log(p) for p in scores if p)
    first, second = sorted(scores, reverse=True)[:2]
    return [entropy, first, list(scores).index(first), first - second]
