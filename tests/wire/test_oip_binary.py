"""Requests with binary tensors: mixed with JSON, raw, and cut off at every byte."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from gateway.errors import InvalidBinary, InvalidParameter, InvalidRequest, InvalidTensor
from gateway.tensors import DTYPES
from gateway.wire.oip.binary import parse_header_length
from gateway.wire.oip.choice import Wanted
from tests.wire.oip_rig import (
    binary_tensor,
    codec_of,
    objects,
    plain_codec,
    refusal,
    request,
    spec,
    strings,
    tensor,
    with_binary,
)

NUMBERS = np.array([1, 2, 3], "<f4").tobytes()


# ---- tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {"BYTES", "BOOL"}))
def test_every_fixed_size_datatype_keeps_its_bits(datatype):
    bits = np.arange(6 * DTYPES[datatype].itemsize, dtype=np.uint8).tobytes()
    codec = codec_of([spec("X", datatype, -1, 3)])
    document = {"inputs": [binary_tensor(len(bits), datatype=datatype, shape=[2, 3])]}
    array = codec.decode(*with_binary(document, bits)).inputs[0]
    assert (array.tobytes(), array.dtype, array.shape) == (bits, DTYPES[datatype], (2, 3))


def test_any_byte_but_zero_is_true():
    codec = codec_of([spec("X", "BOOL", -1, 4)])
    document = {"inputs": [binary_tensor(4, datatype="BOOL", shape=[1, 4])]}
    array = codec.decode(*with_binary(document, b"\0\1\2\xff")).inputs[0]
    assert array.view(np.uint8).tolist() == [[0, 1, 1, 1]]


def test_strings_are_length_prefixed_bytes():
    elements = [b"", b"\xff\x00", "h\u00e9".encode()]
    codec = codec_of([spec("X", "BYTES", -1, 3)])
    blob = strings(*elements)
    document = {"inputs": [binary_tensor(len(blob), datatype="BYTES")]}
    array = codec.decode(*with_binary(document, blob)).inputs[0]
    assert (array.dtype, array.tolist()) == (np.dtype(object), [elements])


def test_arrays_are_their_own_and_aligned_wherever_the_header_ends():
    for pad in range(8):
        body, length = with_binary({"inputs": [binary_tensor(12)], "pad": "x" * pad}, NUMBERS)
        array = plain_codec().decode(body, length).inputs[0]
        assert array.flags.aligned
        assert array.flags.writeable
        array[:] = 0
        assert body.endswith(NUMBERS)


def test_binary_parts_follow_the_order_of_the_request():
    codec = codec_of([spec("A", "INT64", -1), spec("B", "INT32", -1)])
    document = {
        "inputs": [
            binary_tensor(4, name="B", datatype="INT32", shape=[1]),
            binary_tensor(8, name="A", datatype="INT64", shape=[1]),
        ]
    }
    body = with_binary(document, np.int32(2).tobytes(), np.int64(1).tobytes())
    assert [array.tolist() for array in codec.decode(*body).inputs] == [[1], [2]]


def test_json_and_binary_inputs_mix():
    codec = codec_of([spec("A", "FP32", -1, 3), spec("B", "FP32", -1, 3), spec("C", "BYTES", -1)])
    blob = strings(b"c")
    document = {
        "inputs": [
            binary_tensor(12, name="A"),
            tensor(name="B", data=[4, 5, 6]),
            binary_tensor(len(blob), name="C", datatype="BYTES", shape=[1]),
        ]
    }
    inputs = codec.decode(*with_binary(document, NUMBERS, blob)).inputs
    assert [array.tolist() for array in inputs] == [[[1, 2, 3]], [[4, 5, 6]], [b"c"]]


def test_an_empty_binary_tensor_is_legal_with_and_without_a_header_length():
    codec = codec_of([spec("X", "FP32", -1, -1)])
    body, length = with_binary({"inputs": [binary_tensor(0, shape=[1, 0])]})
    assert codec.decode(body, length).inputs[0].shape == (1, 0)
    assert codec.decode(body, None).inputs[0].shape == (1, 0)


def test_a_header_length_over_plain_json_is_legal():
    body = request()
    assert plain_codec().decode(body, len(body)).inputs[0].tolist() == [[1, 2, 3]]


# ---- sizes that disagree -------------------------------------------------------------------------


def test_a_body_cut_off_at_any_byte_is_refused():
    blob = strings(b"ab", b"", b"c")
    codec = codec_of([spec("X", "FP32", -1, 3), spec("S", "BYTES", -1, 3)])
    document = {"inputs": [binary_tensor(12), binary_tensor(len(blob), name="S", datatype="BYTES")]}
    body, length = with_binary(document, NUMBERS, blob)
    for known in (False, True):  # the second round goes by the remembered header
        for end in range(length, len(body)):
            found = refusal(codec, body[:end], length)
            assert type(found) is InvalidBinary
            assert "additional bytes" in str(found)
        for end in range(1, length):
            assert isinstance(refusal(codec, body[:end], end), InvalidRequest)
        assert codec.decode(body, length).rows == 1, known


def test_strings_cut_off_at_any_byte_are_refused():
    blob = strings(b"ab", b"", b"c")
    codec = codec_of([spec("X", "BYTES", -1, 3)])
    for end in range(len(blob)):
        document = {"inputs": [binary_tensor(end, datatype="BYTES")]}
        assert type(refusal(codec, *with_binary(document, blob[:end]))) is InvalidBinary


@pytest.mark.parametrize(
    ("size", "blob", "words"),
    [
        (12, NUMBERS[:8], "expecting 4 additional bytes, got 8 of 12"),
        (12, NUMBERS + b"x", "unexpected additional input data"),
        (
            8,
            NUMBERS[:8],
            "unexpected total byte size for input 'X': shape [1, 3] of FP32 expects 12",
        ),
        (16, NUMBERS + b"1234", "expects 12 bytes, got 16"),
        (0, b"", "expects 12 bytes, got 0"),
        (1 << 63, NUMBERS, "additional bytes"),
    ],
)
def test_sizes_that_disagree_are_refused(size, blob, words):
    found = refusal(plain_codec(), *with_binary({"inputs": [binary_tensor(size)]}, blob))
    assert words in str(found)
    assert type(found) is InvalidBinary


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (strings(b"a", b"b"), "unexpected number of string elements for input 'X': expected 3"),
        (strings(b"a", b"b", b"c", b"d"), "unexpected additional input data for input 'X'"),
        (strings(b"a", b"b") + b"\5\0\0\0c", "expected a string of 5 bytes, got 1"),
        (b"\xff\xff\xff\xff" * 4, "expected a string of 4294967295 bytes"),
        (strings(b"abcdef", b"b") + b"\0\0", "incomplete string length indicator"),
    ],
)
def test_strings_that_disagree_are_refused(blob, words):
    codec = codec_of([spec("X", "BYTES", -1, 3)])
    document = {"inputs": [binary_tensor(len(blob), datatype="BYTES")]}
    found = refusal(codec, *with_binary(document, blob))
    assert words in str(found)


def test_a_shape_cannot_claim_more_strings_than_there_are_bytes():
    codec = codec_of([spec("X", "BYTES", -1, -1)])
    huge = binary_tensor(8, datatype="BYTES", shape=[1, 1 << 40])
    found = refusal(codec, *with_binary({"inputs": [huge]}, strings(b"", b"")))
    assert "unexpected number of string elements" in str(found)


def test_binary_tensors_without_a_header_length_have_no_bytes():
    document = {"inputs": [binary_tensor(12)]}
    found = refusal(plain_codec(), orjson.dumps(document), None)
    assert "expecting 12 additional bytes, got 0 of 12" in str(found)


# ---- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"7", 7), (b" 10\t", 10), (b"007", 7)])
def test_a_header_length_is_a_decimal_number(value, length):
    assert parse_header_length(value, 10) == length


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"-1",
        b"+1",
        b"1.0",
        b"1e1",
        b"0x1",
        b"abc",
        b"1 2",
        b"1_0",
        b"\xb2",
        b"11",
        b"2147483648",
        b"4294967297",
        b"9" * 5000,
    ],
)
def test_other_header_lengths_are_refused(value):
    with pytest.raises(
        InvalidParameter, match="Inference-Header-Content-Length: expected"
    ) as error:
        parse_header_length(value, 10)
    assert len(str(error.value)) < 300


# ---- raw requests --------------------------------------------------------------------------------


def test_a_raw_body_is_the_one_input_with_one_row_and_binary_answers():
    read = plain_codec().decode(NUMBERS, 0)
    assert read.inputs[0].tolist() == [[1, 2, 3]]
    assert (read.rows, read.id, read.choice.wanted) == (1, None, (Wanted(0, True), Wanted(1, True)))


def test_one_variable_dimension_follows_from_the_size():
    batched = codec_of([spec("X", "INT16", -1, 2, -1)])
    assert batched.decode(bytes(12), 0).inputs[0].shape == (1, 2, 3)
    alone = codec_of([spec("X", "INT16", -1, 2)], batched=False)
    assert alone.decode(bytes(12), 0).inputs[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("batched", "shape"), [(True, (-1, 1)), (False, (1,))], ids=["batched", "alone"]
)
def test_a_raw_string_is_the_whole_body(batched, shape):
    codec = codec_of([spec("X", "BYTES", *shape)], batched=batched)
    array = codec.decode(b"\xffhello", 0).inputs[0]
    assert array.tolist() == objects([b"\xffhello"], *(abs(dim) for dim in shape)).tolist()


@pytest.mark.parametrize(
    ("inputs", "body", "words"),
    [
        (
            [spec("A", "FP32", -1, 3), spec("B", "FP32", -1, 3)],
            NUMBERS,
            "Raw request must only have 1 input",
        ),
        (
            [spec("A", "FP32", -1, -1, -1)],
            NUMBERS,
            "can not be deduced because there are more than one variable-sized dimension",
        ),
        ([spec("A", "BYTES", -1, 2)], b"x", "For BYTE datatype raw input"),
        ([spec("A", "BYTES", -1, -1)], b"x", "For BYTE datatype raw input"),
        ([spec("A", "FP32", -1, 3)], NUMBERS + b"x", "expects 12 bytes, got 13"),
        ([spec("A", "FP32", -1, 2, -1)], NUMBERS, "expected a multiple of 8 bytes, got 12"),
        ([spec("A", "FP32", -1, 0, -1)], NUMBERS, "expected a multiple of 0 bytes"),
    ],
)
def test_raw_bodies_that_leave_the_shape_open_are_refused(inputs, body, words):
    found = refusal(codec_of(inputs), body, 0)
    assert type(found) in (InvalidBinary, InvalidTensor)
    assert words in str(found)
