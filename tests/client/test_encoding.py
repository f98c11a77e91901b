"""Arrays to bodies and back: what is written is read by the gateway's own codec."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gateway.client.encoding import HEADER_LENGTH, Tensor, decode, encode, needs_specs, tensors
from gateway.client.errors import BadAnswer
from gateway.errors import InvalidTensor, WrongInputs
from gateway.tensors import DTYPES, Signature, TensorSpec
from gateway.wire.oip.codec import Codec

RNG = np.random.default_rng(5)


def strings(*texts: bytes) -> np.ndarray:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


SAMPLES = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65_535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[0.5, -65504]], np.float16),
    "FP32": np.array([[0.1, np.nan]], np.float32),
    "FP64": np.array([[0.1, -np.inf]]),
    "BYTES": strings(b"caf\xc3\xa9", b"").reshape(1, 2),
}


def codec(datatype: str) -> Codec:
    spec = (TensorSpec("x", datatype, (-1, 2)),)
    return Codec("m", "3", Signature(spec, spec, batched=True), 1 << 20, 128)


def both_ways(datatype: str, value, *, json: bool):
    """What comes back from a model that gives what it takes, through the gateway's own codec."""
    payload = encode(tensors({"x": value}, "m"), id="mine", json=json)
    length = (payload.headers or {}).get(HEADER_LENGTH)
    server = codec(datatype)
    request = server.decode(payload.body, None if length is None else int(length))
    body, header = server.answer(server.render(request.inputs), request, 0, request.rows)
    return decode(body, {} if header is None else {HEADER_LENGTH: str(header)})


@pytest.mark.parametrize("datatype", SAMPLES)
def test_every_datatype_comes_back_as_it_went_in_binary(datatype):
    answer = both_ways(datatype, SAMPLES[datatype], json=False)
    assert answer["x"].dtype == DTYPES[datatype]
    np.testing.assert_array_equal(answer["x"], SAMPLES[datatype])
    assert (answer.model, answer.version, answer.id, list(answer)) == ("m", "3", "mine", ["x"])


@pytest.mark.parametrize("datatype", [name for name in SAMPLES if name != "FP16"])
def test_every_datatype_with_a_json_form_comes_back_as_json(datatype):
    answer = both_ways(datatype, SAMPLES[datatype], json=True)
    assert answer["x"].dtype == DTYPES[datatype]
    np.testing.assert_array_equal(answer["x"], SAMPLES[datatype])


def test_bfloat16_is_widened_without_loss():
    bits = np.array([[0x3FC0, 0xC000]], np.uint16)
    body, length = encoded_answer("BF16", bits)
    np.testing.assert_array_equal(decode(body, length)["x"], [[1.5, -2.0]])


def encoded_answer(datatype: str, array: np.ndarray) -> tuple[bytes, dict[str, str]]:
    server = codec(datatype)
    tensor = Tensor("x", datatype, array)
    payload = encode([tensor])
    request = server.decode(payload.body, int((payload.headers or {})[HEADER_LENGTH]))
    body, header = server.answer(server.render(request.inputs), request, 0, 1)
    return body, {HEADER_LENGTH: str(header)}


@pytest.mark.parametrize(
    ("value", "bits"),
    [(1.0, 0x3F80), (1 + 2**-8, 0x3F80), (1 + 3 * 2**-8, 0x3F82), (float("nan"), 0x7FC0)],
)
def test_a_list_for_bfloat16_is_rounded_to_the_nearest_even(value, bits):
    spec = TensorSpec("x", "BF16", (-1, 1))
    (tensor,) = tensors([[value]], "m", [spec])
    assert tensor.array.tolist() == [[bits]]


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6, dtype=">f4").reshape(2, 3), id="big-endian"),
        pytest.param(np.arange(12, dtype="<f4").reshape(3, 4).T[:2, :3], id="not-contiguous"),
        pytest.param(np.array(4, "<f4"), id="scalar"),
    ],
)
def test_any_layout_becomes_little_endian_and_contiguous(array):
    (tensor,) = tensors({"x": array}, "m")
    assert tensor.array.tobytes() == array.astype("<f4").tobytes(order="C")
    assert tensor.array.shape == array.shape


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(np.array(["a", "é"]), id="unicode"),
        pytest.param(np.array([b"a", "é".encode()]), id="bytes"),
        pytest.param(np.array(["a", "é".encode()], object), id="objects"),
    ],
)
def test_strings_of_any_kind_are_utf8(value):
    (tensor,) = tensors({"x": value}, "m")
    assert (tensor.datatype, tensor.array.tolist()) == ("BYTES", [b"a", "é".encode()])


def test_only_lists_and_lone_values_need_the_models_inputs():
    rows = np.zeros((1, 2))
    asked = [needs_specs(x) for x in ({"x": rows}, {"x": [[0.0, 0.0]]}, rows, {"x": rows, "y": 1})]
    assert asked == [False, True, True, True]


