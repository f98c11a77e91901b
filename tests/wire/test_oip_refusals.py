"""Requests in JSON: every way in which one is refused."""

from __future__ import annotations

import json

import pytest

from gateway.errors import (
    BatchTooLarge,
    BodyTooLarge,
    InvalidParameter,
    InvalidTensor,
    MalformedJson,
    WrongInputs,
)
from tests.wire.oip_rig import (
    INTEGERS,
    LARGEST,
    SMALLEST,
    codec_of,
    plain_codec,
    refusal,
    request,
    spec,
    tensor,
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nul",
        b"[1,]",
        b'{"inputs":}',
        b"\xff",
        b'{"a":"\xff"}',
        b"{} x",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_refused(body):
    assert type(refusal(plain_codec(), body)) is MalformedJson


@pytest.mark.parametrize("body", [b"[]", b"5", b'"x"', b"null", b"{}", b'{"inputs":{}}'])
def test_what_is_no_request_is_refused(body):
    assert type(refusal(plain_codec(), body)) is MalformedJson


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"name": "Z"}, WrongInputs, "unexpected inference input 'Z' for model 'm', expected 'X'"),
        ({"name": 5}, MalformedJson, "expected a string, got 5"),
        ({"name": ...}, MalformedJson, "expected a string, got null"),
        (
            {"datatype": "FP64"},
            InvalidTensor,
            "inference input 'X' data-type is 'FP64', but model 'm' expects 'FP32'",
        ),
        ({"datatype": "fp32"}, InvalidTensor, "data-type is 'fp32'"),
        ({"datatype": ...}, MalformedJson, "datatype: expected a string, got null"),
        ({"datatype": 1}, MalformedJson, "datatype: expected a string, got 1"),
        ({"shape": ...}, MalformedJson, "shape: expected an array, got null"),
        ({"shape": 3}, MalformedJson, "shape: expected an array, got 3"),
        (
            {"shape": [1, 4]},
            InvalidTensor,
            "unexpected shape for input 'X' of model 'm': expected [-1, 3], got [1, 4]",
        ),
        ({"shape": [3]}, InvalidTensor, "expected [-1, 3], got [3]"),
        ({"shape": [1, 3, 1]}, InvalidTensor, "expected [-1, 3], got [1, 3, 1]"),
        ({"shape": []}, InvalidTensor, "expected [-1, 3], got []"),
        ({"shape": [1] * 99}, InvalidTensor, "1, ...]"),
        ({"shape": [0, 3], "data": []}, InvalidTensor, "unexpected shape for input 'X'"),
        ({"shape": [-1, 3]}, InvalidTensor, "expected unsigned integers, got -1 in [-1, 3]"),
        ({"shape": [1.0, 3]}, InvalidTensor, "expected unsigned integers, got 1.0"),
        ({"shape": [True, 3]}, InvalidTensor, "expected unsigned integers, got true"),
        ({"shape": ["1", 3]}, InvalidTensor, "expected unsigned integers, got '1'"),
        ({"shape": [None, 3]}, InvalidTensor, "expected unsigned integers, got null"),
        (
            {"shape": [9, 3], "data": [0] * 27},
            BatchTooLarge,
            "inference request batch-size must be <= 8 for 'm', got 9",
        ),
        ({"shape": [1 << 62, 3]}, InvalidTensor, "causes total element count to exceed maximum"),
        ({"shape": [1 << 60, 3]}, InvalidTensor, "byte size overflow for input 'X'"),
        ({"shape": [1 << 20, 3]}, BodyTooLarge, "holds 12582912 bytes, expected at most 1048576"),
        ({"data": ...}, InvalidTensor, "expected exactly one of"),
        (
            {"parameters": {"binary_data_size": 12}},
            InvalidTensor,
            "exactly one of 'data' and 'binary_data_size', got both",
        ),
        ({"data": None}, MalformedJson, "data: expected an array, got null"),
        ({"data": 5}, MalformedJson, "data: expected an array, got 5"),
        ({"data": {"0": 1}}, MalformedJson, "data: expected an array, got an object"),
        ({"data": [1, 2]}, InvalidTensor, "shape does not match 'data': expected 3 elements"),
        ({"data": [1, 2, 3, 4]}, InvalidTensor, "for shape [1, 3], got 4"),
        ({"data": []}, InvalidTensor, "for shape [1, 3], got 0"),
        ({"data": [[1, 2]]}, InvalidTensor, "expected 3 elements along axis 1"),
        ({"data": [[1, 2, 3], [4, 5, 6]]}, InvalidTensor, "expected 1 elements along axis 0"),
        ({"data": [[[1, 2, 3]]]}, InvalidTensor, "got 1"),
        ({"data": [[1, 2, [3]]]}, InvalidTensor, "element 2: expected a number that fits FP32"),
        ({"data": [1, [2], 3]}, InvalidTensor, "element 1: expected a number that fits FP32"),
        ({"data": [1, 2, "3"]}, InvalidTensor, "element 2: expected a number that fits FP32"),
        ({"data": [1, None, 3]}, InvalidTensor, "element 1: expected a number that fits FP32"),
        ({"data": [True, 2, 3]}, InvalidTensor, "element 0: expected a number that fits FP32"),
        ({"data": [1, 2, 1e39]}, InvalidTensor, "element 2: expected a number that fits FP32"),
        ({"data": [1, 2, {}]}, InvalidTensor, "got an object"),
        ({"parameters": 5}, MalformedJson, "parameters: expected an object, got 5"),
        ({"parameters": {"x": None}}, InvalidParameter, "expected a string, number or boolean"),
        ({"parameters": {"x": []}}, InvalidParameter, "expected a string, number or boolean"),
        (
            {"parameters": {"shared_memory_region": "r"}, "data": ...},
            InvalidParameter,
            "shared memory is not supported",
        ),
        (
            {"parameters": {"binary_data_size": -1}, "data": ...},
            InvalidParameter,
            "expected an unsigned integer, got -1",
        ),
        (
            {"parameters": {"binary_data_size": True}, "data": ...},
            InvalidParameter,
            "expected an unsigned integer, got true",
        ),
    ],
)
def test_a_bad_input_is_refused(changes, error, words):
    found = refusal(plain_codec(), request(tensor(**changes)))
    assert words in str(found)
    assert type(found) is error


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("by", ["under", "over"])
def test_integers_are_never_wrapped(datatype, by):
    codec = codec_of([spec("X", datatype, -1, 1)])
    value = SMALLEST[datatype] - 1 if by == "under" else LARGEST[datatype] + 1
    body = json.dumps({"inputs": [tensor(datatype=datatype, shape=[1, 1], data=[value])]}).encode()
    found = refusal(codec, body)
    assert f"element 0: expected an integer that fits {datatype}" in str(found)


