"""One vector for each text, of those of its tokens alone."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.serving.pooled import normalized, pooled

HIDDEN = np.array([[[1, 2], [3, 4], [9, 9]], [[5, 6], [9, 9], [9, 9]]], np.float32)
MASK = np.array([[1, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2, 3], [5, 6]]),
        ("cls", [[1, 2], [5, 6]]),
        ("last", [[3, 4], [5, 6]]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_fills_a_text_up_is_in_no_vector(pooling, expected, dtype):
    found = pooled(HIDDEN.astype(dtype), MASK, pooling)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.tolist() == expected


def test_a_vector_that_the_model_has_made_stays_as_it_is():
    assert pooled(HIDDEN[:, 0], MASK, "none").tolist() == [[1, 2], [5, 6]]


def test_a_text_filled_up_on_its_left_has_its_last_token_where_it_is():
    assert pooled(HIDDEN, MASK[:, ::-1], "last").tolist() == [[9, 9], [9, 9]]


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_text_without_tokens_has_a_vector_of_numbers(pooling):
    assert np.isfinite(normalized(pooled(0 * HIDDEN, 0 * MASK, pooling))).all()


def test_normalised_vectors_have_a_length_of_one_but_nothing_stays_nothing():
    found = normalized(np.array([[3, 4], [0, 0], [1e-30, 0]], np.float32))
    assert np.allclose(found[0], [0.6, 0.8])
    assert found[1].tolist() == [0, 0]
    assert np.allclose(found[2], [1e-18, 0], atol=0), "next to nothing stays so"
