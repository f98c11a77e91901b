"""Chi-square on counts, and PSI's null."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from kernels.chi_square import contingency, psi_null_quantile
from kernels.divergences import divergences
from tests.kernels.columns import PAIR, both, matrix


@given(PAIR)
def test_contingency_is_scipys(pairs):
    used = [pair for pair in pairs if sum(pair)]
    got = contingency(*both(pairs))
    wanted = stats.chi2_contingency(np.array(used).T, correction=False)
    assert got.dof[0] == wanted.dof
    assert got.statistic[0] == pytest.approx(wanted.statistic, rel=1e-11, abs=1e-12)
    assert got.p_value[0] == pytest.approx(wanted.pvalue, rel=1e-8, abs=1e-11)


def test_the_two_sample_convention_on_a_known_example():
    counts = matrix([16, 18, 16, 14, 12, 12]), matrix([16, 16, 16, 16, 16, 8]), np.array([6])
    got = contingency(*counts)
    assert (got.statistic[0], got.p_value[0]) == pytest.approx((1.6224, 0.89853), abs=5e-5)


@given(PAIR)
def test_a_sample_against_itself_is_exactly_0(pairs):
    counts, _, bins = both(pairs)
    got = contingency(counts, counts, bins)
    assert (got.statistic[0], got.p_value[0]) == (0.0, 1.0)


def test_a_single_bin_has_no_degree_of_freedom():
    got = contingency(matrix([5]), matrix([8]), np.array([1]))
    assert (got.statistic[0], got.dof[0], got.p_value[0]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("expected", "observed"), [([0, 0], [1, 2]), ([1, 2], [0, 0])])
def test_an_empty_side_is_no_number(expected, observed):
    got = contingency(matrix(expected), matrix(observed), np.array([2]))
    assert all(math.isnan(column[0]) for column in got)


@pytest.mark.parametrize(
    ("bins", "reference_rows", "rows", "wanted"),
    [(10, math.inf, 400, 0.0423), (20, math.inf, 1000, 0.0301), (10, 1000, 1000, 0.0338)],
)
def test_psi_of_the_null_is_a_scaled_chi_square(bins, reference_rows, rows, wanted):
    got = psi_null_quantile(np.array([reference_rows]), np.array([rows]), np.array([bins]))
    assert got[0] == pytest.approx(wanted, abs=5e-5)


def test_psi_passes_its_null_quantile_as_often_as_promised():
    rng = np.random.default_rng(4)
    shares, draws = np.full(10, 0.1), 4000
    expected = rng.multinomial(1000, shares, draws)
    observed = rng.multinomial(1000, shares, draws)
    bins = np.full(draws, 10)
    psi = divergences(expected, observed, bins).psi
    passed = (psi > psi_null_quantile(expected.sum(1), observed.sum(1), bins)).mean()
    assert passed == pytest.approx(0.05, abs=0.012)


def test_psi_of_nothing_has_no_null():
    got = psi_null_quantile(np.array([0, 10]), np.array([10, 0]), np.array([3, 3]))
    assert np.isnan(got).all()
