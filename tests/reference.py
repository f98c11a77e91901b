"""Slow, obvious twins of the kernels. Nothing here is meant to be fast."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from fractions import Fraction
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


def shares(counts: Sequence[int], floor: float = 0.0) -> list[float]:
    """Counts as parts of their sum, none below the floor."""
    return [max(count / sum(counts), floor) for count in counts]


def kl(p: Sequence[float], q: Sequence[float]) -> float:
    """KL(p || q) in nats; shares of 0 in p add nothing."""
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def divergences(expected: Sequence[int], observed: Sequence[int], floor: float) -> list[float]:
    """All divergences of one column by their definitions, in the kernel's order."""
    p, q = shares(expected), shares(observed)
    high_p, high_q = shares(expected, floor), shares(observed, floor)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    pairs = list(zip(p, q, strict=True))
    js = (kl(p, middle) + kl(q, middle)) / 2
    return [
        math.fsum((a - b) * math.log(a / b) for a, b in zip(high_p, high_q, strict=True)),
        kl(high_p, high_q) - math.fsum(high_p) + math.fsum(high_q),
        js,
        math.sqrt(max(js, 0.0)),
        math.sqrt(math.fsum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in pairs) / 2),
        math.fsum(abs(a - b) for a, b in pairs) / 2,
        max(abs(a - b) for a, b in pairs),
    ]


def steps(counts: Sequence[int]) -> list[Fraction]:
    """The distribution function after each bin, exactly."""
    return [Fraction(sum(counts[: at + 1]), sum(counts)) for at in range(len(counts))]


def ks_of_bins(expected: Sequence[int], observed: Sequence[int]) -> tuple[float, float]:
    """The smallest and the largest D that samples with these counts can have, exactly."""
    p, q = [Fraction(0), *steps(expected)], [Fraction(0), *steps(observed)]
    low = max(abs(a - b) for a, b in zip(p, q, strict=True))
    inside = [max(q[at + 1] - p[at], p[at + 1] - q[at]) for at in range(len(expected))]
    return float(low), float(max(low, *inside))


def wasserstein_of_bins(
    expected: Sequence[int], observed: Sequence[int], edges: Sequence[float]
) -> float:
    """The area between two distribution functions that are straight inside each bin, exactly."""
    p, q = [Fraction(0), *steps(expected)], [Fraction(0), *steps(observed)]
    area = Fraction(0)
    for at in range(len(expected)):
        left, right = q[at] - p[at], q[at + 1] - p[at + 1]
        size = Fraction(edges[at + 1]) - Fraction(edges[at])
        if left * right < 0:
            area += size * (left**2 + right**2) / (2 * (abs(left) + abs(right)))
        else:
            area += size * abs(left + right) / 2
    return float(area)


def urn(start: Sequence[Fraction], rows: Sequence[int]) -> Fraction:
    """The probability of rows drawn one by one from Polya's urn, which gains what is drawn."""
    content, probability = list(start), Fraction(1)
    for group in rows:
        probability *= content[group] / sum(content, Fraction(0))
        content[group] += 1
    return probability


def e_value(reference: Sequence[int], rows: Sequence[int], concentration: int) -> Fraction:
    """The e-value of independent rows (each the group it falls into), row by row and exactly."""
    null = [count + Fraction(1, 2) for count in reference]
    whole = sum(null, Fraction(0))
    change = min(Fraction(concentration), whole / 4)
    return urn([change * part / whole for part in null], rows) / urn(null, rows)


def e_bh(e_values: Sequence[float], alpha: float) -> set[int]:
    """The largest set whose every member is at least columns / (alpha times its size)."""
    ordered = sorted(range(len(e_values)), key=lambda at: -e_values[at])
    named = 0
    for size in range(1, len(ordered) + 1):
        if e_values[ordered[size - 1]] >= len(e_values) / (alpha * size):
            named = size
    return set(ordered[:named])


def neighbours_differ(
    panes: Sequence[Sequence[int]], scale: int, scores: Sequence[float]
) -> tuple[float, int]:
    """Standardised squared differences of neighbouring batches along scores: sum and number."""
    size = 2**scale
    whole = [panes[at : at + size] for at in range(0, len(panes) - size + 1, size)]
    batches = [[sum(group) for group in zip(*batch, strict=True)] for batch in whole]
    some = [batch for batch in batches if any(batch)]
    total = 0.0
    for one, other in itertools.pairwise(some):
        first, second = (
            sum(s * c for s, c in zip(scores, batch, strict=True)) / sum(batch)
            for batch in (one, other)
        )
        total += (first - second) ** 2 / (1 / sum(one) + 1 / sum(other))
    return total, max(len(some) - 1, 0)
