"""The fitted line."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.cost import CostModel


def fed(*runs: tuple[int, float]) -> CostModel:
    cost = CostModel()
    for rows, seconds in runs:
        cost.add(rows, seconds)
    return cost


def test_before_any_run_it_estimates_nothing():
    assert CostModel().estimate(100) == 0.0


def test_two_sizes_give_the_line_through_them():
    cost = fed(*[(1, 2e-3), (101, 3e-3)] * 20)
    assert cost.fixed_s == pytest.approx(1.99e-3, rel=0.01)
    assert cost.per_row_s == pytest.approx(1e-5, rel=0.01)


def test_the_first_run_is_taken_as_fixed_cost():
    assert fed((8, 1e-3)).estimate(8) == pytest.approx(1e-3)


def test_the_line_follows_a_model_that_gets_slower():
    cost = fed(*[(1, 1e-3), (11, 2e-3)] * 50, *[(1, 1e-2), (11, 2e-2)] * 100)
    assert cost.estimate(11) == pytest.approx(2e-2, rel=0.1)


def test_the_line_follows_a_model_that_gets_faster():
    cost = fed(*[(1, 1e-2), (11, 2e-2)] * 50, *[(1, 1e-3), (11, 2e-3)] * 200)
    assert cost.estimate(11) == pytest.approx(2e-3, rel=0.1)


def test_one_outlier_hardly_moves_it():
    usual = [(8, 1e-3 * (1 + 0.02 * random.Random(n).random())) for n in range(100)]
    cost = fed(*usual)
    before = cost.estimate(8)
    cost.add(8, 1.0)
    assert cost.estimate(8) == pytest.approx(before, rel=0.01)


def test_steady_traffic_of_one_size_keeps_the_slope_that_was_known():
    cost = fed(*[(1, 11e-6), (128, 138e-6)] * 4, *[(32, 42e-6)] * 2000)
    assert cost.estimate(32) == pytest.approx(42e-6, rel=0.01)
    assert cost.per_row_s == pytest.approx(1e-6, rel=0.2)


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 100)), min_size=1, max_size=200))
def test_no_history_makes_an_estimate_negative_or_infinite(runs):
    cost = fed(*runs)
    assert 0.0 <= cost.estimate(1) <= cost.estimate(10_000) < 1e7


@given(st.floats(1e-6, 1.0), st.floats(0.0, 1e-3), st.integers(2, 512))
def test_runs_on_a_line_are_fitted_exactly(fixed, per_row, most):
    cost = fed(*[(rows, fixed + per_row * rows) for rows in (1, most)] * 100)
    assert cost.estimate(most) == pytest.approx(fixed + per_row * most, rel=0.01)
    assert cost.estimate(1) == pytest.approx(fixed + per_row, rel=0.01)
