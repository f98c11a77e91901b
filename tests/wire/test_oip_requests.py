"""Requests in JSON: what is read."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.tensors import DTYPES
from tests.wire.oip_rig import (
    INTEGERS,
    LARGEST,
    SMALLEST,
    codec_of,
    plain_codec,
    request,
    spec,
    tensor,
)


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


def test_parameters_that_nobody_here_knows_are_harmless():
    parameters = {"priority": 1, "timeout": 5000, "mine": "x", "rate": 0.5, "on": True}
    read = plain_codec().decode(request(parameters=parameters), None)
    assert (read.priority, read.timeout_us) == (1, 5000)


def test_sequence_parameters_that_say_no_sequence_are_harmless():
    parameters = {"sequence_id": 0, "sequence_start": False, "sequence_end": False}
    assert plain_codec().decode(request(parameters=parameters), None).rows == 1
