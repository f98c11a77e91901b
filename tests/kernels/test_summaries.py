"""Summaries of images, embeddings and probabilities against their slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import summaries
from kernels.summaries import embedding_summary, image_summary, probability_summary
from tests import reference

SEED = 20250303
SIZES = st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 8), st.integers(1, 8))
WIDTHS = st.integers(1, 200)


def close(found, wanted):
    """Equal but for the rounding to float32, and for what cancels in sums of float64."""
    assert found.dtype == np.float32
    wanted = np.reshape(np.array(wanted, np.float64), found.shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@given(SIZES, st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_images_are_summarized_channel_by_channel(size, channels_last, of_bytes, seed):
    rng = np.random.default_rng(seed)
    images = (
        rng.integers(0, 256, size).astype(np.uint8) if of_bytes else rng.random(size, np.float32)
    )
    low, high = (0, 255) if of_bytes else (0.25, 0.5)
    given_limits = () if of_bytes else (low, high)
    laid_out = images.transpose(0, 2, 3, 1) if channels_last else images
    found = image_summary(laid_out, channels_last, *given_limits)
    flat = images.reshape(*size[:2], size[2] * size[3]).astype(float).tolist()
    close(found, [[reference.image_figures(c, low, high) for c in image] for image in flat])


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_large_image_is_summarized_strip_by_strip(channels_last):
    images = np.random.default_rng(SEED).random((1, 3, 37, 61), np.float32)
    found = image_summary(images.transpose(0, 2, 3, 1) if channels_last else images, channels_last)
    channels = images.reshape(3, -1).astype(float).tolist()
    close(found, [reference.image_figures(c, -np.inf, np.inf) for c in channels])


def test_a_constant_channel_far_from_zero_deviates_by_nothing():
    images = np.full((1, 2, 30, 30), 16_777_215.0, np.float32)
    assert image_summary(images, False)[0, 1::4].tolist() == [0.0, 0.0]


def test_without_limits_no_float_is_saturated():
    images = np.array([[[[0.0, 1.0, 255.0]]]], np.float32)
    assert image_summary(images, False)[0, 3] == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5])
def test_a_channel_with_what_is_no_number_has_no_figures_and_its_neighbour_has(value, place):
    images = np.ones((1, 2, 3, 3), np.float32)
    images[0, 1].reshape(-1)[place] = value
    found = image_summary(images, False)[0]
    assert np.isnan(found).tolist() == [False] * 4 + [True] * 4


@given(WIDTHS, st.integers(0, 2**32))
def test_embeddings_have_a_norm_a_spread_and_projections(width, seed):
    rows = np.random.default_rng(seed).normal(size=(3, width)).astype(np.float32)
    figures = [reference.embedding_figures(row, summaries.SIGN_SEED) for row in rows.tolist()]
    close(embedding_summary(rows), figures)


@pytest.mark.parametrize("width", [8, 64, 136, 768])
def test_projections_are_orthogonal_and_of_length_one(width):
    matrix = embedding_summary(np.eye(width, dtype=np.float32))[:, 3:].astype(np.float64)
    assert np.unique(np.abs(matrix)).tolist() == [np.float32(1 / np.sqrt(width))]
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(summaries.PROJECTIONS), atol=1e-6)


def test_signs_are_those_of_fair_coins():
    signs = np.sign(embedding_summary(np.eye(4096, dtype=np.float32))[:, 3:])
    assert np.abs(signs.mean(0)).max() < 4 / np.sqrt(4096)
    assert np.abs((signs[1:] * signs[:-1]).mean(0)).max() < 4 / np.sqrt(4096)


def test_a_row_with_a_missing_value_has_no_figures_and_its_neighbour_has():
    rows = np.ones((2, 9), np.float32)
    rows[0, 4] = np.nan
    assert np.isnan(embedding_summary(rows)).all(1).tolist() == [True, False]


@given(st.integers(2, 50), st.integers(0, 2**32))
def test_probabilities_have_an_entropy_a_top_and_a_margin(classes, seed):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), 5).astype(np.float32)
    scores[0] = 0.0
    close(probability_summary(scores), [*map(reference.probability_figures, scores.tolist())])


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        pytest.param([0.0, 1.0], [0.0, 1.0, 1.0, 1.0], id="certain"),
        pytest.param([0.25] * 4, [np.log(4), 0.25, 0.0, 0.0], id="undecided"),
        pytest.param([0.5, 0.0, 0.5], [np.log(2), 0.5, 0.0, 0.0], id="first-of-equals"),
        pytest.param([-0.5, 1.5], [np.nan, 1.5, 1.0, 2.0], id="no-probabilities"),
        pytest.param([np.nan, 0.5, 0.25], [np.nan] * 4, id="missing"),
        pytest.param([0.5, 0.25, np.nan], [np.nan] * 4, id="missing-last"),
    ],
)
def test_special_scores(scores, wanted):
    close(probability_summary(np.array([scores], np.float32)), [wanted])


ROWS = np.random.default_rng(SEED).random((7, 130), np.float32)
IMAGES = np.random.default_rng(SEED).random((7, 2, 50, 50), np.float32)


@pytest.mark.parametrize(
    ("summary", "batch"),
    [
        pytest.param(embedding_summary, ROWS, id="embeddings"),
        pytest.param(probability_summary, ROWS, id="probabilities"),
        pytest.param(lambda images: image_summary(images, False), IMAGES, id="images"),
    ],
)
def test_a_row_is_summarized_the_same_whatever_batch_it_came_in(summary, batch):
    before = batch.tobytes()
    whole, parts = summary(batch), [summary(batch[:3]), summary(batch[3:4]), summary(batch[4:])]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert summary(batch[::-1]).tobytes() == whole[::-1].tobytes()
    assert batch.tobytes() == before


@pytest.mark.parametrize(
    ("summarize", "message"),
    [
        pytest.param(lambda: image_summary(np.zeros((2, 3, 4)), False), "four axes", id="axes"),
        pytest.param(lambda: image_summary(np.zeros((1, 3, 0, 4)), False), "empty", id="no-pixel"),
        pytest.param(lambda: image_summary(np.zeros((1, 1, 1, 1)), False), "float64", id="type"),
        pytest.param(lambda: embedding_summary(np.zeros((3, 0), np.float32)), "at least 1", id="d"),
        pytest.param(lambda: embedding_summary(np.zeros((3, 2))), "of float32", id="float64"),
        pytest.param(lambda: probability_summary(np.zeros((3, 1), np.float32)), "least 2", id="k"),
    ],
)
def test_what_cannot_be_summarized_is_refused(summarize, message):
    with pytest.raises(ValueError, match=message):
        summarize()
