"""The short way gives what the long way gives, and only for texts that are what they look like."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.wire.oip.codec import Codec, InferRequest
from gateway.wire.oip.templates import MAX_TEMPLATES
from tests.wire.oip_rig import (
    binary_tensor,
    codec_of,
    plain_codec,
    request,
    spec,
    tensor,
    with_binary,
)


def outcome(codec: Codec, body: bytes, header_length: int | None = None) -> object:
    """All that decoding says, comparable."""
    try:
        read = codec.decode(body, header_length)
    except InvalidRequest as error:
        return type(error), str(error)
    return described(read)


def described(read: InferRequest) -> object:
    arrays = [
        (array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes())
        for array in read.inputs
    ]
    scalars = (read.id, read.rows, read.choice.wanted, read.priority, read.timeout_us)
    return scalars, dict(read.parameters), arrays


def warmed(*bodies: bytes) -> Codec:
    codec = plain_codec()
    for body in bodies:
        for _ in range(3):
            outcome(codec, body)
    return codec


def knows(codec: Codec, body: bytes) -> bool:
    return codec._templates.read(body) is not None


SPACED = b"""{ "id" : "a", "inputs": [ {"name": "X", "shape": [1, 3], "datatype": "FP32",
 "data": [1, 2, 3]} ], "outputs": [ {"name": "Y"} ] }"""
KNOWN = [
    pytest.param(request(), id="plain"),
    pytest.param(request(outputs=[{"name": "label"}, {"name": "Y"}]), id="outputs"),
    pytest.param(
        request(parameters={"priority": 2, "timeout": 9, "tier": "gold"}), id="parameters"
    ),
    pytest.param(orjson.dumps({"id": "one", "inputs": [tensor()]}), id="id-first"),
    pytest.param(SPACED.replace(b'"id" :', b'"id":'), id="spaces"),
    pytest.param(request(tensor(data=..., name="X") | {"data": [1, 2, 3]}), id="data-last"),
    pytest.param(
        b'{"inputs":[{"data":[1,2,3],"name":"X","shape":[1,3],"datatype":"FP32"}]}', id="data-first"
    ),
]


@pytest.mark.parametrize("body", KNOWN)
def test_a_text_that_came_twice_is_known(body):
    codec = plain_codec()
    for seen in (False, False, True):
        assert knows(codec, body) is seen
        told = codec.decode(body, None).parameters
        assert dict(told) == orjson.loads(body).get("parameters", {})


@pytest.mark.parametrize("body", KNOWN)
@pytest.mark.parametrize(
    "numbers",
    [
        b"4,5,6",
        b" 4 , 5.5e1,\n-0 ",
        b"1e-50,1e38,18446744073709551616",
        b"1,2",
        b"1,2,3,4",
        b"",
        b"1,2,1e39",
        b"1,2,1e999",
        b"1,2,NaN",
        b"1,-Infinity,Infinity",
        b"1,2,true",
        b"false,2,3",
        b"1,2,null",
        b'1,2,"3"',
        b'1,2,"]"',
        b"[1,2,3]",
        b"[1,2],3",
        b"1,2,{}",
        b"1,2,",
        b"1,2,3]",
        b"01,2,3",
        b"\xff",
        b'"',
        b'1,2,3],"data":[4,5,6',
        b'1,2,3],"shape":[1,3',
        b'1,2,3],"name":"Z","x":[1',
        b'1,2,3]},{"data":[1,2,3',
    ],
)
def test_other_numbers_in_a_known_text_read_as_they_would_in_a_new_one(body, numbers):
    start = body.index(b"[", body.index(b'"data":')) + 1
    changed = body[:start] + numbers + body[body.index(b"]", start) :]
    assert outcome(warmed(body), changed) == outcome(plain_codec(), changed)


def test_another_id_in_a_known_text_is_the_one_that_is_echoed():
    codec = warmed(orjson.dumps({"id": "one", "inputs": [tensor()]}))
    for identifier in ["two", "", "\u00fc \u6c34", "x" * 5000, '"', "\\", "a\nb", "\0", '"id":"x"']:
        body = orjson.dumps({"id": identifier, "inputs": [tensor()]})
        assert outcome(codec, body) == outcome(plain_codec(), body)
        assert codec.decode(body, None).id == identifier


@pytest.mark.parametrize(
    "raw", [b"5", b"null", b'"\xff"', b'"a\nb"', b'"\\ud800"', b'"\\x"', b'"', b""]
)
def test_what_is_no_string_in_the_place_of_an_id_is_refused(raw):
    body = orjson.dumps({"id": "one", "inputs": [tensor()]})
    changed = body.replace(b'"one"', raw)
    assert outcome(warmed(body), changed) == outcome(plain_codec(), changed)


@pytest.mark.parametrize(
    "body",
    [
        request(parameters={'x"data': 1}).replace(b'\\"data":1', b'\\"data":[1]'),
        b'{"x":{"data":[1,2,3]},"inputs":[' + orjson.dumps(tensor()) + b"]}",
        b'{"parameters":{"id":"p"},"inputs":[' + orjson.dumps(tensor()) + b"]}",
        b'{"parameters":{"id":"p"},"id":"q","inputs":[' + orjson.dumps(tensor()) + b"]}",
        b'{"id":"p","id":"q","inputs":[' + orjson.dumps(tensor()) + b"]}",
        request(tensor(), id="behind"),
        b'{"inputs":[{"data":[9,9,9],"name":"X","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}',
        b'{"inputs":[' + orjson.dumps(tensor()) + b'],"inputs":[' + orjson.dumps(tensor()) + b"]}",
    ],
)
def test_texts_that_only_look_alike_are_always_read_the_long_way(body):
    codec = warmed(body)
    assert not knows(codec, body)
    assert outcome(codec, body) == outcome(plain_codec(), body)


def test_texts_that_begin_or_end_alike_are_told_apart():
    bodies = [
        request(),
        request(outputs=[{"name": "Y"}]),
        request(outputs=[{"name": "label"}]),
        request(tensor(parameters={"a": 1})),
        orjson.dumps({"id": "i", "inputs": [tensor()]}),
    ]
    codec = warmed(*bodies)
    for body in bodies + bodies[::-1]:
        assert knows(codec, body)
        assert outcome(codec, body) == outcome(plain_codec(), body)


BETWEEN = [
    pytest.param(b'1,2,3],"data":[4,5,6', id="a-second-array"),
    pytest.param(b'1,2,3],"shape":[3,1],"data":[4,5,6', id="another-shape"),
    pytest.param(b"[1,2,3]", id="nested"),
    pytest.param(b"[1],[2],[3]", id="nested-each"),
    pytest.param(b"1,2,3] ,[4,5,6", id="two-arrays"),
    pytest.param(b'1,"],[",3', id="brackets-in-a-string"),
    pytest.param(b"1,2", id="too-few"),
    pytest.param(b"", id="nothing"),
]


@pytest.mark.parametrize("between", BETWEEN)
def test_what_stands_between_known_ends_is_read_like_any_other_text(between):
    body = request()
    before, after = body.split(b"1,2,3")
    codec = warmed(body)
    assert knows(codec, body)
    for changed in (before + between + after, before[:-1] + after, before + after[1:]):
        assert outcome(codec, changed) == outcome(plain_codec(), changed)


def test_a_raw_nul_stands_for_nothing():
    body = orjson.dumps({"id": "one", "inputs": [tensor()]})
    codec = warmed(body)
    for cut in (body.replace(b'"one"', b"\0"), body.replace(b"[1,2,3]", b"\0"), b"\0" + body):
        assert outcome(codec, cut) == outcome(plain_codec(), cut)


def test_a_known_binary_header_reads_like_a_new_one():
    numbers = np.array([4, 5, 6], "<f4").tobytes()
    for extra in ({}, {"id": "one"}):
        document = extra | {"inputs": [binary_tensor(12)]}
        body, length = with_binary(document, numbers)
        codec = plain_codec()
        for _ in range(3):
            assert codec.decode(body, length).inputs[0].tolist() == [[4, 5, 6]]
        assert codec._templates.read_packed(body, length) is not None
        for changed in (body[:-1], body + b"x", body[:length]):
            assert outcome(codec, changed, length) == outcome(plain_codec(), changed, length)


def test_a_known_binary_header_may_hold_another_id():
    numbers = np.array([4, 5, 6], "<f4").tobytes()
    codec = plain_codec()
    for identifier in ["1", "2", "3", "4", '"', "\u6c34"]:
        for document in (
            {"id": identifier, "inputs": [binary_tensor(12)]},
            {"inputs": [binary_tensor(12)], "id": identifier},
        ):
            body, length = with_binary(document, numbers)
            assert codec.decode(body, length).id == identifier
    broken = b'{"inputs":[' + orjson.dumps(binary_tensor(12)) + b'],"id":\0}'
    fresh = outcome(plain_codec(), broken + numbers, len(broken))
    assert outcome(codec, broken + numbers, len(broken)) == fresh


def test_memory_is_bounded_however_many_texts_come():
    codec = codec_of([spec("X", "FP32", -1, -1)])
    for wide in range(MAX_TEMPLATES * 3):
        body = request(tensor(shape=[1, wide], data=[0] * wide))
        header = with_binary(
            {"inputs": [binary_tensor(wide * 4, shape=[1, wide])]}, bytes(wide * 4)
        )
        for _ in range(3):
            codec.decode(body, None)
            codec.decode(*header)
    templates = codec._templates
    assert len(templates._texts) <= MAX_TEMPLATES
    assert len(templates._heads) <= MAX_TEMPLATES
    assert len(templates._once) <= MAX_TEMPLATES


@settings(max_examples=150)
@given(data=st.data())
def test_any_damage_to_a_known_text_is_seen(data):
    known = [
        request(outputs=[{"name": "Y"}]),
        orjson.dumps({"id": "one", "inputs": [tensor()]}),
    ]
    codec = warmed(*known)
    body = bytearray(data.draw(st.sampled_from(known)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        piece = data.draw(st.sampled_from([b"", b"]", b"[", b'"', b",", b"0", b"e", b"\\", b"\0"]))
        body[place : place + data.draw(st.integers(0, 2))] = piece
    assert outcome(codec, bytes(body)) == outcome(plain_codec(), bytes(body))
