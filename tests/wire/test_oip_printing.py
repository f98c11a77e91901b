"""What is printed in pieces is what one piece would have been."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from gateway.tensors import Signature
from gateway.wire.oip.codec import Codec
from gateway.wire.oip.printing import (
    PIECE_BYTES,
    PIECE_NUMBERS,
    PIECE_STRINGS,
    NotText,
    joined,
    numbers_text,
    row_texts,
    strings_text,
)
from gateway.wire.oip.weight import BINARY_BYTES, CLASS, NUMBER, RANKED, RANKING, STRING
from tests.wire.oip_rig import codec_of, request, spec, tail_of, tensor

SHAPES = [
    pytest.param((1, 1), id="one"),
    pytest.param((3, PIECE_NUMBERS // 3), id="just-one-piece"),
    pytest.param((5, PIECE_NUMBERS // 2), id="two-rows-a-piece"),
    pytest.param((PIECE_NUMBERS + 5, 1), id="short-rows"),
    pytest.param((2, 2 * PIECE_NUMBERS), id="rows-of-whole-pieces"),
    pytest.param((3, 2 * PIECE_NUMBERS + 1), id="rows-of-pieces-and-a-rest"),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "<u1", "?"])
def test_numbers_printed_in_pieces_are_what_orjson_prints_at_once(shape, dtype):
    table = np.random.default_rng(1).normal(0, 50, shape).astype(dtype)
    whole = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)
    assert b"[[" + b"],[".join(row_texts(table)) + b"]]" == whole
    flat = orjson.dumps(table.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    assert b"[" + numbers_text(table) + b"]" == flat


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_finite_keeps_its_place_in_every_piece(shape):
    table = np.random.default_rng(2).normal(size=shape)
    odd = np.array([np.nan, np.inf, -np.inf])
    places = np.random.default_rng(3).random(shape) < 0.01
    places[0, 0] = places[-1, -1] = True
    table[places] = np.resize(odd, places.sum())
    numbers = b",".join(row_texts(table)).split(b",")
    read = np.array([float(number) for number in numbers]).reshape(shape)
    np.testing.assert_array_equal(read, table)


@pytest.mark.parametrize("count", [0, 1, PIECE_STRINGS, PIECE_STRINGS + 1, 3 * PIECE_STRINGS])
def test_strings_printed_in_pieces_are_what_orjson_prints_at_once(count):
    words = [f'"{n}\\ é'.encode() for n in range(count)]
    array = np.array(words, object)
    text = strings_text(array)
    assert b"[" + text + b"]" == orjson.dumps([word.decode() for word in words])


def test_an_element_that_is_no_text_is_named_by_its_place_in_the_whole():
    array = np.full((2, PIECE_STRINGS), b"w", object)
    array[1, 7] = b"\xff"
    with pytest.raises(NotText, match=f"{PIECE_STRINGS + 7}"):
        strings_text(array)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 2 * PIECE_BYTES + 1])
def test_pieces_are_joined_whatever_they_are(size):
    raw = np.random.default_rng(size).bytes(size)
    assert joined([b"head", memoryview(raw), raw, b""]) == b"head" + raw + raw


def test_binary_answers_of_many_megabytes_hold_every_riders_own_rows():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "FP32", -1, 300_000)])
    asked = codec.decode(request(parameters={"binary_data_output": True}, id="seven"), None)
    y = np.random.default_rng(5).normal(size=(4, 300_000)).astype("<f4")
    rendered = codec.render([y])
    for start, stop in [(0, 4), (0, 1), (1, 3)]:
        answer = codec.answer(rendered, asked, start, stop)
        assert tail_of(answer) == y[start:stop].tobytes()


# ---- weight --------------------------------------------------------------------------------------


def over(codec: Codec, limit: int, outputs: list[np.ndarray], /, **asked: object) -> bool:
    return codec.weighs_over(limit, outputs, [codec.decode(request(**asked), None)])


def test_numbers_weigh_by_their_text_and_binary_tensors_by_their_bytes():
    codec = codec_of([spec("X", "FP32", -1, 3)])
    y = [np.zeros((500, 2), "<f4")]
    text, raw = 1000 * NUMBER, 4000 // BINARY_BYTES
    assert [over(codec, limit, y) for limit in (text - 1, text)] == [True, False]
    asked = {"parameters": {"binary_data_output": True}}
    assert [over(codec, limit, y, **asked) for limit in (raw - 1, raw)] == [True, False]


def test_of_riders_that_ask_for_different_forms_the_dearest_counts():
    codec = codec_of([spec("X", "FP32", -1, 3)])
    asked = [
        codec.decode(request(parameters={"binary_data_output": binary}), None)
        for binary in (True, False)
    ]
    assert codec.weighs_over(1000 * NUMBER - 1, [np.zeros((500, 2), "<f4")], asked)


@pytest.mark.parametrize(
    ("classes", "named"),
    [
        pytest.param(3, 3, id="the-highest"),
        pytest.param(200, 100, id="more-than-there-are"),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_classes_weigh_by_what_is_sorted_and_what_is_named(classes, named, binary):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", "FP32", -1, 100)])
    parameters = {"classification": classes, "binary_data": binary}
    asked = {"outputs": [{"name": "Y", "parameters": parameters}]}
    heavy = 50 * (RANKING + 100 * RANKED + named * CLASS)
    y = [np.zeros((50, 100), "<f4")]
    assert [over(codec, limit, y, **asked) for limit in (heavy - 1, heavy)] == [True, False]


def test_classes_of_a_signature_without_rows_are_ranked_all_together():
    given, made = spec("X", "FP32", 3), spec("Y", "FP32", 2, 50)
    codec = Codec("m", "1", Signature((given,), (made,), batched=False), 1 << 20, 0)
    asked = {"outputs": [{"name": "Y", "parameters": {"classification": 3}}]}
    body = request(tensor(shape=[3], data=[1, 2, 3]), **asked)
    heavy = RANKING + 100 * RANKED + 3 * CLASS
    y, read = [np.zeros((2, 50), "<f4")], [codec.decode(body, None)]
    assert [codec.weighs_over(limit, y, read) for limit in (heavy - 1, heavy)] == [True, False]


def test_strings_weigh_by_their_number_and_their_length():
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("words", "BYTES", -1, 1)])
    words = np.array([[b"x" * 1000]] * 10, object)
    assert [over(codec, 10_000 + 10 * STRING - more, [words]) for more in (1, 0)] == [True, False]


@pytest.mark.parametrize(
    ("output", "batched", "rows"),
    [
        pytest.param(spec("Y", "FP32", -1, 10), True, 100, id="rows-of-ten"),
        pytest.param(spec("Y", "FP32", -1, 1000), True, 1, id="rows-of-a-thousand"),
        pytest.param(spec("Y", "FP32", 10), False, 100, id="not-batched"),
        pytest.param(spec("Y", "FP32", -1, -1), True, 0, id="of-any-length"),
        pytest.param(spec("Y", "BYTES", -1, 1), True, 0, id="strings"),
        pytest.param(spec("Y", "FP32", -1, 100_000), True, 0, id="always-heavy"),
    ],
)
def test_rows_that_are_light_whatever_is_asked_are_known_beforehand(output, batched, rows):
    inputs = (spec("X", "FP32", *((-1, 3) if batched else (3,))),)
    codec = Codec("m", "1", Signature(inputs, (output,), batched), 1 << 20, 8)
    assert codec.light_rows(100 * (RANKING + 10 * (RANKED + CLASS))) == rows
