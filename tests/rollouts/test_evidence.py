"""Evidence: fair whatever comes before, right by its definition, and never forgotten."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rollouts import evidence
from gateway.rollouts.evidence import AgainstBaseline, AgainstBound, Evidence
from tests.odds import terms

# Trials of the candidate and the baseline, and failures of both, moment by moment.
MOMENTS = ((3, 7, 3), (1, 9, 2), (4, 4, 5))


def mean_of_e(tolerated, odds, which):
    """Over all that may come, where the odds ratio is `odds[t]` in moment t."""
    laws = [
        terms(together, trials, base, ratio)
        for (trials, base, together), ratio in zip(MOMENTS, odds, strict=True)
    ]
    mean = 0.0
    for hits in itertools.product(*laws):
        found = AgainstBaseline(float(tolerated))
        for one, (trials, base, together) in zip(hits, MOMENTS, strict=True):
            found.add(one, trials, together - one, base)
        likely = math.prod(float(law[one]) for law, one in zip(laws, hits, strict=True))
        mean += likely * math.exp(as_if_independent(getattr(found, which)))
    return mean


def as_if_independent(found):
    """Before it is divided by any design effect."""
    found.effect = 1.0
    return found.log_e


@pytest.mark.parametrize("which", ["worse", "better"])
def test_a_rate_at_the_tolerated_ratio_has_a_mean_of_1(which):
    tolerated = Fraction(5, 4)
    assert mean_of_e(tolerated, [tolerated] * 3, which) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("which", "odds"),
    [
        pytest.param("worse", (Fraction(1), Fraction(1, 3), Fraction(5, 4)), id="tolerable"),
        pytest.param("better", (Fraction(2), Fraction(5, 4), Fraction(7)), id="intolerable"),
    ],
)
def test_what_is_not_so_has_no_evidence_even_if_ratios_change_all_the_time(which, odds):
    assert mean_of_e(Fraction(5, 4), odds, which) <= 1.0 + 1e-9


def test_against_a_bound_it_is_1_at_most_whatever_rates_average_to_it():
    bound, sizes = 0.3, (2, 3, 2)
    rates = (0.1, 0.3, 0.5)  # of equal sums, with the sizes, to the bound
    assert sum(r * n for r, n in zip(rates, sizes, strict=True)) == pytest.approx(bound * 7)
    mean = 0.0
    for hits in itertools.product(*(range(n + 1) for n in sizes)):
        found, likely = AgainstBound(bound), 1.0
        for one, n, rate in zip(hits, sizes, rates, strict=True):
            found.add(one, n)
            likely *= math.comb(n, one) * rate**one * (1 - rate) ** (n - one)
        mean += likely * math.exp(as_if_independent(found.worse))
    assert mean <= 1.0 + 1e-9


def test_it_is_the_mean_of_the_ratios_by_counting_all_the_ways():
    hits, (trials, base, together) = 3, MOMENTS[0]
    found = AgainstBaseline(1.25)
    found.add(hits, trials, together - hits, base)
    under = terms(together, trials, base, Fraction(5, 4))[hits]
    ratios = []
    for step in evidence._STEPS:
        odds = Fraction(1.25 * math.exp(step)).limit_denominator(10**9)
        ratios.append(float(terms(together, trials, base, odds)[hits] / under))
    assert math.exp(as_if_independent(found.worse)) == pytest.approx(
        0.8 * np.mean(ratios) + 0.2, rel=1e-6
    )


@given(st.lists(st.integers(1, 5000), max_size=60))
def test_what_says_nothing_leaves_the_evidence_at_1_however_often_it_is_put_in_anew(rows):
    found = Evidence()
    for one in rows:
        found.add(np.zeros(len(evidence._STEPS)), one, 1.0)
    assert found.log_e == pytest.approx(0.0, abs=1e-12)


def fed(seed, rates, base_rate=0.01, moments=200, trials=100, base_trials=1900):
    rng = np.random.default_rng(seed)
    found = AgainstBaseline(1.25)
    for rate in rates:
        for _ in range(moments):
            hits, base_hits = rng.binomial(trials, rate), rng.binomial(base_trials, base_rate)
            found.add(int(hits), trials, int(base_hits), base_trials)
    return found


def test_twice_the_errors_are_found_and_as_many_are_not():
    assert fed(1, [0.02]).worse.log_e > math.log(1000)
    assert fed(2, [0.01]).worse.most < math.log(100)
    assert fed(3, [0.005]).better.log_e > math.log(1000)


def test_a_candidate_that_becomes_worse_is_found_soon_however_good_it_was():
    good = fed(4, [0.005] * 5)  # 100,000 rows, and 1e5 to 1 or more that it is better
    assert good.better.log_e > math.log(1e5)
    rng = np.random.default_rng(5)
    moments = 0
    while good.worse.log_e < math.log(100):
        good.add(int(rng.binomial(100, 0.04)), 100, int(rng.binomial(1900, 0.01)), 1900)
        moments += 1
        assert moments < 100, "10,000 rows"


def test_bursts_count_for_less_than_as_many_single_failures():
    rng = np.random.default_rng(6)
    alone, bursts = AgainstBaseline(1.0), AgainstBaseline(1.0)
    for _ in range(400):
        hits, base_hits = int(rng.binomial(100, 0.02)), int(rng.binomial(100, 0.02))
        alone.add(hits, 100, base_hits, 100)
        # As many in all, eight at a time.
        bursts.add(8 * int(rng.poisson(0.25)), 100, 8 * int(rng.poisson(0.25)), 100)
    assert alone.effect < 1.5
    assert 4.0 < bursts.effect < 16.0


@pytest.mark.parametrize("burst", [1, 8])
def test_no_more_rollouts_are_failed_than_may_be_though_failures_come_in_bursts(burst):
    rng = np.random.default_rng(7)
    failed = 0
    for _ in range(200):
        found = AgainstBaseline(1.25)
        for _ in range(150):
            hits, base_hits = (burst * rng.poisson(4.0 / burst, 2)).tolist()
            found.add(min(hits, 200), 200, min(base_hits, 200), 200)
        failed += found.worse.most >= math.log(100)
    assert failed <= 2 + 4 * (burst > 1)


def test_the_first_burst_alone_convinces_nobody():
    found = AgainstBaseline(1.25)
    found.add(30, 100, 0, 1900)
    assert found.worse.log_e == 0.0
    for _ in range(9):
        found.add(30, 100, 0, 1900)
    assert found.worse.log_e > math.log(100)


def test_a_successor_goes_on_from_what_was_remembered():
    whole, half = fed(8, [0.012]), fed(8, [0.012], moments=100)
    successor = AgainstBaseline(1.25, json.loads(json.dumps(half.memory())))
    rng = np.random.default_rng(8)
    drawn = [(rng.binomial(100, 0.012), rng.binomial(1900, 0.01)) for _ in range(200)]
    for hits, base_hits in drawn[100:]:
        successor.add(int(hits), 100, int(base_hits), 1900)
    assert successor.memory() == whole.memory()


def test_a_bound_is_passed_and_failed_by_what_is_below_and_above_it():
    rng = np.random.default_rng(9)
    below, above = AgainstBound(0.01), AgainstBound(0.01)
    for _ in range(100):
        below.add(int(rng.binomial(100, 0.004)), 100)
        above.add(int(rng.binomial(100, 0.02)), 100)
    assert below.better.log_e > math.log(100)
    assert below.worse.most < math.log(100)
    assert above.worse.log_e > math.log(100)


def test_no_error_at_all_is_evidence_against_any_rate():
    found = AgainstBound(0.002)
    for _ in range(50):
        found.add(0, 100)
    assert found.better.log_e > math.log(200)
