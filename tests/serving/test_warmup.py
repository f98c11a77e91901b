"""What a new model runs before its first request."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gateway.errors import ModelFailed
from gateway.serving.cost import CostModel
from gateway.serving.warmup import MAX_INPUT_BYTES, Unfit, sizes, synthetic, warm
from gateway.tensors import DTYPES, Signature, TensorSpec
from tests.serving.fakes import ANY_LENGTH, ONE_NUMBER, FakeRuntime


def run_sizes(runtime: FakeRuntime) -> list[int]:
    return list(dict.fromkeys(len(inputs[0]) for inputs in runtime.runs))


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        pytest.param(0, [1], id="never-batched"),
        pytest.param(1, [1], id="one"),
        pytest.param(6, [1, 2, 4, 6], id="between"),
        pytest.param(8, [1, 2, 4, 8], id="power-of-two"),
    ],
)
def test_sizes_double_up_to_the_largest(most, expected):
    assert list(sizes(most)) == expected


def test_a_model_is_run_at_growing_sizes_and_its_cost_is_known_after():
    runtime, wall, hold = FakeRuntime(), CostModel(), CostModel()
    assert warm(runtime, 8, wall, hold) == ""
    assert run_sizes(runtime) == [1, 2, 4, 8]
    assert (wall.runs, hold.runs) == (4, 4)


@pytest.mark.parametrize(
    ("device", "counts"),
    [pytest.param("cpu", False, id="cpu"), pytest.param("cuda:0", True, id="cuda")],
)
def test_time_without_the_processor_counts_only_where_that_does_not_do_the_work(device, counts):
    class Waiting(FakeRuntime):
        def run(self, inputs, wanted):
            time.sleep(0.05)  # the core is somebody else's, or the work a GPU's
            return super().run(inputs, wanted)

    runtime, wall = Waiting(), CostModel()
    runtime.device, runtime.threads = device, 1
    warm(runtime, 1, wall, CostModel())
    assert (wall.estimate(1) >= 0.05) is counts


def test_an_unbatched_model_is_run_as_it_is():
    fixed = Signature((TensorSpec("x", "FP32", (3, 2)),), (TensorSpec("y", "FP32", (3, 2)),), False)
    runtime = FakeRuntime(fixed)
    assert warm(runtime, 128, CostModel(), CostModel()) == ""
    assert {inputs[0].shape for inputs in runtime.runs} == {(3, 2)}


def test_growing_stops_before_inputs_get_large():
    rows = MAX_INPUT_BYTES // 4 // 1000
    signature = Signature((TensorSpec("x", "FP32", (-1, 1000 * rows // 4)),), (), True)
    runtime = FakeRuntime(signature)
    warm(runtime, 128, CostModel(), CostModel())
    assert run_sizes(runtime) == [1, 2, 4]


def test_a_length_that_the_model_does_not_take_is_followed_by_another():
    class Picky(FakeRuntime):
        def run(self, inputs, wanted):
            if inputs[0].shape[1] < 100:
                raise ModelFailed("too short")
            return super().run(inputs, wanted)

    runtime = Picky(ANY_LENGTH)
    assert warm(runtime, 2, CostModel(), CostModel()) == ""
    assert {inputs[0].shape[1] for inputs in runtime.runs} == {256}


def test_a_model_that_takes_no_made_up_input_stays_cold_and_says_why():
    runtime, wall = FakeRuntime(), CostModel()
    runtime.answer = lambda x: (_ for _ in ()).throw(ModelFailed("no such key"))
    assert warm(runtime, 8, wall, CostModel()) == "no such key"
    assert wall.runs == 0


def test_a_model_whose_outputs_have_no_row_per_row_is_found_out():
    runtime = FakeRuntime()
    runtime.answer = lambda x: np.ones((1, 1), np.float32)
    with pytest.raises(Unfit, match=r"output 'y': 2 rows gave shape \[1, 1\]"):
        warm(runtime, 8, CostModel(), CostModel())


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_inputs_of_every_datatype_can_be_made_up(datatype):
    signature = Signature((TensorSpec("x", datatype, (-1, -1, 2)),), (), True)
    (array,) = synthetic(signature, 3, 5)
    assert (array.shape, array.dtype) == ((3, 5, 2), DTYPES[datatype])
    assert array.flags.c_contiguous


def test_made_up_inputs_are_the_same_every_time():
    first, second = (synthetic(ONE_NUMBER, 4, 1)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
