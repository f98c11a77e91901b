"""Intervals hold for whoever looks all the time, and say something nonetheless."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outcomes import intervals as i

RUNS, ROWS = 400, 5000
LOOKS = np.unique(np.geomspace(5, ROWS, 60).astype(int))
# 20 of 400 are to be expected at most; three standard deviations more would be chance.
MAX_MISSED = 20 + 3 * math.sqrt(19)


def cumulated(values):
    """(runs, looks) sums of (runs, rows)."""
    return values.cumsum(axis=1)[:, LOOKS - 1]


def missed(low, high, truth):
    """Runs in which the truth lay outside at any look."""
    return int(((low > truth) | (high < truth)).any(axis=1).sum())


def interval(hits, trials, **more):
    found = i.rate_interval(hits, trials, **more)
    assert found is not None
    return found


@given(st.integers(1, 300), st.data())
def test_a_rate_lies_around_what_was_found_and_more_rows_say_more(trials, data):
    hits = data.draw(st.integers(0, trials))
    low, high = interval(hits, trials)
    assert 0.0 <= low <= hits / trials <= high <= 1.0
    wide = interval(hits, trials, alpha=0.001)
    assert wide[0] <= low
    assert high <= wide[1]
    narrow = interval(hits * 100, trials * 100)
    assert narrow[1] - narrow[0] < high - low


def test_without_trials_nothing_is_known():
    assert i.rate_interval(0, 0) is None
    assert i.rate(0, 0) == i.Figure(None, 0)
    low, high = i.rate_intervals(np.zeros(1), np.zeros(1))
    assert (low.item(), high.item()) == (0.0, 1.0)


@pytest.mark.parametrize("rate", [0.003, 0.1, 0.5, 1.0])
def test_a_rate_is_covered_at_all_times_at_once(rate):
    rng = np.random.default_rng(6)
    hits = cumulated((rng.random((RUNS, ROWS)) < rate).astype(float))
    trials = np.broadcast_to(LOOKS, hits.shape)
    assert missed(*i.rate_intervals(hits, trials), rate) <= MAX_MISSED


BOUNDED = {
    "rare": lambda rng, shape: rng.beta(0.1, 5.0, shape),
    "around-0": lambda rng, shape: rng.random(shape) * 2.0 - 1.0,
    "both-ends": lambda rng, shape: rng.choice([-1.0, 1.0], shape, p=[0.3, 0.7]),
    "lopsided": lambda rng, shape: rng.choice([-1.0, 0.05], shape, p=[0.01, 0.99]),
}
BOUNDED_MEANS = {"rare": 0.1 / 5.1, "around-0": 0.0, "both-ends": 0.4, "lopsided": 0.0395}


@pytest.mark.parametrize("shape", BOUNDED)
def test_a_bounded_mean_is_covered_at_all_times_at_once(shape):
    values = BOUNDED[shape](np.random.default_rng(7), (RUNS, ROWS))
    means = cumulated(values) / LOOKS
    radius = i.bounded_radius(LOOKS, cumulated(values**2))
    assert missed(means - radius, means + radius, BOUNDED_MEANS[shape]) <= MAX_MISSED


@pytest.mark.parametrize("chance", [0.001, 0.02, 0.4])
def test_a_sum_of_known_spread_is_covered_at_all_times_at_once(chance):
    surprises = np.random.default_rng(10).random((RUNS, ROWS)) < chance
    apart = np.abs(cumulated(surprises - chance))
    radius = [i.known_radius(n * chance * (1.0 - chance), 1.0 - chance) for n in LOOKS.tolist()]
    assert int((apart > radius).any(axis=1).sum()) <= MAX_MISSED


UNBOUNDED = {
    "normal": (lambda rng, shape: rng.normal(3.0, 2.0, shape), 3.0),
    "exponential": (lambda rng, shape: rng.exponential(1.0, shape), 1.0),
    "two-values": (lambda rng, shape: (rng.random(shape) < 0.3).astype(float), 0.3),
    "squares": (lambda rng, shape: rng.normal(size=shape) ** 2, 1.0),
}


@pytest.mark.parametrize("shape", UNBOUNDED)
def test_an_asymptotic_mean_is_covered_from_its_first_row_on(shape):
    draw, truth = UNBOUNDED[shape]
    values = draw(np.random.default_rng(8), (RUNS, ROWS))
    means = cumulated(values) / LOOKS
    radius = i.asymptotic_radius(LOOKS, cumulated(values**2) / LOOKS - means**2)
    radius[:, LOOKS < i.MIN_ASYMPTOTIC] = math.inf
    assert missed(means - radius, means + radius, truth) <= MAX_MISSED


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_quantile_is_covered_at_all_times_at_once(share):
    below = cumulated((np.random.default_rng(9).random((RUNS, ROWS)) < share).astype(float))
    ranks = np.array([i.quantile_ranks(share, n) for n in LOOKS.tolist()])
    outside = (below <= ranks[:, 0]) | (below >= ranks[:, 1])
    assert int(outside.any(axis=1).sum()) <= MAX_MISSED


def test_a_quantile_among_few_values_may_lie_anywhere():
    assert i.quantile_ranks(0.5, 3) == (-1, 4)
    low, high = i.quantile_ranks(0.05, 40)
    assert (low, high <= 40) == (-1, True)


# A fixed-size interval is 1.96 standard errors to each side.
@pytest.mark.parametrize("n", [1000, 10_000, 1_000_000])
def test_looking_all_the_time_costs_no_more_than_two_and_a_half_times_the_width(n):
    error = math.sqrt(0.3 * 0.7 / n)
    low, high = interval(0.3 * n, n)
    wide = {
        "rate": (high - low) / 2.0,
        "bounded": float(i.bounded_radius(n, 0.3 * 0.7 * n)),
        "known": i.known_radius(0.3 * 0.7 * n, 0.7) / n,
        "asymptotic": float(i.asymptotic_radius(n, 0.3 * 0.7)),
    }
    assert all(1.96 * error < radius < 2.5 * 1.96 * error for radius in wide.values()), wide
    low_rank, high_rank = i.quantile_ranks(0.3, n)
    assert (high_rank - low_rank) / 2.0 / n < 2.5 * 1.96 * error


def test_a_mean_of_few_rows_has_no_asymptotic_interval():
    assert i.mean(i.MIN_ASYMPTOTIC - 1, 10.0, 20.0).interval is None
    assert i.mean(i.MIN_ASYMPTOTIC, 10.0, 20.0).interval is not None
    assert i.mean(0, 0.0, 0.0) == i.Figure(None, 0)
    assert i.mean(200, 1e308, math.inf) == i.Figure(5e305, 200)
