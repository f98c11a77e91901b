"""What an honest ONNX file says of itself."""

from __future__ import annotations

import time

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.errors import ModelRefused
from gateway.models.onnx_file import inspect, servable
from gateway.tensors import FROM_ONNX, TensorSpec
from tests.models import builders


def looked_at(folder, model):
    builders.save(folder, model)
    return inspect(folder, "model.onnx")


def test_inputs_outputs_and_symbolic_dimensions(tmp_path):
    file = looked_at(tmp_path, builders.linear())
    assert file.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert file.outputs == (TensorSpec("y", "FP32", (-1, 2)),)


def test_producer_opsets_and_metadata(tmp_path):
    model = builders.linear()
    model.producer_version, model.domain, model.model_version = "1.2", "org.example", -3
    model.doc_string = "Fraud, second try."
    helper.set_model_props(model, {"trained": "2026-01-01", "née": "ü"})
    file = looked_at(tmp_path, model)
    assert (file.producer, file.producer_version) == ("tests", "1.2")
    assert (file.domain, file.model_version) == ("org.example", -3)
    assert (file.ir_version, file.opsets) == (8, (("", 17),))
    assert (file.doc, file.metadata) == (
        "Fraud, second try.",
        {"trained": "2026-01-01", "née": "ü"},
    )
    assert (file.folder, file.file) == (tmp_path, "model.onnx")
    assert file.size == (tmp_path / "model.onnx").stat().st_size


def test_an_initializer_that_is_also_a_graph_input_is_none(tmp_path):
    model = builders.linear()
    model.graph.input.append(builders.value("w", (4, 2)))
    assert [spec.name for spec in looked_at(tmp_path, model).inputs] == ["x"]


@pytest.mark.parametrize(("element", "datatype"), FROM_ONNX.items(), ids=FROM_ONNX.values())
def test_every_datatype_of_the_protocol(tmp_path, element, datatype):
    file = looked_at(tmp_path, builders.identity(element=element))
    assert file.inputs == (TensorSpec("x", datatype, (-1, 4)),)


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        pytest.param((), (), id="scalar"),
        pytest.param((None, None, "width"), (-1, -1, -1), id="all-variable"),
        pytest.param((2, 0), (2, 0), id="empty-dimension"),
        pytest.param((-1, 3), (-1, 3), id="written-as-minus-one"),
    ],
)
def test_shapes(tmp_path, shape, seen):
    assert looked_at(tmp_path, builders.identity(shape)).inputs[0].shape == seen


def test_a_value_without_shape_is_reported(tmp_path):
    model = builders.linear()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    file = looked_at(tmp_path, model)
    assert (file.outputs[0].shape, file.unranked) == ((-1,), ("y",))


def test_operators_of_foreign_domains_are_listed_and_local_functions_are_not(tmp_path):
    model = builders.linear()
    model.graph.node.add(op_type="Whiten", domain="org.example", input=["x"], output=["z"])
    model.graph.node.add(op_type="Local", domain="org.example", input=["x"], output=["u"])
    model.graph.node.add(op_type="FusedMatMul", domain="com.microsoft", input=["x"], output=["v"])
    model.functions.append(
        helper.make_function(
            "org.example", "Local", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], []
        )
    )
    assert looked_at(tmp_path, model).custom_ops == ("org.example.Whiten",)


def in_initializer(tensor, model):
    model.graph.initializer.append(tensor)


def in_constant(tensor, model):
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def in_tensor_list(tensor, model):
    model.graph.node.append(helper.make_node("Odd", [], ["c"], tensors=[tensor]))


def in_branch(tensor, model):
    branch = helper.make_graph([], "branch", [], [builders.value("b")], [tensor])
    inner = helper.make_node("If", ["q"], ["i"], then_branch=branch, else_branch=branch)
    outer = helper.make_graph([inner], "outer", [], [builders.value("i")])
    model.graph.node.append(
        helper.make_node("If", ["q"], ["o"], then_branch=outer, else_branch=outer)
    )


def in_sparse(tensor, model):
    indices = numpy_helper.from_array(np.array([0], np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [4]))


def in_function(tensor, model):
    node = helper.make_node("Constant", [], ["b"], value=tensor)
    model.functions.append(helper.make_function("local", "F", [], ["b"], [node], []))


def in_training(tensor, model):
    model.training_info.add().algorithm.initializer.append(tensor)


