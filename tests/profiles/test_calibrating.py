"""Scores are calibrated by a table, where that helps rows which it was not made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.profiles import calibrating
from gateway.profiles.calibrating import BINS, MIN_ROWS, Fit, steps, table_of
from kernels import performance
from tests import reference

SCORES = {"kind": "binary", "output": None, "positive": 1}


def fitted(rows, cuts=()):
    scores, hits = rows
    fit = Fit(SCORES)
    for part, of_them in zip(np.split(scores, cuts), np.split(hits, cuts), strict=True):
        fit.add(part, of_them)
    return fit.calibration()


def draws(power, count=5000, seed=1):
    rng = np.random.default_rng(seed)
    scores = rng.random(count)
    return scores, (rng.random(count) < scores**power).astype(float)


def test_bins_are_those_that_live_scores_are_added_up_in():
    assert BINS == performance.BINS


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 1)), min_size=1, max_size=12))
def test_steps_are_the_ascending_numbers_nearest_to_the_rates(some):
    n = np.array([float(rows) for rows, _ in some])
    y = np.floor(n * [share for _, share in some])
    wanted = reference.isotonic((y / n).tolist(), n.tolist())
    assert table_of(*steps(n, y)) == pytest.approx(wanted)


def test_steps_are_scikit_learns():
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(3)
    n = rng.integers(1, 50, BINS).astype(float)
    y = rng.binomial(n.astype(int), np.linspace(0, 1, BINS)).astype(float)
    wanted = isotonic.IsotonicRegression().fit(np.arange(BINS), y / n, n).predict(np.arange(BINS))
    assert table_of(*steps(n, y)) == pytest.approx(wanted, rel=1e-9)


def test_a_bin_without_rows_belongs_to_the_step_below():
    upto, probabilities = steps(np.array([0.0, 2.0, 0.0, 2.0]), np.array([0.0, 0.0, 0.0, 2.0]))
    assert (upto, probabilities) == ((3, 4), (0.0, 1.0))


def test_scores_that_are_too_high_get_a_table_that_mends_them():
    found = fitted(draws(power=3.0))
    assert found is not None
    assert found.ece_calibrated < found.ece / 4
    middles = (np.arange(BINS) + 0.5) / BINS
    assert np.abs(table_of(found.upto, found.probabilities) - middles**3).mean() < 0.03
    assert (found.rows, found.scores, found.bins) == (5000, SCORES, BINS)


def test_scores_that_are_right_stay_as_they_are():
    found = fitted(draws(power=1.0, count=1000))
    assert found is not None
    assert found.ece_calibrated >= found.ece
    assert (found.upto, found.probabilities) == ((), ())


def test_the_same_rows_in_other_pieces_are_the_same():
    assert fitted(draws(power=2.0)) == fitted(draws(power=2.0), cuts=(7, 4000))


def test_rows_without_a_probability_or_a_label_are_left_out():
    scores, hits = draws(power=2.0)
    more = np.array([np.nan, -0.1, 1.5, 0.5]), np.array([1.0, 1.0, 1.0, np.nan])
    found = fitted((np.concatenate((scores, more[0])), np.concatenate((hits, more[1]))))
    assert found is not None
    assert found.rows == 5000


@pytest.mark.parametrize(
    ("scores", "hits"),
    [
        pytest.param(np.linspace(0, 1, MIN_ROWS - 1), np.arange(MIN_ROWS - 1) % 2, id="few"),
        pytest.param(np.linspace(0, 1, 500), np.ones(500), id="one-outcome"),
        pytest.param(np.empty(0), np.empty(0), id="none"),
    ],
)
def test_too_little_calibrates_nothing(scores, hits):
    assert fitted((scores, hits)) is None


def test_an_error_is_that_of_bins_of_equal_mass():
    bins = np.zeros((BINS, 3))
    bins[::96] = (10.0, 5.0, 4.0)  # ten bins of ten rows, each 0.1 off
    assert calibrating._ece(bins, bins[:, 2]) == pytest.approx(0.1)
