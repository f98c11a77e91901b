"""Texts that are nearly JSON, nest deeply, or would cost more than their length."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.errors import (
    BodyTooLarge,
    InvalidTensor,
    MalformedJson,
)
from tests.wire.oip_rig import (
    codec_of,
    plain_codec,
    refusal,
    request,
    spec,
    tensor,
)


def test_bare_non_finite_tokens_are_read():
    body = request(tensor(data=[1.5, 2.5, 3.5]), id="a").replace(
        b"1.5,2.5,3.5", b"NaN,Infinity,-Infinity"
    )
    read = plain_codec().decode(body, None)
    assert np.isnan(read.inputs[0][0, 0])
    assert read.inputs[0][0, 1:].tolist() == [float("inf"), float("-inf")]
    assert read.id == "a"


@pytest.mark.parametrize(
    "token",
    [b"nan", b"+Infinity", b"inf", b"1e999", b"-1e999", b"NaN1", b"01", b"1.", b".5", b"+1"],
)
def test_other_tokens_are_not_read(token):
    body = request(tensor(data=[9.25, 2, 3])).replace(b"9.25", token)
    assert type(refusal(plain_codec(), body)) is MalformedJson
    assert type(refusal(plain_codec(), body.replace(b",2,", b",NaN,"))) is MalformedJson


def test_a_lone_surrogate_beside_a_nan_is_refused():
    body = request(tensor(data=[9.25, 2, 3]), id="q").replace(b"9.25", b"NaN")
    found = refusal(plain_codec(), body.replace(b'"q"', rb'"\ud800"'))
    assert type(found) is MalformedJson


def test_a_non_finite_integer_is_refused():
    codec = codec_of([spec("X", "INT64", -1, 1)])
    body = request(tensor(datatype="INT64", shape=[1, 1], data=[7])).replace(b"[7]", b"[NaN]")
    assert type(refusal(codec, body)) is InvalidTensor


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 250_000,
        b'{"a":' * 250_000,
        b"[" * 101 + b"]" * 101,
        b'{"inputs":' + b"[" * 100 + b"]" * 100 + b"}",
        b'["' + b'\\"' * 50 + b'",' + b"[{" * 60,
        b"[" * 250_000 + b"NaN" + b"]" * 250_000,
    ],
    ids=["open", "objects", "closed", "inside", "after-a-string", "with-nan"],
)
def test_nesting_bombs_are_refused(bomb):
    found = refusal(plain_codec(), bomb)
    assert type(found) is MalformedJson
    assert "JSON nesting depth exceeds maximum allowed limit (100)" in str(found)


def test_many_arrays_side_by_side_are_no_bomb():
    codec = codec_of([spec("X", "FP32", -1, 1)], max_batch_size=1000)
    body = request(tensor(shape=[500, 1], data=[[1]] * 500), unknown=[[[[]]]] * 50)
    assert codec.decode(body, None).rows == 500


def test_brackets_in_strings_do_not_nest():
    codec = codec_of([spec("X", "BYTES", -1, 1)])
    text = '[{"\\' * 200
    body = request(tensor(datatype="BYTES", shape=[1, 1], data=[text]))
    assert codec.decode(body, None).inputs[0][0, 0] == text.encode()


def test_colons_in_strings_are_no_members():
    codec = codec_of([spec("X", "BYTES", -1, 1)], max_batch_size=0)
    rows = 70_000
    body = request(tensor(datatype="BYTES", shape=[rows, 1], data=["12:30:15 http://x"] * rows))
    assert codec.decode(body, None).rows == rows


def test_unterminated_strings_cost_no_more_than_their_length():
    bomb = b"[" * 101 + b'"' + b'\\"' * 200_000
    assert type(refusal(plain_codec(), bomb)) is MalformedJson


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        pytest.param(
            b'{"x":[' + b"[]," * 300_001 + b"1]}", BodyTooLarge, "arrays and objects", id="lists"
        ),
        pytest.param(
            b'{"parameters":{' + b'"":1,' * 200_000 + b'"":1}}',
            BodyTooLarge,
            "members of objects, got 200002",
            id="members",
        ),
        pytest.param(
            b"{" + b'"" \n:1,' * 200_000 + b'"":1}',
            BodyTooLarge,
            "members of objects, got 200001",
            id="spaced-members",
        ),
        pytest.param(b'{"x":[' + b'"",' * 2_000_000 + b"1]}", BodyTooLarge, "quotes", id="strings"),
        pytest.param(
            b'{"x":[NaN,' + b"1," * (9 << 20) + b"1]}", BodyTooLarge, "binary tensors", id="nan"
        ),
        pytest.param(
            b'{"inputs":[NaN,' + b"1" * 5000 + b"]}", MalformedJson, "is too large", id="digits"
        ),
        pytest.param(b'"data":[[1] ],' * 100_000, MalformedJson, "malformed", id="short-arrays"),
    ],
)
def test_a_small_text_cannot_become_a_large_burden(body, error, words):
    with pytest.raises(error, match=words):
        plain_codec().decode(body, None)