@pytest.mark.parametrize(
    "place",
    [
        in_initializer,
        in_constant,
        in_tensor_list,
        in_branch,
        in_sparse,
        in_function,
        in_training,
    ],
)
def test_external_data_is_found_wherever_a_tensor_may_stand(tmp_path, place):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/w.bin").write_bytes(bytes(64))
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "far")
    builders.point_outside(tensor, "weights/w.bin", offset=16, length=48)
    model = builders.linear()
    place(tensor, model)
    file = looked_at(tmp_path, model)
    assert file.external == ("weights/w.bin",)
    assert file.files == ("model.onnx", "weights/w.bin")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        pytest.param(["no", "maybe", "yes"], ("no", "maybe", "yes"), id="text"),
        pytest.param([0, 7, -1], ("0", "7", "-1"), id="int64"),
    ],
)
@pytest.mark.parametrize(
    "opsets",
    [
        pytest.param((("", 17), ("ai.onnx.ml", 1)), id="default-domain"),
        pytest.param((("ai.onnx", 15), ("ai.onnx.ml", 1)), id="default-domain-by-name"),
        pytest.param((("ai.onnx.ml", 1),), id="ml-domain-alone"),
    ],
)
def test_zipmap_is_served_as_the_matrix_it_was_made_from(tmp_path, labels, words, opsets):
    file = looked_at(tmp_path, builders.classifier(labels, opsets))
    assert file.outputs == (TensorSpec("probabilities", "FP32", (-1, 3), words),)
    rows = np.array([[1, 2, 1], [0, 0, 5]], np.float32)
    dictionaries = run(tmp_path / "model.onnx", rows)
    plain = run(servable(file), rows)
    assert plain.tolist() == [[0.25, 0.5, 0.25], [0, 0, 1]]
    assert plain.tolist() == [[row[label] for label in labels] for row in dictionaries]


def run(model, rows, folder=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder)
        )
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options).run(None, {"x": rows})[0]


def test_a_rewritten_graph_finds_its_external_data_by_its_folder(tmp_path):
    model = builders.classifier(["a", "b"])
    weights = np.array([2, 4], np.float32)
    tensor = numpy_helper.from_array(weights, "w")
    builders.point_outside(tensor, "w.bin", offset=0, length=8)
    (tmp_path / "w.bin").write_bytes(weights.tobytes())
    model.graph.initializer.append(tensor)
    model.graph.node.insert(0, helper.make_node("Mul", ["x", "w"], ["scaled"]))
    model.graph.node[1].input[0] = "scaled"
    file = looked_at(tmp_path, model)
    answer = run(servable(file), np.array([[2, 1]], np.float32), tmp_path)
    assert answer.tolist() == [[0.5, 0.5]]


def test_a_graph_without_zipmap_is_loaded_as_it_lies(tmp_path):
    file = looked_at(tmp_path, builders.linear())
    assert servable(file) == tmp_path / "model.onnx"


def test_the_million_numbers_of_a_tree_ensemble_take_no_time(tmp_path):
    node = helper.make_node(
        "Odd",
        [],
        ["o"],
        modes=["BRANCH_LEQ"] * 300_000,
        ids=list(range(0, 300_000_000, 1000)),
        values=[1.5] * 300_000,
    )
    model = builders.linear()
    model.graph.node.append(node)
    builders.save(tmp_path, model)
    start = time.process_time()
    inspect(tmp_path, "model.onnx")
    assert time.process_time() - start < 0.5


def sequence(name):
    return helper.make_value_info(
        name, helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [2]))
    )


@pytest.mark.parametrize(
    ("side", "info", "said"),
    [
        pytest.param(
            "input", sequence("s"), "input 's': wanted a tensor, got sequence", id="seq-in"
        ),
        pytest.param(
            "output", sequence("s"), "output 's': wanted a tensor, got sequence", id="seq-out"
        ),
        pytest.param(
            "input",
            builders.value("c", (2,), TensorProto.COMPLEX64),
            "element type 14",
            id="complex",
        ),
        pytest.param("input", builders.value("x"), "input 'x' is declared twice", id="twice"),
        pytest.param("input", builders.value("a\0b"), "wanted a printable name", id="nul"),
        pytest.param(
            "input", builders.value("n" * 5000), "wanted a printable name", id="long-name"
        ),
        pytest.param("input", builders.value("d", (1,) * 65), "more than 64 dimensions", id="rank"),
        pytest.param(
            "input", builders.value("d", (1 << 31,)), "wanted dimensions up to", id="huge"
        ),
        pytest.param(
            "output", helper.make_empty_tensor_value_info("e"), "without a type", id="no-type"
        ),
    ],
)
def test_what_cannot_be_served_is_named(tmp_path, side, info, said):
    model = builders.linear()
    getattr(model.graph, side).append(info)
    with pytest.raises(ModelRefused, match=said):
        looked_at(tmp_path, model)


def test_a_graph_without_outputs_is_refused(tmp_path):
    model = builders.linear()
    del model.graph.output[:]
    with pytest.raises(ModelRefused, match="has no outputs"):
        looked_at(tmp_path, model)
