"""Unequal lengths that share a run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Padding
from gateway.errors import ModelRefused
from gateway.serving.padding import Padder
from gateway.serving.riders import Rider
from gateway.tensors import DTYPES, Signature, TensorSpec
from tests.serving.fakes import ANY_LENGTH, Client, Room


def room(**padding):
    return Room(ANY_LENGTH, padding=Padding(**padding))


def rider(*arrays: np.ndarray) -> Rider:
    return Rider(Client(), None, arrays, len(arrays[0]), (0,))


def signature(datatype: str = "FP32", shape=(-1, -1), count: int = 1) -> Signature:
    inputs = tuple(TensorSpec(f"x{n}", datatype, shape) for n in range(count))
    return Signature(inputs, (TensorSpec("y", datatype, shape),), True)


def test_lengths_of_one_bucket_share_a_run_and_each_gets_its_own_length_back():
    it = room(buckets=[4, 8])
    clients = [it.submit(n, length=length) for n, length in ((1, 2), (2, 4), (3, 3))]
    it.run_all()
    assert [run[0].shape for run in it.runtime.runs] == [(3, 4)]
    assert [client.answers for client in clients] == [[[[10] * 2]], [[[20] * 4]], [[[30] * 3]]]


def test_padding_that_was_run_is_counted():
    it = room(buckets=[4])
    it.submit(1, length=3)
    it.submit(2, 2, length=2)
    it.run_all()
    (batch,) = it.batches
    assert (batch.cells, batch.padded_cells) == (12, 5)


def test_lengths_of_different_buckets_do_not_meet():
    it = room(buckets=[2, 4])
    for length in (1, 2, 3, 4):
        it.submit(1, length=length)
    it.run_all()
    assert [run[0].shape for run in it.runtime.runs] == [(2, 2), (2, 4)]


def test_a_rider_is_padded_alike_with_and_without_company():
    alone = room(buckets=[4], value=7)
    alone.submit(1, length=3)
    alone.run_all()
    assert alone.runtime.runs[0][0].tolist() == [[1, 1, 1, 7]]


def test_a_length_past_the_largest_bucket_runs_unpadded():
    it = room(buckets=[2])
    client = it.submit(1, length=3)
    it.run_all()
    assert it.runtime.runs[0][0].shape == (1, 3)
    assert (client.answers, it.batches[0].padded_cells) == ([[10]], 0)


def test_an_exact_fit_is_not_copied_or_cut():
    it = room(buckets=[2])
    it.submit(1, length=2)
    it.run_all()
    (batch,) = it.batches
    assert batch.inputs[0] is batch.riders[0].inputs[0]
    assert batch.trimmed is None


def test_an_output_axis_that_does_not_follow_the_input_is_left_alone():
    it = room(buckets=[4])
    it.runtime.answer = lambda x: np.ones((len(x), 3), np.float32)
    client = it.submit(1, length=2)
    it.run_all()
    assert client.answers == [[[1, 1, 1]]]
    assert it.batches[0].trimmed is not None


def test_a_fixed_output_axis_is_left_alone_though_it_has_the_padded_length():
    spec = TensorSpec("y", "FP32", (-1, 4))
    it = Room(Signature(ANY_LENGTH.inputs, (spec,), True), padding=Padding(buckets=[4]))
    client = it.submit(1, length=2)
    it.run_all()
    assert client.answers == [[[10, 10, 0, 0]]]


def test_inputs_that_are_not_named_are_not_padded():
    padder = Padder(signature(count=2), Padding(buckets=[4], inputs=["x1"]))
    short = np.ones((1, 3), np.float32)
    tensors, cells, padded = padder.join([rider(short, short)], 1)
    assert [tensor.shape for tensor in tensors] == [(1, 3), (1, 4)]
    assert (cells, padded) == (4, 1)


def test_an_inner_axis_can_be_padded():
    padder = Padder(signature(shape=(-1, -1, 2)), Padding(buckets=[3], axis=1))
    tensors, _, _ = padder.join([rider(np.ones((1, 2, 2), np.float32))], 1)
    assert tensors[0].tolist() == [[[1, 1], [1, 1], [0, 0]]]


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_every_datatype_can_be_padded(datatype):
    padder = Padder(signature(datatype), Padding(buckets=[2], value=1))
    array = np.zeros((1, 1), DTYPES[datatype])
    if datatype == "BYTES":
        array[0, 0] = b"text"
    tensors, _, _ = padder.join([rider(array)], 1)
    one = {"BYTES": b"", "BF16": 0x3F80}.get(datatype, 1)
    assert tensors[0].tolist() == [[array[0, 0], one]]
    assert tensors[0].dtype == DTYPES[datatype]


@pytest.mark.parametrize(
    ("padding", "words"),
    [
        pytest.param(Padding(buckets=[4], inputs=["z"]), r"input 'z': the model has \['x0'\]"),
        pytest.param(Padding(buckets=[4], axis=0), "no input varies along axis 0"),
        pytest.param(Padding(buckets=[4], axis=5), "no input varies along axis 5"),
        pytest.param(Padding(buckets=[4], inputs=["x0"], axis=0), "wanted a variable dimension"),
        pytest.param(Padding(buckets=[4], value=-1), "UINT8 cannot hold -1"),
        pytest.param(Padding(buckets=[4], value=0.5), "UINT8 cannot hold 0.5"),
        pytest.param(Padding(buckets=[4], value=float("inf")), "UINT8 cannot hold inf"),
    ],
)
def test_padding_that_does_not_fit_the_model_is_refused(padding, words):
    with pytest.raises(ModelRefused, match=words):
        Padder(signature("UINT8"), padding)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), min_size=1, max_size=8))
def test_what_an_identity_gives_back_is_what_went_in(shapes):
    random = np.random.default_rng(3)
    padder = Padder(signature(), Padding(buckets=[3, 6, 9]))
    arrays = [random.random(shape).astype(np.float32) for shape in shapes]
    longest = [rider(array) for array in arrays if padder.key((array,)) == ((9,),)]
    if longest:
        tensors, _, _ = padder.join(longest, sum(one.rows for one in longest))
        for one, outputs in zip(longest, padder.trim(longest, tensors), strict=True):
            assert outputs[0] is not None
            np.testing.assert_array_equal(outputs[0], one.inputs[0])
