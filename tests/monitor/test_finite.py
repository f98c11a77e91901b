"""Rows without a number are found in whatever shape and type a model gives them."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.monitor.finite import non_finite_rows

NAN = [[1.0, np.nan], [2.0, 3.0], [np.inf, 4.0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_are_counted_in_every_type_of_numbers(dtype):
    assert non_finite_rows([np.array(NAN, dtype)], batched=True) == 2


@pytest.mark.parametrize(
    ("array", "found"),
    [
        pytest.param(np.array([1.0, np.nan, np.nan], np.float32), 2, id="a-number-a-row"),
        pytest.param(np.full((2, 3, 4), np.nan, np.float32), 2, id="images"),
        pytest.param(np.array(NAN, np.float32).T[::-1].T, 2, id="not-contiguous"),
        pytest.param(np.broadcast_to(np.float32(np.nan), (3, 2)), 3, id="read-only"),
        pytest.param(np.zeros((0, 2), np.float32), 0, id="no-rows"),
        pytest.param(np.array([[1], [2]], np.int64), 0, id="whole-numbers"),
        pytest.param(np.array([[b"nan"]], object), 0, id="texts"),
        pytest.param(None, 0, id="not-computed"),
    ],
)
def test_whatever_the_shape(array, found):
    assert non_finite_rows([array], batched=True) == found


def test_a_row_that_two_outputs_have_no_number_for_counts_once():
    outputs = [np.array(NAN, np.float32), np.array([[np.nan]] * 3, np.float32)]
    assert non_finite_rows(outputs, batched=True) == 3


def test_where_outputs_count_no_rows_a_run_is_one():
    assert non_finite_rows([np.array(NAN, np.float32)], batched=False) == 1
    assert non_finite_rows([np.array([1.0, 2.0], np.float32)], batched=False) == 0
