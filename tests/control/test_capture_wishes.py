"""What is captured of a version has the names that its reference has, and hides what it is told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gateway.config import parse
from gateway.control.capture_wishes import CaptureWish, capture_wish
from gateway.models import onnx_file
from tests.embeddings import maker
from tests.models.builders import linear, save
from tests.monitor.watching import profile_of, rows


def wish(tmp_path, text, profile=None) -> CaptureWish | None:
    save(tmp_path, linear(), "m.onnx")
    onnx = onnx_file.inspect(tmp_path, "m.onnx")
    config = parse("models: {m: {capture: {%s}}}" % text)  # noqa: UP031
    return capture_wish("m", 1, onnx, {}, config.settings("m"), config, profile)


def test_nothing_is_captured_where_nobody_says_so(tmp_path):
    assert wish(tmp_path, "") is None


def test_columns_are_called_as_the_reference_calls_them(tmp_path):
    plain = wish(tmp_path, "mode: full")
    assert plain is not None
    (part,) = [one for one in plain.schema.parts if one.role == "feature"]
    profile = profile_of(*rows(np.random.default_rng(1), 50))
    frame = next(one for one in profile.frames if one.role == "feature" and one.summary is None)
    width = len(part.columns)
    column = frame.columns[0]
    columns = tuple(dataclasses.replace(column, name=f"own{n}") for n in range(width))
    frame = dataclasses.replace(frame, tensor=part.tensor, columns=columns)
    named = wish(tmp_path, "mode: full", dataclasses.replace(profile, frames=(frame,)))
    assert named is not None
    assert named.schema.parts[0].columns == tuple(f"own{n}" for n in range(width))


def test_a_model_whose_mask_names_nobody_is_served_and_not_captured(tmp_path, caplog):
    assert wish(tmp_path, "mode: full, mask: [salary]") is None
    assert "not captured: mask, hash: no column of the model is called 'salary'" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("mode: rules", id="no-rule"),
        pytest.param("mode: full, mask: [a], hash: [a]", id="both"),
        pytest.param("mode: rules, rules: {score_between: [0.6, 0.4]}", id="descending"),
        pytest.param("mode: sampled, share: 2", id="share"),
    ],
)
def test_what_makes_no_sense_is_a_fault_of_the_configuration(tmp_path, text):
    with pytest.raises(Exception, match=r"models\.m\.capture"):
        wish(tmp_path, text)


def test_vectors_of_texts_are_captured_as_what_is_answered_and_hold_no_scores(tmp_path):
    maker.lay(tmp_path)
    onnx = onnx_file.inspect(tmp_path, "model.onnx")
    config = parse("models: {m: {embeddings: {}, capture: {mode: full}}}")
    found = capture_wish("m", 1, onnx, {}, config.settings("m"), config, None)
    assert found is not None
    assert [part.tensor for part in found.schema.parts if part.role == "output"] == ["embedding"]
    assert found.reading is None
