"""Simulated days: judged as the product judges, and counted with exact intervals."""

from __future__ import annotations

import argparse
import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gateway.drift.design_effect import DesignEffect
from gateway.drift.rules import DEFAULT, LOOKBACK_ROWS
from gateway.drift.verdict import judge
from kernels.evidence import CONCENTRATION, column_log_e
from loadtest import simulate_alarms
from loadtest.simulate_alarms import BINS, PANE_S, exact_interval, first_alarm


def day(**given):
    plain = {"seconds": 3000, "rate": 1, "columns": 1, "correlation": 0.0, "reference": 5000}
    plain |= {"reference_correlation": 0.0, "reference_effect": 1.0, "seed": 5}
    plain |= {"shift": 0.0, "after": 0, "points": 0.0, "categories": 0}
    return argparse.Namespace(**(plain | given))


@numba.njit
def _drawn(seed, seconds, rate, correlation, reference, shift, after, bins):
    """The same reference and rows as the simulation draws, row by row."""
    np.random.seed(seed)  # noqa: NPY002, the generator that compiled code has
    edges, counts = simulate_alarms._edges(reference, 0.0, bins)
    values = np.empty((seconds, rate))
    state = np.random.standard_normal()  # noqa: NPY002
    for second in range(seconds):
        for row in range(rate):
            fresh = np.random.standard_normal()  # noqa: NPY002
            state = correlation * state + math.sqrt(1.0 - correlation * correlation) * fresh
            values[second, row] = state + (shift if second >= after else 0.0)
    return edges, counts, values


def by_the_product(options):
    """The first second at which `judge` says drift of any look-back, and the effect at the end."""
    edges, counts, values = _drawn(
        options.seed,
        options.seconds,
        options.rate,
        options.correlation,
        options.reference,
        options.shift,
        options.after,
        options.categories or BINS,
    )
    base = simulate_alarms.baseline(options.reference, options.categories)
    assert counts.tolist() == base.counts[0].tolist()
    bins = np.searchsorted(edges, values, "left")
    per_second = np.stack([np.bincount(row, minlength=len(counts)) for row in bins])
    upto = np.concatenate([np.zeros((1, len(counts)), np.int64), per_second.cumsum(axis=0)])
    learnt, alarm = DesignEffect.unknown(base), None
    for second in range(options.seconds):
        learnt.add(base, per_second[second][None])
        effect = learnt.estimate()
        rows = (second + 1) * options.rate
        for wanted in LOOKBACK_ROWS:
            start = max(0, (rows - wanted) // (options.rate * PANE_S)) * PANE_S
            window = upto[second + 1] - upto[start]
            if alarm is None and "drift" in judge(base, window[None], effect).verdicts:
                alarm = second
    return alarm, learnt.estimate()[0]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(day(shift=0.5, after=1500), id="shift"),
        pytest.param(day(shift=0.3, after=600, rate=4, seconds=1600), id="four-rows-a-second"),
        pytest.param(day(correlation=0.5, shift=0.9, after=1000), id="autocorrelated"),
        pytest.param(day(categories=8, shift=0.6, after=1500), id="categories"),
        pytest.param(day(), id="nothing"),
    ],
)
def test_an_alarm_comes_in_the_second_in_which_the_product_raises_it(options):
    got = simulate_alarms.simulate_day(0, options, DEFAULT)
    alarm, effect = by_the_product(options)
    assert (got["alarm"] and got["alarm"]["second"]) == alarm
    assert (alarm is None) == (options.shift == 0.0)
    assert got["effects"] == [pytest.approx(effect, rel=1e-12, nan_ok=True)]


@settings(max_examples=300)
@given(
    st.integers(200, 130_000),
    st.sampled_from([1.0, 1.3, 4.0, 19.0]),
    st.lists(st.floats(0.5, 1.6), min_size=10, max_size=10),
    st.integers(0, 2**32 - 1),
)
def test_no_window_is_passed_over_that_could_be_part_of_an_alarm(rows, effect, tilt, seed):
    shares = np.array(tilt) / sum(tilt)
    live = np.random.default_rng(seed).multinomial(rows, shares)
    expected, candidate = np.full(10, 500), -DEFAULT.log10_level * math.log(10.0)
    chi_square = ((live - rows / 10) ** 2 / (rows / 10)).sum() / effect
    if chi_square < simulate_alarms.least_chi_square(rows / effect, candidate, 5005.0):
        assert column_log_e(expected, live, 10, 1.0, effect, CONCENTRATION) < candidate


def test_categories_cut_from_something_slow_raise_no_alarm_where_nothing_changed():
    # By the mean of all directions (an effect of 5) five of these six days had one.
    slow = day(categories=8, correlation=0.9, columns=30, seconds=6000, seed=1)
    days = [simulate_alarms.simulate_day(number, slow, DEFAULT) for number in range(4, 10)]
    assert [one["alarm"] for one in days] == [None] * 6
    assert np.nanmedian([one["effects"] for one in days]) > 12.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_independent_categories_show_a_tenth_more_of_one_within_two_thousand_rows(seed):
    jump = day(categories=8, points=0.1, after=1500, seconds=3500, seed=seed)
    got = simulate_alarms.simulate_day(0, jump, DEFAULT)
    assert got["alarm"]["second"] >= 1500
    assert got["alarm"]["columns"] == [0]


def test_columns_are_taken_together_by_e_bh_and_need_a_large_ks():
    enough = (math.log10(2) - DEFAULT.log10_level) * math.log(10.0) + 1e-9
    half = enough - math.log(2)
    one, other = (3.0, 0.0, enough, 0.06, 0), (3.0, 0.0, enough, 0.04, 1)
    assert first_alarm([one], 2, DEFAULT) == {"second": 3, "columns": [0]}
    assert first_alarm([other], 2, DEFAULT) is None
    assert first_alarm([(4.0, 1.0, half, 0.06, 0)], 2, DEFAULT) is None
    both = [(4.0, 1.0, half, 0.06, 0), (4.0, 1.0, half, 0.06, 1)]
    assert first_alarm(both, 2, DEFAULT) == {"second": 4, "columns": [0, 1]}


@given(st.integers(1, 3000), st.floats(0, 1))
def test_intervals_are_clopper_and_pearsons(trials, share):
    events = round(share * trials)
    wanted = stats.binomtest(events, trials).proportion_ci(method="exact")
    assert exact_interval(events, trials) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
