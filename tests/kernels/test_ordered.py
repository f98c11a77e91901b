"""KS, Wasserstein and quantiles from bins: right on the bins, and within bounds of the values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from kernels.ordered import exact_ks, kolmogorov_smirnov, ks_p_value, quantiles, wasserstein
from tests import reference
from tests.kernels.columns import PAIR, both, matrix, sides

VALUES = st.lists(st.integers(-20, 20), min_size=2, max_size=60)
EDGES = st.lists(st.integers(-15, 15), max_size=12, unique=True).map(sorted)
NOWHERE = np.full((1, 2), math.nan)
NONE = np.zeros(1)


def binned(values, inner):
    """Counts on the bins between inner edges, right-closed, open at both ends."""
    return matrix(np.bincount(np.searchsorted(inner, values, "left"), minlength=len(inner) + 1))


# ---------------------------------------------------------------- KS


@given(PAIR)
def test_ks_bounds_are_the_extremes_of_what_the_bins_allow(pairs):
    got = kolmogorov_smirnov(*both(pairs))
    wanted = reference.ks_of_bins(*sides(pairs))
    assert (got.low[0], got.high[0]) == pytest.approx(wanted, abs=1e-15)


@given(VALUES, VALUES, EDGES)
def test_the_values_own_ks_is_within_the_bounds(one, other, inner):
    bins = np.array([len(inner) + 1])
    got = kolmogorov_smirnov(binned(one, inner), binned(other, inner), bins)
    true = stats.ks_2samp(one, other, method="asymp").statistic
    assert got.low[0] - 1e-12 <= true <= got.high[0] + 1e-12


@given(PAIR)
def test_the_bounds_are_no_further_apart_than_the_largest_reference_share(pairs):
    expected, observed, bins = both(pairs)
    got = kolmogorov_smirnov(expected, observed, bins)
    assert 0.0 <= got.low[0] <= got.high[0] <= 1.0
    assert got.high[0] - got.low[0] <= expected.max() / expected.sum() + 1e-12


@given(PAIR)
def test_ks_of_a_sample_with_itself_is_exactly_0(pairs):
    counts, _, bins = both(pairs)
    got = kolmogorov_smirnov(counts, counts, bins)
    assert (got.low[0], got.p_value[0]) == (0.0, 1.0)


@given(PAIR)
def test_ks_from_bins_is_symmetric(pairs):
    expected, observed, bins = both(pairs)
    there = kolmogorov_smirnov(expected, observed, bins)
    back = kolmogorov_smirnov(observed, expected, bins)
    assert there.low[0] == pytest.approx(back.low[0], abs=1e-15)
    assert there.p_value[0] == pytest.approx(back.p_value[0], abs=1e-12)


@given(st.integers(50, 1_000_000), st.floats(0, 3))
def test_the_p_value_is_scipys_within_two_thousandths(rows, scaled):
    distance = min(scaled / math.sqrt(rows), 1.0)
    with np.errstate(over="ignore"):  # SciPy's own matrices, at small distances of many rows
        true = stats.kstwo.sf(distance, rows)
    assert ks_p_value(distance, rows) == pytest.approx(true, abs=0.002)


@given(VALUES, VALUES)
def test_counts_on_the_references_own_values_give_the_exact_ks(one, other):
    points, counts = np.unique(one, return_counts=True)
    places = np.searchsorted(points, other, "left") + np.searchsorted(points, other, "right")
    live = np.bincount(places, minlength=2 * len(points) + 1)
    true = stats.ks_2samp(one, other, method="asymp")
    found = exact_ks(np.insert(counts, range(len(counts) + 1), 0), live)
    assert found.low == found.high == pytest.approx(true.statistic, abs=1e-15)
    rows = len(one) * len(other) / (len(one) + len(other))
    assert found.p_value == pytest.approx(ks_p_value(found.low, rows), abs=1e-12)


def at_points(values, points):
    places = np.searchsorted(points, values, "left") + np.searchsorted(points, values, "right")
    return np.bincount(places, minlength=2 * len(points) + 1)


@given(VALUES, VALUES, EDGES)
def test_at_some_points_the_values_own_ks_is_within_the_bounds(one, other, points):
    reference_counts = at_points(one, points)
    found = exact_ks(reference_counts, at_points(other, points))
    true = stats.ks_2samp(one, other, method="asymp").statistic
    assert found.low - 1e-12 <= true <= found.high + 1e-12
    between = reference_counts[0::2].max() / len(one)
    assert found.high - found.low <= between + 1e-12


def test_exact_ks_of_nothing_is_no_number():
    some, nothing = np.array([0, 1, 0]), np.zeros(3, np.int64)
    assert math.isnan(exact_ks(some, nothing).low)
    assert math.isnan(exact_ks(nothing, some).high)


@pytest.mark.parametrize("sizes", [(5, 4), (4, 4), (3, 5)])
def test_exact_ks_refuses_counts_that_do_not_fit(sizes):
    with pytest.raises(ValueError, match="an odd number"):
        exact_ks(*(np.ones(size, np.int64) for size in sizes))


# ---------------------------------------------------------------- Wasserstein


@given(PAIR, st.data())
def test_wasserstein_is_the_area_between_straight_pieces(pairs, data):
    sizes = data.draw(st.lists(st.integers(0, 50), min_size=len(pairs), max_size=len(pairs)))
    edges = np.concatenate([[-7.0], -7.0 + np.cumsum(sizes)])
    expected, observed, bins = both(pairs)
    got = wasserstein(expected, observed, bins, edges[None], NONE, NONE, NOWHERE)
    one, other = sides(pairs)
    wanted = reference.wasserstein_of_bins(one, other, edges.tolist())
    assert got.distance[0] == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@given(VALUES, VALUES, EDGES)
def test_the_values_own_wasserstein_is_within_the_error(one, other, inner):
    low, high = min(one), max(one)
    inner = [edge for edge in inner if low < edge < high]
    edges = np.array([[low, *inner, high]], np.float64)
    got = wasserstein(
        binned(one, inner),
        binned(other, inner),
        np.array([len(inner) + 1]),
        edges,
        np.array([sum(value < low for value in other)]),
        np.array([sum(value > high for value in other)]),
        np.array([[min(other), max(other)]], np.float64),
    )
    true = stats.wasserstein_distance(one, other)
    assert abs(true - got.distance[0]) <= got.error[0] + 1e-9


@given(PAIR)
def test_wasserstein_of_a_sample_with_itself_is_exactly_0(pairs):
    counts, _, bins = both(pairs)
    edges = np.arange(len(pairs) + 1.0)[None]
    assert wasserstein(counts, counts, bins, edges, NONE, NONE, NOWHERE).distance[0] == 0.0


def test_a_quarter_sigma_shift_is_a_quarter_far():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=50_000), rng.normal(0.25, 1, 50_000)
    inner = np.quantile(one, np.arange(1, 60) / 60)
    edges = np.array([[one.min(), *inner, one.max()]])
    below, above = (other < one.min()).sum(), (other > one.max()).sum()
    got = wasserstein(
        binned(one, inner),
        binned(other, inner),
        np.array([60]),
        edges,
        np.array([below]),
        np.array([above]),
        np.array([[other.min(), other.max()]]),
    )
    assert got.distance[0] == pytest.approx(stats.wasserstein_distance(one, other), abs=0.02)


def test_wasserstein_refuses_edges_that_do_not_fit():
    with pytest.raises(ValueError, match="edges"):
        wasserstein(matrix([1]), matrix([1]), np.array([1]), np.zeros((1, 1)), NONE, NONE, NOWHERE)


# ---------------------------------------------------------------- quantiles


@given(VALUES, EDGES, st.floats(0, 1))
def test_a_quantile_lies_in_the_bin_of_the_true_one(values, inner, share):
    low, high = min(values), max(values)
    inner = [edge for edge in inner if low < edge < high]
    edges = np.array([low, *inner, high], np.float64)
    counts = binned(values, inner)
    got = quantiles(counts, np.array([len(inner) + 1]), edges[None], np.array([share]))[0, 0]
    true = reference.nearest_rank(values, share)
    at = int(np.searchsorted(inner, true, "left"))
    assume(abs(share * len(values) - round(share * len(values))) > 1e-9)  # between two bins
    assert edges[at] <= got <= edges[at + 1]


def test_numpys_quantiles_of_evenly_spread_values_come_out():
    values = np.linspace(0, 10, 10_001)
    counts = binned(values, np.arange(1.0, 10.0))
    shares = np.array([0.0, 0.01, 0.25, 0.5, 0.99, 1.0])
    got = quantiles(counts, np.array([10]), np.arange(11.0)[None], shares)[0]
    assert got == pytest.approx(np.quantile(values, shares), abs=0.002)


@given(PAIR, st.lists(st.floats(0, 1), min_size=2, max_size=5).map(sorted))
def test_a_larger_share_never_has_a_smaller_quantile(pairs, shares):
    counts, _, bins = both(pairs)
    edges = np.arange(len(pairs) + 1.0)[None]
    got = quantiles(counts, bins, edges, np.array(shares))[0]
    assert (np.diff(got) >= 0).all()


def test_quantiles_of_nothing_are_no_numbers():
    got = quantiles(matrix([0, 0]), np.array([2]), np.arange(3.0)[None], np.array([0.5]))
    assert np.isnan(got).all()


@pytest.mark.parametrize(("expected", "observed"), [([0, 0], [1, 2]), ([1, 2], [0, 0]), ([], [])])
def test_an_empty_side_is_no_number(expected, observed):
    got = kolmogorov_smirnov(matrix(expected), matrix(observed), np.array([len(expected)]))
    assert all(math.isnan(column[0]) for column in got)
