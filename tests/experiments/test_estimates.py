"""What arms are worth: intervals that hold however often one looks, of rows that come in keys."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.experiments.estimates import MIN_OF_EACH, compare, estimate
from gateway.experiments.sums import CLUSTERS, MIN_CLUSTERS, Sums
from gateway.outcomes.intervals import MIN_ASYMPTOTIC, rate_interval
from loadtest import simulate_experiments

RNG = np.random.default_rng(7)


def sums_of(values, clusters=None, weights=None):
    values = np.asarray(values, float)
    made = Sums()
    where = np.arange(len(values)) % CLUSTERS if clusters is None else np.asarray(clusters)
    made.add(values, where, None if weights is None else np.asarray(weights, float))
    return made


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), st.integers(1, 59))
def test_sums_of_two_parts_are_those_of_the_whole(values, cut):
    whole, parts = sums_of(values), Sums()
    clusters = np.arange(len(values))
    for part in (slice(0, cut), slice(cut, None)):
        parts.add(np.array(values)[part], clusters[part])
    assert parts.n == whole.n == len(values)
    assert parts.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert parts.variance == pytest.approx(np.var(values), rel=1e-6, abs=1e-3)
    assert (parts.least, parts.most) == (min(values), max(values))


def test_what_is_not_known_counts_nowhere():
    found = sums_of([1.0, math.nan, 0.0])
    assert (found.n, found.mean, found.binary) == (2.0, 0.5, True)
    assert estimate(Sums(), 0.05).mean is None


def test_only_zeros_and_ones_are_a_rate():
    assert sums_of([0, 1, 1]).binary
    assert not sums_of([0, 1, 0.5]).binary
    assert not sums_of([2, -1]).binary


def test_rows_of_one_key_count_as_one_where_they_are_alike():
    values = np.repeat(RNG.integers(0, 2, 500), 20)
    keys = np.repeat(np.arange(500), 20)
    alike = sums_of(values, keys)
    assert alike.effect == pytest.approx(20.0, rel=0.01)
    assert alike.independent == pytest.approx(500.0, rel=0.01)
    assert sums_of(RNG.permutation(values), keys).effect < 2.0


def test_of_a_few_keys_nothing_is_said():
    rows = 400 * [0, 1]
    few, enough = (sums_of(rows, np.arange(800) % n) for n in (MIN_CLUSTERS - 1, MIN_CLUSTERS))
    assert math.isinf(few.effect)
    assert estimate(few, 0.05).low is None
    assert estimate(enough, 0.05).low is not None
    found = compare(few, enough, 0.05, 1000)
    assert found is not None
    assert found.low is None


def test_a_rate_has_the_interval_of_a_rate():
    found = sums_of([1] * 30 + [0] * 70, np.arange(100))
    one = estimate(found, 0.05)
    assert one.effect is not None
    assert (one.low, one.high) == rate_interval(30 / one.effect, 100 / one.effect, 0.05)


def test_nothing_is_said_of_rare_events_before_some_have_come():
    control = sums_of([1] * 200 + [0] * 800)
    for hits in (MIN_OF_EACH - 1, 2 * MIN_OF_EACH):
        found = compare(sums_of([1] * hits + [0] * 980), control, 0.05, 2000)
        assert found is not None
        assert (found.low is None) == (hits < MIN_OF_EACH)
    assert compare(Sums(), control, 0.05, 2000) is None


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0))
def test_a_lift_leaves_zero_exactly_when_the_difference_does(seed, gap):
    rng = np.random.default_rng(seed)
    found = compare(
        sums_of(rng.normal(5.0 + gap, 2.0, 400)), sums_of(rng.normal(5.0, 2.0, 400)), 0.05, 800
    )
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.lift_low is not None
    assert found.lift_high is not None
    assert (found.low > 0.0) == (found.lift_low > 0.0)
    assert (found.high < 0.0) == (found.lift_high < 0.0)
    assert found.lift_low <= found.lift <= found.lift_high  # type: ignore[operator]


def test_a_lift_over_what_may_be_nothing_has_no_bounds():
    rng = np.random.default_rng(2)
    found = compare(
        sums_of(rng.normal(1, 1, 3 * MIN_ASYMPTOTIC)), sums_of(rng.normal(0, 1, 200)), 0.05, 300
    )
    assert found is not None
    assert found.low is not None
    assert found.lift_low is found.lift is None


def test_arms_that_are_alike_are_hardly_ever_told_apart_by_who_looks_all_the_time(capsys):
    simulate_experiments.main(["ab", "--trials", "60", "--rows", "4000", "--looks", "40"])
    (shown,) = shown_of(capsys)
    assert shown <= 6  # of 60, where 5 % may be: more has a chance below 1 in 50


def test_nor_where_the_rows_of_a_key_are_alike_and_a_few_keys_have_most(capsys):
    told = ["ab", "--trials", "40", "--rows", "4000", "--looks", "20", "--keys", "300"]
    simulate_experiments.main(told)
    (shown,) = shown_of(capsys)
    assert shown <= 5


def test_a_difference_that_is_there_is_shown(capsys):
    told = ["ab", "--trials", "20", "--rows", "8000", "--looks", "20", "--effect", "0.06"]
    simulate_experiments.main(told)
    (shown,) = shown_of(capsys)
    assert shown >= 18


def shown_of(capsys):
    out = capsys.readouterr().out
    return [int(line.split(" times: ")[1].split()[0]) for line in out.splitlines()[:1]]
