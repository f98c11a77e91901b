"""Traffic as guards are shown it, drawn at random."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gateway.rollouts.looks import Arm, Look, Outputs
from kernels import histogram, timing


def arm(
    rng: np.random.Generator,
    requests: int,
    error_rate: float = 0.0,
    refused_rate: float = 0.0,
    median_ms: float = 2.0,
    breach_rate: float = 0.0,
    non_finite_rate: float = 0.0,
    cost_ms: float = 4.0,
) -> Arm:
    """What came to a version in a second."""
    errors = int(rng.binomial(requests, error_rate))
    refused = int(rng.binomial(requests - errors, refused_rate))
    answered = requests - errors - refused
    latencies = np.zeros(histogram.BUCKETS, np.int64)
    took = np.exp(rng.normal(np.log(median_ms * 1e6), 0.5, answered))
    histogram.record(latencies, took.astype(np.int64))
    values = answered * 3
    return Arm(
        requests=requests,
        errors=errors,
        refused=refused,
        rows=answered,
        non_finite=int(rng.binomial(answered, non_finite_rate)),
        latencies=latencies,
        runs=runs(rng, answered, cost_ms),
        values=values,
        breaches=int(rng.binomial(values, breach_rate)),
    )


def runs(rng: np.random.Generator, rows: int, cost_ms: float, rows_each: int = 4) -> np.ndarray:
    """Batches of a few sizes, each row as costly as the run itself."""
    sizes = 1 + rng.poisson(rows_each - 1, rows // rows_each)
    took = cost_ms * 1e6 * (1.0 + sizes) * rng.lognormal(0.0, 0.3, len(sizes))
    found = np.zeros((timing.MAX_SIZE + 1, 2), np.int64)
    np.add.at(found, sizes - 1, np.stack([np.ones(len(sizes)), took], axis=1).astype(np.int64))
    return found


def scores(
    rng: np.random.Generator, rows: int, base_rows: int, shift: float = 0.0, bins: int = 20
) -> Outputs:
    """Scores of both versions by the deciles of the baseline's, the candidate's shifted."""
    edges = np.quantile(np.random.default_rng(0).normal(size=100_000), np.arange(1, bins) / bins)

    def counted(some: int, by: float) -> np.ndarray:
        places = np.searchsorted(edges, rng.normal(by, 1.0, some))
        return np.bincount(places, minlength=bins)[None, :]

    return Outputs(
        ["score"],
        [bins],
        [True],
        counted(rows, shift),
        counted(base_rows, 0.0),
        np.ones(1),
    )


def seconds(
    rng: np.random.Generator,
    many: int,
    a_second: int = 400,
    share: float = 0.25,
    shift: float = 0.0,
    baseline: dict[str, float] | None = None,
    **candidate: float,
) -> Iterator[Look]:
    """So many seconds of both."""
    for _ in range(many):
        rows = int(rng.binomial(a_second, share))
        base_rows = a_second - rows
        base = arm(rng, base_rows, **(baseline or {}))
        outputs = scores(rng, rows, base_rows, shift)
        yield Look(arm(rng, rows, **((baseline or {}) | candidate)), base, outputs)
