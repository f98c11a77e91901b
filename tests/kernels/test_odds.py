"""Shares of failures: right by their definition, whatever the odds ratio and the sizes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kernels.odds import log_probabilities, moments
from tests.odds import mean_and_variance, terms

ODDS = st.fractions(Fraction(1, 50), 50, max_denominator=50)
SIZES = st.integers(0, 25)


@given(SIZES, SIZES, ODDS, st.data())
def test_it_is_how_likely_it_is_by_counting_all_the_ways(trials, base_trials, odds, data):
    hits = data.draw(st.integers(0, trials))
    base_hits = data.draw(st.integers(0, base_trials))
    wanted = terms(hits + base_hits, trials, base_trials, odds)[hits]
    log_odds = np.array([math.log(odds)])
    found = log_probabilities(hits, trials, base_hits, base_trials, log_odds)
    assert found[0] == pytest.approx(math.log(wanted), abs=1e-10)


@given(SIZES, SIZES, ODDS, st.data())
def test_mean_and_variance_are_those_of_all_the_ways(trials, base_trials, odds, data):
    together = data.draw(st.integers(0, trials + base_trials))
    mean, variance = mean_and_variance(terms(together, trials, base_trials, odds))
    found = moments(together, trials, base_trials, math.log(odds))
    assert found == pytest.approx((float(mean), float(variance)), abs=1e-10)


@pytest.mark.parametrize("odds", [0.02, 0.5, 1.0, 1.25, 2.0, 60.0])
@pytest.mark.parametrize(("trials", "base_trials"), [(50, 950), (2_000, 38_000), (20_000, 20_000)])
def test_large_samples_are_as_scipy_has_them(odds, trials, base_trials):
    rng = np.random.default_rng(1)
    together = (trials + base_trials) // 50
    law = stats.nchypergeom_fisher(trials + base_trials, together, trials, odds)
    hits = int(rng.hypergeometric(together, trials + base_trials - together, trials))
    found = log_probabilities(
        hits, trials, together - hits, base_trials, np.array([math.log(odds)])
    )
    # SciPy rounds its probabilities off where they are nearly nothing.
    if law.pmf(hits) > 1e-12:
        assert found[0] == pytest.approx(law.logpmf(hits), abs=1e-5)
    mean, variance = moments(together, trials, base_trials, math.log(odds))
    assert (mean, variance) == pytest.approx((law.mean(), law.var()), rel=1e-5)


@given(SIZES, SIZES, ODDS, ODDS, st.data())
def test_the_ratio_of_two_is_1_in_the_mean_under_the_second(trials, base, odds, other, data):
    together = data.draw(st.integers(0, trials + base))
    under = terms(together, trials, base, other)
    logs = np.array([math.log(odds), math.log(other)])
    ratios = {hits: log_probabilities(hits, trials, together - hits, base, logs) for hits in under}
    mean = sum(float(under[hits]) * math.exp(two[0] - two[1]) for hits, two in ratios.items())
    assert mean == pytest.approx(1.0, abs=1e-9)


def test_where_nothing_failed_or_one_has_no_trials_nothing_is_learnt():
    logs = np.linspace(-3.0, 3.0, 7)
    for counts in ((0, 10, 0, 90), (10, 10, 90, 90), (0, 0, 5, 90), (5, 10, 0, 0)):
        assert log_probabilities(*counts, logs) == pytest.approx(np.zeros(7), abs=1e-12)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="expected 0 to 5, got 6"):
        log_probabilities(6, 5, 0, 5, np.zeros(1))
    with pytest.raises(ValueError, match="got -1"):
        moments(-1, 5, 5, 0.0)
