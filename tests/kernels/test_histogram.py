"""The latency histogram: which bucket, how exact, and that merging is adding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import histogram
from tests import reference

TWIN = reference.latency_buckets()
LATENCIES = st.one_of(st.integers(0, 5000), st.integers(0, 2**41), st.integers(0, 2**62))
SOME = st.lists(LATENCIES, min_size=1, max_size=60)
SHARES = st.floats(0, 1)


def counted(values):
    counts = np.zeros(histogram.BUCKETS, np.int64)
    histogram.record(counts, np.array(values, np.int64))
    return counts


def test_buckets_lie_where_the_description_says():
    bounds = [
        (histogram.lower_bound(bucket), histogram.upper_bound(bucket))
        for bucket in range(histogram.BUCKETS)
    ]
    assert bounds == TWIN


@pytest.mark.parametrize("bucket", [0, 1, 63, 64, 65, 127, 128, 700, 1983])
def test_a_bucket_holds_its_upper_edge_and_not_its_lower_one(bucket):
    low, high = TWIN[bucket]
    assert histogram.index(int(high)) == bucket
    assert histogram.index(low + 1) == bucket
    assert histogram.index(low) == max(bucket - 1, 0)


@given(LATENCIES)
def test_the_bucket_is_the_one_that_its_slow_twin_finds(ns):
    assert histogram.index(ns) == reference.latency_bucket(ns)


@given(st.integers(max_value=0, min_value=-(2**62)))
def test_a_clock_that_went_backwards_counts_as_nothing(ns):
    assert histogram.index(ns) == 0


@given(LATENCIES, LATENCIES)
def test_a_longer_latency_is_never_in_an_earlier_bucket(one, other):
    shorter, longer = sorted((one, other))
    assert histogram.index(shorter) <= histogram.index(longer)


@given(st.integers(1_000, 1_000 * 10**9))
def test_from_1_us_to_1000_s_the_middle_of_a_bucket_is_within_1_percent(ns):
    bucket = histogram.index(ns)
    middle = (histogram.lower_bound(bucket) + histogram.upper_bound(bucket)) / 2
    assert abs(middle - ns) <= 0.01 * ns


@given(SOME, SOME, SOME)
def test_merging_is_adding_in_any_order(first, second, third):
    together = counted(first + second + third)
    assert (counted(third) + counted(first) + counted(second) == together).all()


@given(SOME)
def test_counting_one_by_one_equals_counting_at_once(values):
    streamed = np.zeros(histogram.BUCKETS, np.int64)
    for value in values:
        histogram.record(streamed, np.array([value], np.int64))
    assert (streamed == counted(values)).all()


@given(st.lists(st.integers(1_000, 10**12), min_size=1, max_size=60), SHARES)
def test_a_quantile_is_within_1_percent_of_the_true_one(values, share):
    true = reference.nearest_rank(values, share)
    assert histogram.quantile(counted(values), share) == pytest.approx(true, rel=0.01)


def test_a_quantile_of_nothing_is_not_a_number():
    assert math.isnan(histogram.quantile(np.zeros(histogram.BUCKETS, np.int64), 0.5))


def test_a_quantile_past_the_last_edge_is_the_last_edge():
    assert histogram.quantile(counted([2**50]), 0.99) == 2**40


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="share of 0 to 1"):
        histogram.quantile(counted([1]), share)


@given(SOME)
def test_classic_buckets_hold_exactly_what_is_not_above_their_bound(values):
    wanted = [sum(ns <= bound for ns in values) for bound in histogram.CLASSIC_BOUNDS_NS]
    assert histogram.classic(counted(values)) == [*wanted, len(values)]


def test_a_latency_that_equals_a_classic_bound_is_within_it():
    bounds = list(histogram.CLASSIC_BOUNDS_NS)
    assert histogram.classic(counted(bounds)) == [*range(1, len(bounds) + 1), len(bounds)]


def test_recording_leaves_the_values_as_they_are():
    values = np.array([5, 2**40, 77], np.int64)
    histogram.record(np.zeros(histogram.BUCKETS, np.int64), values)
    assert values.tolist() == [5, 2**40, 77]
