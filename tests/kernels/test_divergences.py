"""Divergences of shares: by their definitions, by SciPy, and by the laws they keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy.spatial import distance
from scipy.stats import entropy as scipy_entropy

from kernels.divergences import FLOOR, divergences
from tests import reference
from tests.kernels.columns import PAIR, both, matrix, sides

NAMES = ("psi", "kl", "js_divergence", "hellinger", "total_variation", "l_infinity")


@given(PAIR)
def test_each_is_what_its_definition_says(pairs):
    expected, observed, bins = both(pairs)
    got = divergences(expected, observed, bins)
    one, other = sides(pairs)
    wanted = reference.divergences(one, other, FLOOR)
    assert [column[0] for column in got] == pytest.approx(wanted, rel=1e-12, abs=2e-8)
    # A root of something near zero has half of its digits; everything else has all of them.
    for name, value in zip(got._fields, wanted, strict=True):
        if name not in ("js_distance", "hellinger") or value > 1e-3:
            assert getattr(got, name)[0] == pytest.approx(value, rel=1e-12, abs=1e-12), name


@given(PAIR)
def test_scipy_says_the_same(pairs):
    expected, observed, bins = both(pairs)
    got = divergences(expected, observed, bins)
    p, q = expected[0] / expected.sum(), observed[0] / observed.sum()
    floored_p, floored_q = np.maximum(p, FLOOR), np.maximum(q, FLOOR)
    ours = [got.js_divergence[0], got.kl[0], got.hellinger[0], got.total_variation[0]]
    theirs = [
        np.nan_to_num(distance.jensenshannon(p, q)) ** 2,
        special.kl_div(floored_p, floored_q).sum(),
        distance.euclidean(np.sqrt(p), np.sqrt(q)) / math.sqrt(2),
        distance.cityblock(p, q) / 2,
    ]
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    assert got.l_infinity[0] == pytest.approx(distance.chebyshev(p, q), abs=1e-15)


def test_without_a_floored_share_kl_is_the_usual_one():
    expected, observed = matrix([10, 20, 70]), matrix([30, 30, 40])
    got = divergences(expected, observed, np.array([3])).kl[0]
    assert got == pytest.approx(scipy_entropy([10, 20, 70], [30, 30, 40]), rel=1e-13)


@given(PAIR, st.integers(1, 1000))
def test_equal_shares_are_exactly_0_apart_whatever_the_number_of_rows(pairs, times):
    counts, _, bins = both(pairs)
    assert [column[0] for column in divergences(counts, counts * times, bins)] == [0.0] * 7


@given(PAIR)
def test_all_but_kl_are_symmetric(pairs):
    expected, observed, bins = both(pairs)
    there, back = divergences(expected, observed, bins), divergences(observed, expected, bins)
    for name in ("psi", "js_divergence", "js_distance", "hellinger", "total_variation"):
        assert getattr(there, name)[0] == pytest.approx(getattr(back, name)[0], rel=1e-13)
    assert there.kl[0] + back.kl[0] == pytest.approx(there.psi[0], rel=1e-9, abs=1e-12)


@given(PAIR)
def test_bounds_hold(pairs):
    expected, observed, bins = both(pairs)
    got = divergences(expected, observed, bins)
    assert 0.0 <= got.l_infinity[0] <= got.total_variation[0] + 1e-15 <= 1.0 + 1e-12
    assert 0.0 <= got.js_divergence[0] <= math.log(2) + 1e-12
    assert 0.0 <= got.hellinger[0] <= 1.0 + 1e-12
    assert got.hellinger[0] ** 2 <= got.total_variation[0] + 1e-12
    assert 0.0 <= got.kl[0] < math.inf
    assert 0.0 <= got.psi[0] < math.inf


@given(st.lists(PAIR, min_size=1, max_size=5))
def test_a_column_is_judged_alone_whatever_stands_beside_it(columns):
    expected = matrix(*([p for p, _ in pairs] for pairs in columns))
    observed = matrix(*([q for _, q in pairs] for pairs in columns))
    together = divergences(expected, observed, np.array([len(pairs) for pairs in columns]))
    alone = [divergences(*both(pairs)) for pairs in columns]
    for name in together._fields:
        assert getattr(together, name).tolist() == [getattr(one, name)[0] for one in alone]


@given(PAIR)
def test_the_order_of_bins_does_not_matter(pairs):
    one, other = divergences(*both(pairs)), divergences(*both(pairs[::-1]))
    for there, back in zip(one, other, strict=True):
        assert there[0] == pytest.approx(back[0], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("expected", "observed"),
    [
        pytest.param([0, 0], [3, 4], id="empty-reference"),
        pytest.param([3, 4], [0, 0], id="empty-window"),
        pytest.param([], [], id="no-bins"),
    ],
)
def test_an_empty_side_is_no_number(expected, observed):
    got = divergences(matrix(expected), matrix(observed), np.array([len(expected)]))
    assert all(math.isnan(column[0]) for column in got)


def test_a_single_bin_is_0():
    assert [c[0] for c in divergences(matrix([7]), matrix([3]), np.array([1]))] == [0.0] * 7


def test_samples_without_a_common_bin_are_as_far_apart_as_can_be():
    got = divergences(matrix([5, 0]), matrix([0, 9]), np.array([2]))
    far = got.js_divergence[0], got.hellinger[0], got.total_variation[0], got.l_infinity[0]
    assert far == pytest.approx((math.log(2), 1.0, 1.0, 1.0), abs=1e-15)
    assert got.psi[0] == pytest.approx(2 * (1 - FLOOR) * math.log(1 / FLOOR), rel=1e-12)


@pytest.mark.parametrize(
    ("expected", "observed", "bins", "said"),
    [
        pytest.param([[1, 2]], [[1, 2, 3]], [2], "equal shapes", id="widths"),
        pytest.param([[1, 2]], [[1, 2]], [3], "0 to 2", id="too-many-bins"),
        pytest.param([[1, 2]], [[1, 2]], [1, 1], "shape", id="bins-of-two"),
        pytest.param([[1, -2]], [[1, 2]], [2], "below 0", id="negative"),
    ],
)
def test_what_does_not_fit_is_refused(expected, observed, bins, said):
    with pytest.raises(ValueError, match=said):
        divergences(np.array(expected), np.array(observed), np.array(bins))


@pytest.mark.parametrize("floor", [0.0, -1.0, 1.0, math.nan])
def test_a_floor_outside_0_to_1_is_refused(floor):
    with pytest.raises(ValueError, match="floor"):
        divergences(matrix([1]), matrix([1]), np.array([1]), floor)


def test_counts_are_left_as_they_are():
    expected, observed = matrix([1, 0, 5]), matrix([0, 3, 3])
    divergences(expected, observed, np.array([3]))
    assert (expected.tolist(), observed.tolist()) == ([[1, 0, 5]], [[0, 3, 3]])