@pytest.mark.parametrize("value", [1.0, 1.5, "1", True, None, {}, [[1]]])
def test_only_integers_are_integers(value):
    codec = codec_of([spec("X", "INT32", -1, 1)])
    assert type(refusal(codec, request(tensor(datatype="INT32", shape=[1, 1], data=[value])))) is (
        InvalidTensor
    )


@pytest.mark.parametrize("value", [0, 1, 1.0, "true", None])
def test_only_booleans_are_booleans(value):
    codec = codec_of([spec("X", "BOOL", -1, 1)])
    found = refusal(codec, request(tensor(datatype="BOOL", shape=[1, 1], data=[value])))
    assert "element 0: expected a boolean that fits BOOL" in str(found)


@pytest.mark.parametrize("value", [0, True, None, {}, [["x"]]])
def test_only_strings_are_strings(value):
    codec = codec_of([spec("X", "BYTES", -1, 1)])
    found = refusal(codec, request(tensor(datatype="BYTES", shape=[1, 1], data=[value])))
    assert type(found) is InvalidTensor


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_have_no_json_form(datatype):
    codec = codec_of([spec("X", datatype, -1, 3)])
    found = refusal(codec, request(tensor(datatype=datatype)))
    assert f"input 'X': {datatype} has no JSON form" in str(found)


