"""Tail probabilities: SciPy says the same, to what the module promises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from kernels.tails import chi_square_quantile, chi_square_tail, kolmogorov_tail


@given(st.integers(1, 100_000), st.floats(0, 3))
def test_chi_square_tails_are_scipys(dof, scale):
    wanted = stats.chi2.sf(scale * dof, dof)
    assert chi_square_tail(scale * dof, dof) == pytest.approx(wanted, abs=1e-11)


@given(st.integers(1, 100), st.floats(0, 1000))
def test_small_chi_square_tails_keep_their_digits(dof, statistic):
    wanted = stats.chi2.sf(statistic, dof)
    assert chi_square_tail(statistic, dof) == pytest.approx(wanted, rel=1e-9, abs=1e-280)


@pytest.mark.parametrize(
    ("statistic", "dof", "tail"),
    [(0.0, 5, 1.0), (0.0, 0, 1.0), (math.inf, 5, 0.0), (1e308, 3, 0.0)],
)
def test_the_ends_of_chi_square_are_exact(statistic, dof, tail):
    assert chi_square_tail(statistic, dof) == tail


def test_a_tail_of_no_number_is_none():
    assert math.isnan(chi_square_tail(math.nan, 3))
    assert math.isnan(kolmogorov_tail(math.nan))


@given(st.floats(0, 8))
def test_kolmogorovs_tail_is_scipys(x):
    assert kolmogorov_tail(x) == pytest.approx(special.kolmogorov(x), rel=1e-10, abs=1e-13)


@given(st.integers(1, 100_000), st.floats(1e-6, 1 - 1e-6))
def test_chi_square_quantiles_are_scipys(dof, share):
    assert chi_square_quantile(share, dof) == pytest.approx(stats.chi2.ppf(share, dof), rel=1e-9)


def test_without_a_degree_of_freedom_the_quantile_is_0():
    assert chi_square_quantile(0.95, 0) == 0.0


@pytest.mark.parametrize(("share", "dof"), [(0.0, 3), (1.0, 3), (0.5, -1)])
def test_a_quantile_that_does_not_exist_is_refused(share, dof):
    with pytest.raises(ValueError, match="quantile"):
        chi_square_quantile(share, dof)
