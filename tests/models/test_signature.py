"""What clients may send: the file's word, narrowed by its owner's."""

from __future__ import annotations

import pytest

from gateway.errors import ModelRefused
from gateway.models.onnx_file import inspect
from gateway.models.signature import signature
from gateway.tensors import TensorSpec
from tests.models import builders


@pytest.fixture
def linear(tmp_path):
    """x [-1, 4] -> y [-1, 2]."""
    builders.save(tmp_path, builders.linear())
    return inspect(tmp_path, "model.onnx")


def tensor(name, dims, datatype="FP32", labels=()):
    return {"name": name, "datatype": datatype, "dims": dims, "labels": list(labels)}


def declared(inputs=(), outputs=(), rows=0):
    return {"max_batch_size": rows, "inputs": list(inputs), "outputs": list(outputs)}


def of(tmp_path, *shapes, rows=128):
    builders.save(tmp_path, builders.identity(shapes[0], out_shape=shapes[-1]))
    return signature(inspect(tmp_path, "model.onnx"), {}, rows)


@pytest.mark.parametrize(
    ("shapes", "rows", "batched"),
    [
        pytest.param([("n", 4)], 128, True, id="variable-first-axis"),
        pytest.param([("n", 4)], 0, False, id="batching-switched-off"),
        pytest.param([("n", "m")], 1, True, id="all-variable"),
        pytest.param([(1, 4)], 128, False, id="fixed-batch-of-one"),
        pytest.param([(4,)], 128, False, id="fixed"),
        pytest.param([()], 128, False, id="scalar"),
        pytest.param([("n", 4), (4,)], 128, False, id="output-without-rows"),
        pytest.param([(1, 4), ("n", 4)], 128, False, id="input-without-rows"),
    ],
)
def test_rows_of_different_requests_share_a_run_where_every_first_axis_varies(
    tmp_path, shapes, rows, batched
):
    assert of(tmp_path, *shapes, rows=rows).batched is batched


def test_an_output_of_unknown_rank_does_not_batch(tmp_path):
    model = builders.linear()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    builders.save(tmp_path, model)
    file = inspect(tmp_path, "model.onnx")
    assert not signature(file, {}, 128).batched
    assert signature(file, declared(outputs=[tensor("y", [2])], rows=8), 8).batched


def test_an_input_of_unknown_rank_must_be_declared(tmp_path):
    model = builders.linear()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    builders.save(tmp_path, model)
    file = inspect(tmp_path, "model.onnx")
    with pytest.raises(ModelRefused, match="input 'x': the file gives no shape"):
        signature(file, {}, 128)
    assert signature(file, declared([tensor("x", [4])], rows=8), 8).inputs == (
        TensorSpec("x", "FP32", (-1, 4)),
    )


def test_a_declaration_adds_labels_and_leaves_the_batch_dimension_out(linear):
    got = signature(
        linear, declared([tensor("x", [4])], [tensor("y", [2], labels=["a", "b"])], rows=8), 8
    )
    assert got.outputs == (TensorSpec("y", "FP32", (-1, 2), ("a", "b")),)
    assert got.batched


def test_a_declaration_narrows_a_variable_dimension(tmp_path):
    builders.save(tmp_path, builders.identity(("n", "width")))
    file = inspect(tmp_path, "model.onnx")
    assert signature(file, declared([tensor("x", [7])], rows=8), 8).inputs[0].shape == (-1, 7)


def test_declared_shapes_without_batch_size_are_whole(linear):
    got = signature(linear, declared([tensor("x", [1, 4])], [tensor("y", [1, 2])]), 0)
    assert (got.inputs[0].shape, got.batched) == ((1, 4), False)


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        pytest.param(
            declared([tensor("z", [4])], rows=8),
            "input 'z': declared, but the model's inputs are 'x'",
            id="input-name",
        ),
        pytest.param(
            declared([], [tensor("z", [4])], rows=8),
            "output 'z': declared, but the model's outputs are 'y'",
            id="output-name",
        ),
        pytest.param(
            declared([tensor("x", [4], "FP16")], rows=8),
            "input 'x': declared as FP16, the model has FP32",
            id="type",
        ),
        pytest.param(
            declared([tensor("x", [5])], rows=8),
            r"declared with shape \[-1, 5\], the model has \[-1, 4\]",
            id="dims",
        ),
        pytest.param(
            declared([tensor("x", [-1])], rows=8),
            r"declared with shape \[-1, -1\], the model has",
            id="wider",
        ),
        pytest.param(
            declared([tensor("x", [4])]),
            r"declared with shape \[4\], the model has \[-1, 4\]",
            id="batch-left-out",
        ),
        pytest.param(
            declared([tensor("x", [-1, 4])], rows=8),
            r"declared with shape \[-1, -1, 4\]",
            id="batch-given",
        ),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(linear, declaration, said):
    with pytest.raises(ModelRefused, match=said):
        signature(linear, declaration, 8)


def test_all_inputs_are_declared_or_none(tmp_path):
    model = builders.linear()
    model.graph.input.append(builders.value("u"))
    builders.save(tmp_path, model)
    file = inspect(tmp_path, "model.onnx")
    with pytest.raises(ModelRefused, match="inputs 'u' are not declared"):
        signature(file, declared([tensor("x", [4])], rows=8), 8)


def test_a_declared_batch_needs_variable_rows(tmp_path):
    builders.save(tmp_path, builders.identity((1, 4)))
    with pytest.raises(ModelRefused, match=r"beginning with -1 is wanted, got \[1, 4\]"):
        signature(inspect(tmp_path, "model.onnx"), declared(rows=8), 8)
