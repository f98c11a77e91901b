"""Arrivals: rate, kind, seed, end."""

from __future__ import annotations

from itertools import pairwise

import pytest

from loadtest.schedule import arrivals


def test_uniform_arrivals_are_evenly_spaced():
    assert list(arrivals(4.0, "uniform", 1, 1.0)) == [0.0, 0.25, 0.5, 0.75]


def test_poisson_arrivals_have_the_rate_and_the_spread_of_independent_users():
    times = list(arrivals(1000.0, "poisson", 1, 20.0))
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1e-3, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.05)  # exponential gaps: both are equal
    assert times == sorted(times)
    assert times[-1] < 20.0


def test_equal_seeds_give_equal_arrivals():
    one, same, other = (list(arrivals(100.0, "poisson", seed, 1.0)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_rate_must_be_above_zero(rate):
    with pytest.raises(ValueError, match="rate: expected > 0"):
        arrivals(rate, "poisson", 1, 1.0)
