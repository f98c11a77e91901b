"""Texts become the tensors of a model, in parts that are worth a run."""

from __future__ import annotations

import itertools
import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Embeddings, ModelSettings
from gateway.errors import GatewayError, InvalidParameter, ModelRefused
from gateway.models import onnx_file
from gateway.models.embedding import places_of
from gateway.models.signature import signature
from gateway.serving.tokens import TextReader, buckets, padded, parts
from tests.embeddings import maker


def reader(folder, length="tokens", **said) -> TextReader:
    maker.lay(folder, length=length)
    file = onnx_file.inspect(folder, "model.onnx")
    wanted = Embeddings(**said)
    places = places_of(file.inputs, file.outputs, wanted)
    return TextReader(folder, wanted, places, signature(file, {}, 8, wanted))


def test_a_text_becomes_ids_their_mask_and_their_types(tmp_path):
    (part,) = reader(tmp_path).read(["water wine", "salt"], 8)
    ids, mask, types = part.inputs
    whole = [maker.tokenizer().encode(text).ids for text in ("water wine", "salt")]
    assert ids.tolist() == [whole[0], [*whole[1], 0]]
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert not types.any()
    assert (part.numbers, part.tokens, ids.dtype) == ((0, 1), 7, np.dtype(np.int64))


def test_a_model_of_one_length_gets_texts_of_that_length(tmp_path):
    read = reader(tmp_path, length=6)
    (part,) = read.read(["salt", "water"], 8)
    assert part.inputs[0].shape == (2, 6)
    with pytest.raises(InvalidParameter, match="expected 1 to 6 tokens, got 7"):
        read.read(["water wine bread salt river"], 8)


def test_a_prefix_stands_before_each_text(tmp_path):
    (with_it,) = reader(tmp_path, prefix="water ").read(["salt"], 8)
    (spelt,) = reader(tmp_path).read(["water salt"], 8)
    assert with_it.inputs[0].tolist() == spelt.inputs[0].tolist()


def test_a_text_that_is_too_long_is_refused_by_its_place(tmp_path):
    with pytest.raises(InvalidParameter, match=r"'input\[1\]': expected 1 to 4 tokens, got 5"):
        reader(tmp_path, max_tokens=4).read(["water wine", "water wine salt"], 8)


def test_or_is_cut_where_that_is_wanted_and_still_ends_as_texts_do(tmp_path):
    (part,) = reader(tmp_path, max_tokens=4, too_long="truncate").read(["water wine salt"], 8)
    assert part.inputs[0].tolist() == [maker.tokenizer().encode("water wine").ids]
    assert part.tokens == 4


def test_a_text_that_must_be_too_long_is_not_read_at_all(tmp_path):
    text = "water" * 60  # one word, and so one unknown token
    with pytest.raises(InvalidParameter, match="so 256 characters, got 300"):
        reader(tmp_path, max_tokens=4).read(["wine", text], 8)
    (part,) = reader(tmp_path, max_tokens=4, too_long="truncate").read([text], 8)
    assert part.tokens == 3


def test_many_texts_are_read_some_at_a_time_and_only_while_somebody_waits(tmp_path):
    asked: list[bool] = []

    def gone() -> bool:
        asked.append(len(asked) == 3)
        return asked[-1]

    texts = ["water " * 500] * 200  # 600,000 characters
    with pytest.raises(GatewayError, match="the client left"):
        reader(tmp_path).read(texts, 8, gone)
    assert asked == [False, False, False, True]


def test_a_text_without_a_token_is_refused(tmp_path):
    read = reader(tmp_path)
    tokenizer = maker.tokenizer()
    tokenizer.post_processor = None
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InvalidParameter, match="got 0"):
        reader_again(tmp_path).read(["  "], 8)
    assert read.read(["  "], 8)[0].tokens == 2  # where each text is put between two


def reader_again(folder) -> TextReader:
    file = onnx_file.inspect(folder, "model.onnx")
    places = places_of(file.inputs, file.outputs, Embeddings())
    return TextReader(folder, Embeddings(), places, signature(file, {}, 8, Embeddings()))


def test_what_a_tokenizer_brings_along_of_padding_and_cutting_is_not_followed(tmp_path):
    maker.lay(tmp_path)
    tokenizer = maker.tokenizer()
    tokenizer.enable_padding(length=20)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (part,) = reader_again(tmp_path).read(["water wine salt"], 8)
    assert part.inputs[0].shape == (1, 5)


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"model": {"type": "none"}}), "\udcff"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, text):
    maker.lay(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelRefused, match=r"tokenizer 'tokenizer\.json'"):
        reader_again(tmp_path)


def test_without_the_package_the_command_is_told_that_installs_it(tmp_path, monkeypatch):
    maker.lay(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # as Python has it of what is not there
    with pytest.raises(ModelRefused, match=r"pip install 'penstock\[llm\]'"):
        reader_again(tmp_path)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=80), st.integers(1, 16))
def test_parts_hold_every_text_once_and_none_is_filled_up_to_more_than_twice(lengths, most):
    found = list(parts(lengths, most))
    assert sorted(number for part in found for number in part) == list(range(len(lengths)))
    for part in found:
        assert len(part) <= most
        assert list(part) == sorted(part)
        assert max(lengths[n] for n in part) <= 2 * min(lengths[n] for n in part)


@given(st.integers(1, 100_000))
def test_texts_are_filled_up_by_half_at_most(most):
    found = buckets(most)
    assert found[-1] == most
    assert all(a < b <= max(1.5 * a, 16) for a, b in itertools.pairwise(found))


def settings(**given) -> ModelSettings:
    return ModelSettings(embeddings=Embeddings(), **given)


@pytest.mark.parametrize(
    "padding",
    [{"buckets": [8], "value": 1}, {"buckets": [8], "inputs": ["input_ids"]}],
    ids=["a-mask-of-ones", "one-input-alone"],
)
def test_padding_that_would_change_what_is_answered_is_refused(tmp_path, padding):
    maker.lay(tmp_path)
    served = signature(onnx_file.inspect(tmp_path, "model.onnx"), {}, 8, Embeddings())
    with pytest.raises(ModelRefused, match="with a value of 0"):
        padded(served, settings(padding=padding))
    own = settings(padding={"buckets": [8]})
    assert padded(served, own) is own
