"""Requests in JSON: what is read, and every way in which it is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gateway.errors import (
    BatchTooLarge,
    BodyTooLarge,
    InvalidParameter,
    InvalidRequest,
    InvalidTensor,
    MalformedJson,
    WrongInputs,
    WrongOutputs,
)
from gateway.tensors import DTYPES
from gateway.wire.oip import Wanted
from tests.wire.oip_rig import codec_of, plain_codec, request, spec, tensor

SMALLEST = {"UINT8": 0, "UINT16": 0, "UINT32": 0, "UINT64": 0} | {
    f"INT{bits}": -(1 << bits - 1) for bits in (8, 16, 32, 64)
}
LARGEST = {f"UINT{bits}": (1 << bits) - 1 for bits in (8, 16, 32, 64)} | {
    f"INT{bits}": (1 << bits - 1) - 1 for bits in (8, 16, 32, 64)
}
INTEGERS = sorted(SMALLEST)


def refusal(body: bytes, codec=None, header_length: int | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        (codec or plain_codec()).decode(body, header_length)
    return caught.value


# ---- what is read --------------------------------------------------------------------------------


def test_flat_data_becomes_the_announced_shape():
    read = plain_codec().decode(request(tensor(shape=[2, 3], data=[1, 2.5, 3, 4, 5, 6])), None)
    assert read.inputs[0].tolist() == [[1, 2.5, 3], [4, 5, 6]]
    assert (read.inputs[0].dtype.name, read.rows, read.id) == ("float32", 2, None)


def test_nested_data_reads_like_flat_data():
    nested = plain_codec().decode(request(tensor(shape=[2, 3], data=[[1, 2, 3], [4, 5, 6]])), None)
    flat = plain_codec().decode(request(tensor(shape=[2, 3], data=[1, 2, 3, 4, 5, 6])), None)
    assert nested.inputs[0].tolist() == flat.inputs[0].tolist()


def test_arrays_are_writable_and_contiguous():
    array = plain_codec().decode(request(), None).inputs[0]
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert array.flags.aligned


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_keep_their_whole_range(datatype):
    codec = codec_of([spec("X", datatype, -1, 2)])
    ends = [SMALLEST[datatype], LARGEST[datatype]]
    array = codec.decode(request(tensor(datatype=datatype, shape=[1, 2], data=ends)), None).inputs[
        0
    ]
    assert array.tolist() == [ends]
    assert array.dtype == DTYPES[datatype]


def test_booleans_and_strings_are_read():
    codec = codec_of([spec("B", "BOOL", -1, 2), spec("S", "BYTES", -1, 1)])
    read = codec.decode(
        request(
            tensor(name="S", datatype="BYTES", shape=[1, 1], data=["h\u00e9 \u6c34"]),
            tensor(name="B", datatype="BOOL", shape=[1, 2], data=[True, False]),
        ),
        None,
    )
    assert read.inputs[0].tolist() == [[True, False]]
    assert read.inputs[1].tolist() == [["h\u00e9 \u6c34".encode()]]


def test_inputs_come_in_the_signatures_order():
    codec = codec_of([spec("A", "INT64", -1), spec("B", "INT64", -1)])
    second = tensor(name="B", datatype="INT64", shape=[1], data=[2])
    first = tensor(name="A", datatype="INT64", shape=[1], data=[1])
    assert [a.tolist() for a in codec.decode(request(second, first), None).inputs] == [[1], [2]]


def test_variable_dimensions_take_any_size_even_none():
    codec = codec_of([spec("X", "FP32", -1, -1, 2)])
    for wide in (0, 1, 5):
        read = codec.decode(request(tensor(shape=[1, wide, 2], data=[0] * wide * 2)), None)
        assert read.inputs[0].shape == (1, wide, 2)


@pytest.mark.parametrize("data", [[], [[], []]], ids=["flat", "nested"])
def test_an_empty_tensor_may_be_written_both_ways(data):
    codec = codec_of([spec("X", "FP32", -1, -1)])
    assert codec.decode(request(tensor(shape=[2, 0], data=data)), None).inputs[0].shape == (2, 0)


def test_a_signature_without_batch_counts_as_one_row():
    codec = codec_of([spec("X", "FP32", -1)], batched=False)
    read = codec.decode(request(tensor(shape=[3])), None)
    assert (read.rows, read.inputs[0].tolist()) == (1, [1, 2, 3])


def test_a_scalar_input_takes_one_element():
    codec = codec_of([spec("X", "FP32")], batched=False)
    assert codec.decode(request(tensor(shape=[], data=[7])), None).inputs[0] == np.float32(7)


@pytest.mark.parametrize("identifier", ["", "42", "\u00fc \u6c34", 'a "quoted" \\ one'])
def test_the_id_is_kept_as_it_is(identifier):
    assert plain_codec().decode(request(id=identifier), None).id == identifier


def test_parameters_are_passed_on():
    parameters = {"priority": 1, "timeout": 5000, "mine": "x", "rate": 0.5, "on": True}
    read = plain_codec().decode(request(parameters=parameters), None)
    assert (read.priority, read.timeout_us, dict(read.parameters)) == (1, 5000, parameters)


def test_sequence_parameters_that_say_no_sequence_are_harmless():
    parameters = {"sequence_id": 0, "sequence_start": False, "sequence_end": False}
    assert plain_codec().decode(request(parameters=parameters), None).rows == 1


# ---- which outputs -------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [{}, {"outputs": []}], ids=["absent", "empty"])
def test_without_outputs_all_are_wanted(outputs):
    read = plain_codec().decode(request(**outputs), None)
    assert read.outputs == (Wanted(0), Wanted(1))
    assert read.wanted == (0, 1)


def test_outputs_keep_the_requests_order_and_are_computed_in_the_models():
    read = plain_codec().decode(request(outputs=[{"name": "label"}, {"name": "Y"}]), None)
    assert read.outputs == (Wanted(1), Wanted(0))
    assert read.wanted == (0, 1)


@pytest.mark.parametrize(
    ("request_flag", "output_flag", "binary"),
    [
        (None, None, False),
        (True, None, True),
        (True, False, False),
        (False, True, True),
        (None, True, True),
    ],
)
def test_an_outputs_own_flag_overrides_the_requests(request_flag, output_flag, binary):
    extra = {} if request_flag is None else {"parameters": {"binary_data_output": request_flag}}
    output: dict[str, object] = {"name": "Y"}
    if output_flag is not None:
        output["parameters"] = {"binary_data": output_flag}
    assert plain_codec().decode(request(outputs=[output], **extra), None).outputs == (
        Wanted(0, binary),
    )


def test_equal_wishes_share_one_choice():
    codec = plain_codec()
    first = codec.decode(request(outputs=[{"name": "Y"}]), None)
    second = codec.decode(request(outputs=[{"name": "Y", "parameters": {}}], id="x"), None)
    assert first.choice is second.choice


def test_classification_is_read():
    wanted = [{"name": "Y", "parameters": {"classification": 3}}]
    assert plain_codec().decode(request(outputs=wanted), None).outputs == (Wanted(0, False, 3),)


@pytest.mark.parametrize(
    ("outputs", "error", "words"),
    [
        ([{"name": "Z"}], WrongOutputs, "unexpected inference output 'Z' for model 'm'"),
        ([{"name": "Y"}] * 2, WrongOutputs, "output 'Y' already exists in request"),
        ([{"name": "Y"}] * 9, WrongOutputs, "output 'Y' already exists in request"),
        ([{"name": 5}], MalformedJson, "expected a string, got 5"),
        ([{}], MalformedJson, "expected a string, got null"),
        (["Y"], MalformedJson, "expected an object, got 'Y'"),
        ({"name": "Y"}, MalformedJson, "outputs: expected an array, got an object"),
        ([{"name": "Y", "parameters": []}], MalformedJson, "expected an object, got an array"),
        ([{"name": "Y", "parameters": {"binary_data": 1}}], InvalidParameter, "boolean, got 1"),
        ([{"name": "Y", "parameters": {"classification": 0}}], InvalidParameter, "at least 1"),
        ([{"name": "Y", "parameters": {"classification": True}}], InvalidParameter, "got true"),
        ([{"name": "Y", "parameters": {"classification": 1.0}}], InvalidParameter, "got 1.0"),
        (
            [{"name": "Y", "parameters": {"shared_memory_region": "r"}}],
            InvalidParameter,
            "shared memory is not supported",
        ),
    ],
)
def test_bad_outputs_are_refused(outputs, error, words):
    found = refusal(request(outputs=outputs))
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_an_output_without_json_form_has_to_be_asked_for_in_binary(datatype):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", datatype, -1, 2)])
    found = refusal(request(), codec)
    assert type(found) is WrongOutputs
    assert f"output 'Y': {datatype} has no JSON form" in str(found)
    asked = request(outputs=[{"name": "Y", "parameters": {"binary_data": True}}])
    assert codec.decode(asked, None).outputs == (Wanted(0, True),)


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL"])
def test_what_cannot_be_ranked_is_not_classified(datatype):
    codec = codec_of([spec("X", "FP32", -1, 3)], [spec("Y", datatype, -1, 2)])
    wanted = [{"name": "Y", "parameters": {"classification": 1}}]
    assert "classification needs numbers" in str(refusal(request(outputs=wanted), codec))


# ---- what is refused -----------------------------------------------------------------------------


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
    assert type(refusal(body)) is MalformedJson


@pytest.mark.parametrize("body", [b"[]", b"5", b'"x"', b"null", b"{}", b'{"inputs":{}}'])
def test_what_is_no_request_is_refused(body):
    assert type(refusal(body)) is MalformedJson


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
    found = refusal(request(tensor(**changes)))
    assert words in str(found)
    assert type(found) is error


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("by", ["under", "over"])
def test_integers_are_never_wrapped(datatype, by):
    codec = codec_of([spec("X", datatype, -1, 1)])
    value = SMALLEST[datatype] - 1 if by == "under" else LARGEST[datatype] + 1
    body = json.dumps({"inputs": [tensor(datatype=datatype, shape=[1, 1], data=[value])]}).encode()
    found = refusal(body, codec)
    assert f"element 0: expected an integer that fits {datatype}" in str(found)


@pytest.mark.parametrize("value", [1.0, 1.5, "1", True, None, {}, [[1]]])
def test_only_integers_are_integers(value):
    codec = codec_of([spec("X", "INT32", -1, 1)])
    assert type(refusal(request(tensor(datatype="INT32", shape=[1, 1], data=[value])), codec)) is (
        InvalidTensor
    )


@pytest.mark.parametrize("value", [0, 1, 1.0, "true", None])
def test_only_booleans_are_booleans(value):
    codec = codec_of([spec("X", "BOOL", -1, 1)])
    found = refusal(request(tensor(datatype="BOOL", shape=[1, 1], data=[value])), codec)
    assert "element 0: expected a boolean that fits BOOL" in str(found)


@pytest.mark.parametrize("value", [0, True, None, {}, [["x"]]])
def test_only_strings_are_strings(value):
    codec = codec_of([spec("X", "BYTES", -1, 1)])
    found = refusal(request(tensor(datatype="BYTES", shape=[1, 1], data=[value])), codec)
    assert type(found) is InvalidTensor


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_have_no_json_form(datatype):
    codec = codec_of([spec("X", datatype, -1, 3)])
    found = refusal(request(tensor(datatype=datatype)), codec)
    assert f"input 'X': {datatype} has no JSON form" in str(found)


def test_an_input_given_twice_is_refused():
    assert "input 'X' already exists" in str(refusal(request(tensor(), tensor())))


def test_missing_and_additional_inputs_are_counted():
    codec = codec_of([spec("A", "FP32", -1, 3), spec("B", "FP32", -1, 3)])
    missing = refusal(request(tensor(name="A")), codec)
    assert "expected 2 inputs but got 1 inputs for model 'm', missing 'B'" in str(missing)
    more = refusal(request(*[tensor(name=name) for name in "ABC"]), codec)
    assert "expected 2 inputs but got 3 inputs" in str(more)
    assert type(missing) is type(more) is WrongInputs
    assert "expected 2 inputs but got 0" in str(refusal(b'{"inputs":[]}', codec))
    twice = refusal(request(tensor(name="A"), tensor(name="A")), codec)
    assert "input 'A' already exists in request" in str(twice)


def test_inputs_of_one_request_agree_on_rows():
    codec = codec_of([spec("A", "FP32", -1, 1), spec("B", "FP32", -1, 1)])
    found = refusal(
        request(
            tensor(name="A", shape=[2, 1], data=[1, 2]), tensor(name="B", shape=[1, 1], data=[1])
        ),
        codec,
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
    found = refusal(request(parameters=parameters))
    assert words in str(found)
    assert type(found) is error


@pytest.mark.parametrize("identifier", [5, None, True, [], {}])
def test_the_id_must_be_a_string(identifier):
    assert "id: expected a string" in str(refusal(request(id=identifier)))


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
        assert len(str(refusal(body))) < 500


# ---- tokens that JSON lacks, and depth -----------------------------------------------------------


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
    assert type(refusal(body)) is MalformedJson
    assert type(refusal(body.replace(b",2,", b",NaN,"))) is MalformedJson


def test_a_lone_surrogate_beside_a_nan_is_refused():
    body = request(tensor(data=[9.25, 2, 3]), id="q").replace(b"9.25", b"NaN")
    found = refusal(body.replace(b'"q"', rb'"\ud800"'))
    assert type(found) is MalformedJson


def test_a_non_finite_integer_is_refused():
    codec = codec_of([spec("X", "INT64", -1, 1)])
    body = request(tensor(datatype="INT64", shape=[1, 1], data=[7])).replace(b"[7]", b"[NaN]")
    assert type(refusal(body, codec)) is InvalidTensor


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
    found = refusal(bomb)
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


def test_unterminated_strings_cost_no_more_than_their_length():
    bomb = b"[" * 101 + b'"' + b'\\"' * 200_000
    assert type(refusal(bomb)) is MalformedJson


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        pytest.param(
            b'{"x":[' + b"[]," * 1_000_001 + b"1]}", BodyTooLarge, "arrays and objects", id="lists"
        ),
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
