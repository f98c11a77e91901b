"""What is watched of images, embeddings, strings and probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.profiles.plans import plan_frames, values_of
from gateway.profiles.summaries import (
    are_probabilities,
    columns,
    image_of,
    names,
    type_of,
    vector,
)
from gateway.profiles.values import Summary
from gateway.tensors import Signature, TensorSpec

RNG = np.random.default_rng(5)


def image(spec, array) -> Summary:
    """The summary of what must look like images."""
    found = image_of(spec, array)
    assert found is not None
    return found


def frames(spec, array, role="input", **options):
    """The frames that one tensor becomes: (name, kind of summary, columns)."""
    inputs, outputs = ({spec.name: array}, {}) if role == "input" else ({}, {spec.name: array})
    signature = Signature(
        (spec,) if role == "input" else (), () if role == "input" else (spec,), batched=True
    )
    plans = plan_frames(signature, inputs, outputs, {}, **options)
    return [(plan.name, plan.summary and plan.summary.kind, len(plan.columns)) for plan in plans]


def test_images_are_told_by_channel_wherever_it_stands():
    pixels = RNG.random((6, 3, 5, 7)).astype(np.float32)
    first = image(TensorSpec("x", "FP32", (-1, 3, 5, 7)), pixels)
    last = image(TensorSpec("x", "FP32", (-1, 5, 7, 3)), np.moveaxis(pixels, 1, 3))
    assert [one.parameters["channels_last"] for one in (first, last)] == [False, True]
    found = columns(first, "FP32", pixels)
    np.testing.assert_allclose(found, columns(last, "FP32", np.moveaxis(pixels, 1, 3)), rtol=1e-6)
    assert names(first)[4:6] == ("mean[1]", "deviation[1]")
    np.testing.assert_allclose(found[:, 4], pixels[:, 1].mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found[:, 5], pixels[:, 1].std((1, 2)), rtol=1e-5)


def test_saturated_elements_are_at_or_beyond_the_ends_of_the_range():
    pixels = np.full((1, 1, 4, 4), 100, np.uint8)
    pixels[0, 0, 0] = (0, 255, 0, 1)
    summary = image(TensorSpec("x", "UINT8", (-1, 1, 4, 4)), pixels)
    assert columns(summary, "UINT8", pixels)[0].tolist()[2:] == [255, 3 / 16]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-1, 1), (0, 255)], ids=["shares", "both-sides", "bytes"]
)
def test_the_range_of_floats_is_one_that_images_are_scaled_to(low, high):
    pixels = (RNG.random((4, 3, 8, 8)) * (high - low) + low).astype(np.float32)
    summary = image(TensorSpec("x", "FP32", (-1, 3, 8, 8)), pixels)
    assert (summary.parameters["low"], summary.parameters["high"]) == (low, high)


def test_other_tensors_are_no_images():
    for shape in ((4, 5, 6, 7), (4, 3, 2, 2), (4, 3, 8)):
        spec = TensorSpec("x", "FP32", (-1, *shape[1:]))
        assert image_of(spec, np.zeros(shape, np.float32)) is None


def test_a_vector_has_a_norm_and_projections_of_its_size():
    array = RNG.normal(size=(2000, 300)).astype(np.float32)
    found = columns(vector(), "FP32", array)
    np.testing.assert_allclose(found[:, 0], np.linalg.norm(array, axis=1), rtol=1e-6)
    np.testing.assert_allclose(found[:, 3:].std(axis=0), 1, rtol=0.1)


def test_a_value_that_is_not_finite_spoils_its_row_alone():
    array = RNG.normal(size=(3, 300)).astype(np.float32)
    array[1, 5] = np.nan
    found = columns(vector(), "FP32", array)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


@pytest.mark.parametrize("length", [0, 1, 9])
def test_rows_of_any_length_are_vectors(length):
    spec = TensorSpec("x", "FP32", (-1, -1))
    array = RNG.normal(size=(4, length)).astype(np.float32)
    assert frames(spec, array) == [("x.vector", "vector", 11)]
    found = columns(vector(), "FP32", array)
    np.testing.assert_allclose(found[:, 0], np.linalg.norm(array, axis=1), rtol=1e-6)


def test_probabilities_are_told_by_their_sum():
    spec = TensorSpec("p", "FP32", (-1, 3))
    scores = np.array([[0.7, 0.2, 0.1], [0, 1, 0]], np.float32)
    assert are_probabilities(spec, scores)
    assert not are_probabilities(spec, scores * 2)
    assert not are_probabilities(spec, scores - 0.1)
    found = columns(Summary("probabilities"), "FP32", scores)
    entropy = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1))
    np.testing.assert_allclose(found, [[entropy, 0.7, 0, 0.5], [0, 1, 1, 1]], rtol=1e-5)


def test_a_row_of_scores_with_a_nan_has_no_class():
    found = columns(Summary("probabilities"), "FP32", np.array([[np.nan, 0.5]], np.float32))
    assert np.isnan(found).all()


def test_what_becomes_of_each_kind_of_tensor():
    scores = np.full((2, 1000), 0.001, np.float32)
    assert frames(TensorSpec("p", "FP32", (-1, 1000)), scores, "output") == [
        ("p.vector", "vector", 11),
        ("p.probabilities", "probabilities", 4),
    ]
    texts = np.array([[b"a", b"bc"]], object)
    assert frames(TensorSpec("t", "BYTES", (-1, 2)), texts) == [
        ("t", None, 2),
        ("t.bytes", "length", 2),
    ]
    assert frames(TensorSpec("t", "BYTES", (-1, -1)), texts) == [("t.texts", "texts", 2)]
    assert columns(Summary("texts"), "BYTES", texts).tolist() == [[2, 3]]
    assert columns(Summary("length"), "BYTES", texts).tolist() == [[1, 2]]
    assert type_of(Summary("length")) == "int64"
    cube = np.zeros((2, 2, 3), np.float32)
    assert frames(TensorSpec("x", "FP32", (-1, 2, 3)), cube) == [("x", None, 6)]


def test_bfloat16_is_compared_as_the_numbers_that_its_bits_are():
    bits = np.array([[0x3F80, 0xC000]], np.uint16)
    assert values_of("BF16", bits).tolist() == [[1.0, -2.0]]
    found = columns(vector(), "BF16", bits)
    assert found[0, 0] == pytest.approx(np.sqrt(5))
