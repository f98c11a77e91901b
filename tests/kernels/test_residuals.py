"""Errors of either sign lie in buckets that are as wide as they are large."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernels import residuals as r
from tests import reference

EDGES = r.edges()
ERRORS = st.floats(-(2.0**42), 2.0**42, allow_nan=False)


def counted(errors):
    counts = np.zeros(r.BUCKETS)
    for error in errors:
        counts[r.bucket(error)] += 1
    return counts


@given(ERRORS)
@example(2.0**40 * (63 / 64))
@example(-(2.0**40) + 1.0)
def test_an_error_lies_in_the_bucket_of_its_definition(error):
    place = r.bucket(error)
    assert EDGES[place] <= error <= EDGES[place + 1]
    assert (EDGES[place], EDGES[place + 1]) == reference.residual_bucket(error)


@given(ERRORS, ERRORS)
def test_buckets_ascend_with_the_error(one, other):
    low, high = sorted((one, other))
    assert r.bucket(low) <= r.bucket(high)


@pytest.mark.parametrize(
    ("error", "place"),
    [(0.0, r.SIDE), (-0.0, r.SIDE), (1e-9, r.SIDE), (math.inf, r.BUCKETS - 1), (-math.inf, 0)],
)
def test_what_is_nothing_or_endless_has_a_bucket(error, place):
    assert r.bucket(error) == place


@given(st.lists(ERRORS, min_size=1), st.sampled_from([0.05, 0.25, 0.5, 0.95]))
def test_a_quantile_is_within_a_64th_of_the_true_one(errors, share):
    true = sorted(errors)[math.ceil(share * len(errors)) - 1]
    if abs(true) < 2.0**39:
        found = r.quantile(counted(errors), share)
        assert found == pytest.approx(true, rel=1 / 64, abs=2.0**-24)


def test_a_quantile_past_the_last_edge_is_the_last_finite_one():
    assert r.quantile(counted([-math.inf]), 0.5) == EDGES[1]
    assert r.quantile(counted([math.inf]), 0.5) == EDGES[-2]


def test_a_quantile_of_nothing_is_not_a_number():
    assert math.isnan(r.quantile(np.zeros(r.BUCKETS), 0.5))