def test_an_input_given_twice_is_refused():
    assert "input 'X' already exists" in str(refusal(plain_codec(), request(tensor(), tensor())))


def test_missing_and_additional_inputs_are_counted():
    codec = codec_of([spec("A", "FP32", -1, 3), spec("B", "FP32", -1, 3)])
    missing = refusal(codec, request(tensor(name="A")))
    assert "expected 2 inputs but got 1 inputs for model 'm', missing 'B'" in str(missing)
    more = refusal(codec, request(*[tensor(name=name) for name in "ABC"]))
    assert "expected 2 inputs but got 3 inputs" in str(more)
    assert type(missing) is type(more) is WrongInputs
    assert "expected 2 inputs but got 0" in str(refusal(codec, b'{"inputs":[]}'))
    twice = refusal(codec, request(tensor(name="A"), tensor(name="A")))
    assert "input 'A' already exists in request" in str(twice)


def test_inputs_of_one_request_agree_on_rows():
    codec = codec_of([spec("A", "FP32", -1, 1), spec("B", "FP32", -1, 1)])
    found = refusal(
        codec,
        request(
            tensor(name="A", shape=[2, 1], data=[1, 2]), tensor(name="B", shape=[1, 1], data=[1])
        ),
    )
    assert "expected 2 rows as in 'A', got 1" in str(found)


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        (5, MalformedJson, "request: parameters: expected an object, got 5"),
        (None, MalformedJson, "expected an object, got null"),
        ({"x": {}}, InvalidParameter, "parameter 'x': expected a string, number or boolean"),
        ({"priority": -1}, InvalidParameter, "'priority': expected an unsigned integer, got -1"),
        ({"priority": 1.0}, InvalidParameter, "expected an unsigned integer, got 1.0"),
        ({"priority": "1"}, InvalidParameter, "expected an unsigned integer, got '1'"),
        ({"priority": True}, InvalidParameter, "expected an unsigned integer, got true"),
        ({"timeout": -5}, InvalidParameter, "'timeout': expected an unsigned integer"),
        ({"timeout": 0.5}, InvalidParameter, "'timeout': expected an unsigned integer"),
        ({"binary_data_output": "yes"}, InvalidParameter, "expected a boolean, got 'yes'"),
        ({"triton_x": 1}, InvalidParameter, "names starting with 'triton_' are reserved"),
        ({"headers": "x"}, InvalidParameter, "reserved"),
        ({"sequence_id": 7}, InvalidParameter, "sequences are not supported"),
        ({"sequence_start": True}, InvalidParameter, "sequences are not supported"),
        ({f"p{n}": 1 for n in range(257)}, InvalidParameter, "at most 256 parameters, got 257"),
    ],
)
def test_bad_parameters_are_refused(parameters, error, words):
    found = refusal(plain_codec(), request(parameters=parameters))
    assert words in str(found)
    assert type(found) is error


def test_parameters_are_counted_before_they_are_looked_at():
    many = {**{f"p{n}": 1 for n in range(256)}, "last": None}
    for body in (
        request(parameters=many),
        request(tensor(parameters=many)),
        request(outputs=[{"name": "Y", "parameters": many}]),
    ):
        assert "expected at most 256 parameters, got 257" in str(refusal(plain_codec(), body))


@pytest.mark.parametrize("identifier", [5, None, True, [], {}])
def test_the_id_must_be_a_string(identifier):
    assert "id: expected a string" in str(refusal(plain_codec(), request(id=identifier)))


def test_messages_stay_short_whatever_the_client_sends():
    long = "x" * 100_000
    for body in (
        request(tensor(name=long)),
        request(tensor(datatype=long)),
        request(tensor(data=[long, 1, 2])),
        request(tensor(shape=list(range(10_000)))),
        request(outputs=[{"name": long}]),
        request(parameters={long: None}),
        request(parameters={"priority": long}),
    ):
        assert len(str(refusal(plain_codec(), body))) < 500
