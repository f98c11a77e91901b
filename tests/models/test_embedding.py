"""A model of texts is found out by the names that exports give its tensors, or by what is said."""

from __future__ import annotations

import pytest

from gateway.config import Embeddings
from gateway.errors import ModelRefused
from gateway.models import onnx_file
from gateway.models.embedding import files_of, places_of
from gateway.models.signature import signature
from gateway.tensors import TensorSpec
from tests.embeddings import maker

MEAN = Embeddings()


def ints(*names: str, shape=(-1, -1), datatype="INT64") -> list[TensorSpec]:
    return [TensorSpec(name, datatype, shape) for name in names]


def floats(**shapes) -> list[TensorSpec]:
    return [TensorSpec(name, "FP32", shape) for name, shape in shapes.items()]


BERT = ints("input_ids", "token_type_ids", "attention_mask")
HIDDEN = floats(pooler_output=(-1, 8), last_hidden_state=(-1, -1, 8))


def test_tensors_are_found_by_their_usual_names():
    places = places_of(BERT, HIDDEN, MEAN)
    assert (places.ids, places.mask, places.types, places.output) == (0, 2, 1, 1)
    assert (places.length, places.size) == (-1, 8)


def test_a_model_without_token_types_has_none():
    assert places_of(ints("attention_mask", "input_ids"), HIDDEN, MEAN).inputs == (1, 0)


def test_what_the_document_says_goes_before_names():
    said = Embeddings(ids="a", mask="b", types="c", output="v", pooling="none")
    places = places_of(ints("a", "b", "c"), floats(last_hidden_state=(-1, -1, 8), v=(-1, 4)), said)
    assert (places.inputs, places.output, places.size) == ((0, 1, 2), 1, 4)


def test_the_only_output_needs_no_name():
    assert places_of(BERT, floats(y=(-1, -1, 5)), MEAN).size == 5


@pytest.mark.parametrize(
    ("inputs", "outputs", "said", "told"),
    [
        (ints("input_ids"), HIDDEN, {}, "embeddings.mask: expected attention_mask"),
        (BERT, HIDDEN, {"ids": "x"}, "embeddings.ids: expected x, the model has input_ids"),
        (BERT, HIDDEN, {"output": "x"}, "embeddings.output: expected x"),
        (BERT, floats(a=(-1, 2), b=(-1, 2)), {}, "embeddings.output: expected last_hidden_state"),
        ([*BERT, *ints("position_ids")], HIDDEN, {}, "input 'position_ids': expected token ids"),
        (ints("input_ids", "attention_mask", datatype="FP32"), HIDDEN, {}, "got FP32"),
        (ints("input_ids", "attention_mask", shape=(4, 8)), HIDDEN, {}, r"got \[4, 8\]"),
        ([*ints("input_ids"), *ints("attention_mask", shape=(-1, 8))], HIDDEN, {}, "one shape"),
        (BERT, HIDDEN, {"output": "pooler_output"}, "pooling 'mean' wants"),
        (BERT, HIDDEN, {"output": "last_hidden_state", "pooling": "none"}, "with 2 dimensions"),
        (BERT, floats(y=(-1, -1, -1)), {}, "last dimension that is known"),
    ],
)
def test_another_kind_of_model_is_refused(inputs, outputs, said, told):
    with pytest.raises(ModelRefused, match=told):
        places_of(inputs, outputs, Embeddings(**said))


def test_it_is_served_with_one_output_whatever_else_the_file_makes(tmp_path):
    maker.lay(tmp_path)
    file = onnx_file.inspect(tmp_path, "model.onnx")
    served = signature(file, {}, 8, MEAN)
    assert served.outputs == (TensorSpec("embedding", "FP32", (-1, maker.SIZE)),)
    assert served.batched
    assert signature(file, {}, 8).outputs[0].name == "last_hidden_state"


def test_a_tokenizer_belongs_to_the_files_of_a_version_and_lies_beside_them(tmp_path):
    maker.lay(tmp_path / "m")
    (tmp_path / "other.json").write_text("{}")
    file = onnx_file.inspect(tmp_path / "m", "model.onnx")
    assert files_of(file, None) == ("model.onnx",)
    assert files_of(file, MEAN) == ("model.onnx", "tokenizer.json")
    for name in ("../other.json", str(tmp_path / "other.json"), "missing.json"):
        with pytest.raises(ModelRefused, match="tokenizer"):
            files_of(file, Embeddings(tokenizer=name))
