"""Shares that are not as they were given are noticed, and those that are hardly ever doubted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.experiments.mismatch import ALPHA, log_e, mismatch
from gateway.experiments.sums import CLUSTERS


def spread(counts, rng):
    return [
        rng.multinomial(count, np.full(CLUSTERS, 1.0 / CLUSTERS)).astype(float) for count in counts
    ]


def test_the_evidence_is_one_on_average_where_shares_are_as_given():
    shares = np.array([0.3, 0.7])
    n = 12
    total = sum(
        math.comb(n, k) * 0.3**k * 0.7 ** (n - k) * math.exp(log_e(np.array([k, n - k]), shares))
        for k in range(n + 1)
    )
    assert total == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("counts", [(5_000, 5_000), (5_080, 4_920), (0, 0), (1, 0)])
def test_what_chance_does_is_no_alarm(counts):
    assert not mismatch(spread(counts, np.random.default_rng(1)), (1, 1)).alarm


@pytest.mark.parametrize(
    ("counts", "weights"), [((50_900, 49_100), (1, 1)), ((900, 9_100), (1, 7)), ((0, 400), (1, 9))]
)
def test_what_chance_does_not_is_one(counts, weights):
    found = mismatch(spread(counts, np.random.default_rng(1)), weights)
    assert found.alarm
    assert found.requests == counts
    assert found.log10_e > -math.log10(ALPHA)


def test_one_key_that_asks_for_a_tenth_of_all_is_no_mismatch():
    rng = np.random.default_rng(3)
    requests = spread((9_000, 9_000), rng)
    requests[0][5] += 2_000
    assert not mismatch(requests, (1, 1)).alarm
    assert mismatch(spread((11_000, 9_000), rng), (1, 1)).alarm


def test_of_a_few_keys_nothing_is_said():
    requests = [np.zeros(CLUSTERS), np.zeros(CLUSTERS)]
    requests[0][:20], requests[1][:20] = 100.0, 1.0
    assert mismatch(requests, (1, 1)).effect is None
