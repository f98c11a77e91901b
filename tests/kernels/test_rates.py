"""Ends of rates are those of the slow twin, and hold however often one looks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.outcomes.intervals import rate_interval
from kernels import rates


@pytest.mark.parametrize(
    ("hits", "trials"), [(0, 1), (1, 1), (0, 500), (3, 500), (250, 500), (499, 500), (900, 32_000)]
)
@pytest.mark.parametrize("alpha", [0.05, 1e-5])
def test_ends_are_those_of_the_interval(hits, trials, alpha):
    limit = math.log(1.0 / alpha)
    low, high = rate_interval(hits, trials, alpha) or (0.0, 1.0)
    assert rates.lowest(hits, trials, limit) == pytest.approx(low, abs=1e-9)
    assert rates.highest(hits, trials, limit) == pytest.approx(high, abs=1e-9)
    for rate in (low - 1e-6, low + 1e-6):
        if 0.0 < rate < 1.0:
            assert rates.exceeds(hits, trials, rate, limit) == (rate < low)


def test_without_trials_every_rate_is_possible():
    assert (rates.lowest(0.0, 0.0, 3.0), rates.highest(0.0, 0.0, 3.0)) == (0.0, 1.0)
    assert not rates.exceeds(0.0, 0.0, 0.0, 3.0)


def test_nothing_exceeds_a_rate_of_one():
    assert not rates.exceeds(10.0, 10.0, 1.0, 0.1)
    assert rates.exceeds(1.0, 10.0, 0.0, 3.0)


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_whoever_looks_after_each_trial_is_seldom_wrong(rate):
    rng, limit, wrong = np.random.default_rng(4), math.log(20.0), 0
    for _ in range(300):
        hits = (rng.random(1000) < rate).cumsum()
        wrong += any(rates.exceeds(hit, n, rate, limit) for n, hit in enumerate(hits.tolist(), 1))
    assert wrong <= 0.05 * 300