@pytest.mark.parametrize(
    ("datatype", "value", "expected"),
    [
        ("FP32", [[1, 2.5]], np.array([[1, 2.5]], np.float32)),
        ("FP32", [[float("inf"), float("nan")]], np.array([[np.inf, np.nan]], np.float32)),
        ("INT8", [[-128, 127]], np.array([[-128, 127]], np.int8)),
        ("BOOL", [[True, False]], np.array([[True, False]])),
        ("FP64", [], np.array([], np.float64)),
        ("INT64", [[], []], np.zeros((2, 0), np.int64)),
    ],
)
def test_a_list_takes_the_models_datatype(datatype, value, expected):
    (tensor,) = tensors(value, "m", [TensorSpec("x", datatype, (-1, 2))])
    assert (tensor.name, tensor.datatype, tensor.array.dtype) == ("x", datatype, expected.dtype)
    np.testing.assert_array_equal(tensor.array, expected)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        pytest.param("INT64", [[1.5]], id="fraction-for-integer"),
        pytest.param("INT8", [[128]], id="out-of-range"),
        pytest.param("UINT8", [[-1]], id="negative"),
        pytest.param("FP32", [[1e300]], id="too-large"),
        pytest.param("FP32", [["1"]], id="text-for-number"),
        pytest.param("FP32", [[1], [1, 2]], id="ragged"),
        pytest.param("FP32", [[None]], id="nothing"),
        pytest.param("BOOL", [[1]], id="number-for-boolean"),
        pytest.param("BYTES", [["a"], [1]], id="number-for-text"),
        pytest.param("BYTES", [["a"], ["b", "c"]], id="ragged-texts"),
    ],
)
def test_a_list_that_would_change_is_refused(datatype, value):
    with pytest.raises(InvalidTensor, match="input 'x': expected"):
        tensors(value, "m", [TensorSpec("x", datatype, (-1, 2))])


def test_an_array_without_a_datatype_is_refused():
    with pytest.raises(InvalidTensor, match="got an array of complex128"):
        tensors({"x": np.zeros(1, complex)}, "m")


def test_names_that_do_not_fit_are_told_with_the_wanted():
    specs = [TensorSpec("a", "FP32", (-1,)), TensorSpec("b", "FP32", (-1,))]
    with pytest.raises(WrongInputs, match="model 'm': expected inputs a, b, got 'c'"):
        tensors({"c": [1]}, "m", specs)
    with pytest.raises(WrongInputs, match="expected inputs a, b by name, got one value"):
        tensors([1], "m", specs)


@pytest.mark.parametrize("datatype", ["FP16", "BYTES"])
def test_what_has_no_json_form_is_refused_before_it_is_sent(datatype):
    array = np.zeros(1, np.float16) if datatype == "FP16" else strings(b"\xff")
    with pytest.raises(InvalidTensor, match="send it binary"):
        encode(tensors({"x": array}, "m"), json=True)


def test_the_request_says_what_was_asked_for():
    given = tensors({"x": np.zeros((1, 2), np.float32)}, "m")
    payload = encode(
        given, outputs=["y"], parameters={"priority": 1}, timeout_us=1500, id="7", json=True
    )
    assert json.loads(payload.body) == {
        "id": "7",
        "parameters": {"timeout": 1500, "priority": 1},
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.0, 0.0]}],
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
    }


ANSWER = {
    "model_name": "m",
    "outputs": [{"name": "y", "shape": [2], "datatype": "INT32", "data": [1, 2]}],
}


def test_the_shortest_answer_is_read():
    answer = decode(json.dumps(ANSWER).encode(), {"penstock-request-id": "h-0-1-9"})
    assert (answer.version, answer.id, answer.request_id) == ("", None, "h-0-1-9")
    assert answer["y"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"<html>", {}, id="no-json"),
        pytest.param(b"[]", {}, id="no-object"),
        pytest.param(b"{}", {}, id="no-outputs"),
        pytest.param(json.dumps(ANSWER).encode(), {HEADER_LENGTH: "many"}, id="length"),
        pytest.param(
            json.dumps(ANSWER).replace('"INT32"', '"FP77"').encode(), {}, id="no-such-datatype"
        ),
        pytest.param(json.dumps(ANSWER).replace("[2]", "[3]").encode(), {}, id="wrong-shape"),
        pytest.param(json.dumps(ANSWER).replace("[2]", "2").encode(), {}, id="shape-is-no-list"),
    ],
)
def test_an_answer_that_is_none_is_told(body, headers):
    with pytest.raises(BadAnswer):
        decode(body, headers)


def test_a_binary_answer_cut_anywhere_is_told():
    body, headers = encoded_answer("FP32", RNG.random((1, 2), np.float32))
    for end in range(len(body)):
        with pytest.raises(BadAnswer):
            decode(body[:end], headers)
