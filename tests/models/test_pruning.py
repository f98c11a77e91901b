"""Graphs cut down to some of their outputs, held against the whole ones on ONNX Runtime itself."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from gateway.errors import ModelRefused
from gateway.models import onnx_file, pruning
from gateway.models.protobuf import Reader
from tests.models.builders import classifier, make, save, value

A, B, C = 1, 2, 4
X = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)


def view(model: onnx.ModelProto) -> memoryview:
    return memoryview(model.SerializeToString())


def names(model: onnx.ModelProto) -> list[str]:
    return [output.name for output in model.graph.output]


def needs(model: onnx.ModelProto) -> frozenset[int]:
    return pruning.needs(Reader("m"), view(model), names(model))


def cut(model: onnx.ModelProto, kept: int) -> onnx.ModelProto:
    smaller = pruning.cut(Reader("m"), view(model), names(model), kept)
    return onnx.load_from_string(b"".join(smaller))


def run(model: onnx.ModelProto, feed) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert {one.name for one in session.get_inputs()} == set(feed)
    return dict(zip(names(model), session.run(None, feed), strict=True))


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def node(operator: str, reads: str, makes: str, **more):
    return helper.make_node(operator, reads.split(), makes.split(), **more)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    random = np.random.default_rng(len(name))
    return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)


def three_branches() -> onnx.ModelProto:
    """a and b share a product; c has one of its own."""
    return make(
        [
            node("MatMul", "x w", "h"),
            node("Relu", "h", "a"),
            node("MatMul", "x v", "g"),
            node("Neg", "h", "b"),
            node("Sigmoid", "g", "c"),
        ],
        [value("x")],
        [value(name, ("rows", 3)) for name in "abc"],
        [weight("w", 4, 3), weight("v", 4, 3)],
    )


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        pytest.param(A, ["MatMul", "Relu"], id="first"),
        pytest.param(A | B, ["MatMul", "Relu", "Neg"], id="two-of-one-trunk"),
        pytest.param(C, ["MatMul", "Sigmoid"], id="other-trunk"),
    ],
)
def test_what_no_kept_output_needs_is_gone_and_the_rest_answers_the_same(kept, left):
    model = three_branches()
    smaller = cut(model, kept)
    assert operators(smaller) == left
    assert len(smaller.graph.initializer) == 1
    whole = run(model, {"x": X})
    for name, array in run(smaller, {"x": X}).items():
        np.testing.assert_array_equal(array, whole[name])


def test_a_set_covers_every_output_that_it_makes_anyway():
    needed = needs(three_branches())
    assert pruning.cover(needed, A, 3) == A
    assert pruning.cover(needed, A | C, 3) == A | C
    both = make(
        [node("TopK", "x k", "a b"), node("Identity", "a", "c")],
        [value("x")],
        [value("a"), value("b", element=TensorProto.INT64), value("c")],
        [numpy_helper.from_array(np.array([2]), "k")],
    )
    assert pruning.cover(needs(both), A, 3) == A | B | C


def test_a_classifier_whose_labels_and_probabilities_come_from_one_node_leaves_nothing_out():
    model = make(
        [
            node("TopK", "x k", "p l"),
            node("Cast", "l", "label", to=TensorProto.INT64),
            node("Normalizer", "p", "n", domain="ai.onnx.ml", norm="L1"),
            node("Identity", "n", "probabilities"),
        ],
        [value("x")],
        [value("label", element=TensorProto.INT64), value("probabilities")],
        [numpy_helper.from_array(np.array([2]), "k")],
        opsets=(("", 17), ("ai.onnx.ml", 1)),
    )
    assert [pruning.cover(needs(model), wanted, 2) for wanted in (A, B)] == [A | B, A | B]


def branch(name: str, *nodes) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), name, [], [output])


def choosing() -> onnx.ModelProto:
    """`a` comes from an If whose branches read `h`, made outside, two levels deep."""
    inner = node(
        "If",
        "yes",
        "then_out",
        then_branch=branch("deep", node("Add", "h w", "deep_out")),
        else_branch=branch("deeper", node("Neg", "h", "deeper_out")),
    )
    return make(
        [
            node("MatMul", "x v", "h"),
            node("Sqrt", "x", "unused"),
            node("Exp", "unused", "b"),
            node(
                "If",
                "yes",
                "a",
                then_branch=branch("then", inner),
                else_branch=branch("else", node("Identity", "h", "else_out")),
            ),
        ],
        [value("x"), value("yes", (), TensorProto.BOOL)],
        [value("a", ("rows", 3)), value("b")],
        [weight("v", 4, 3), weight("w", 3)],
    )


@pytest.mark.parametrize("yes", [True, False])
def test_what_a_subgraph_captures_stays(yes):
    model, feed = choosing(), {"x": X, "yes": np.array(yes)}
    smaller = cut(model, A)
    assert operators(smaller) == ["MatMul", "If"]
    np.testing.assert_array_equal(run(smaller, feed)["a"], run(model, feed)["a"])


def test_what_a_loops_body_captures_stays():
    body = helper.make_graph(
        [node("Add", "was h", "now"), node("Identity", "go", "going")],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("was", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("now", TensorProto.FLOAT, None),
        ],
    )
    model = make(
        [
            node("Neg", "x", "h"),
            node("Loop", "times yes x", "a", body=body),
            node("Exp", "x", "b"),
        ],
        [value("x")],
        [value("a"), value("b")],
        [
            numpy_helper.from_array(np.array(3, np.int64), "times"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    smaller = cut(model, A)
    assert operators(smaller) == ["Neg", "Loop"]
    np.testing.assert_array_equal(run(smaller, {"x": X})["a"], -2 * X)


def test_inputs_stay_though_nothing_reads_them_and_weights_that_were_inputs_go():
    model = make(
        [node("Neg", "x", "a"), node("MatMul", "z w", "b")],
        [value("x"), value("z"), value("w", (4, 3))],
        [value("a"), value("b", ("rows", 3))],
        [weight("w", 4, 3)],
    )
    smaller = cut(model, A)
    assert [one.name for one in smaller.graph.input] == ["x", "z"]
    assert run(smaller, {"x": X, "z": X}).keys() == {"a"}


def test_outputs_that_are_inputs_or_weights_are_kept_by_name():
    model = make(
        [node("Neg", "x", "a"), node("Identity", "w", "b")],
        [value("x")],
        [value("a"), value("b", (4, 3)), value("w", (4, 3))],
        [weight("w", 4, 3)],
    )
    smaller = cut(model, C)
    assert operators(smaller) == []
    np.testing.assert_array_equal(
        run(smaller, {"x": X})["w"], numpy_helper.to_array(model.graph.initializer[0])
    )


def test_functions_and_shapes_that_the_file_states_stay_as_they_are():
    model = onnx.shape_inference.infer_shapes(three_branches())
    function = helper.make_function(
        "own", "twice", ["p"], ["q"], [node("Add", "p p", "q")], [helper.make_opsetid("", 17)]
    )
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(node("twice", "g", "d", domain="own"))
    model.graph.output.append(value("d", ("rows", 3)))
    whole = run(model, {"x": X})
    np.testing.assert_array_equal(run(cut(model, 8), {"x": X})["d"], whole["d"])
    np.testing.assert_array_equal(run(cut(model, A), {"x": X})["a"], whole["a"])


def test_a_graph_out_of_order_is_not_cut():
    model = three_branches()
    model.graph.node.append(model.graph.node[0])
    del model.graph.node[0]
    with pytest.raises(ModelRefused, match="m: node 2 reads what a later one makes"):
        needs(model)


def test_a_truncated_model_is_refused_wherever_it_is_cut_short():
    whole = view(three_branches())
    for length in range(len(whole)):
        try:
            pruning.cut(Reader("m"), whole[:length], ["a", "b", "c"], A)
        except ModelRefused:
            continue
        # Cut between two fields of the model, it only lacks its last ones.
        assert length >= len(whole) - 20


def test_a_zipmap_and_external_data_are_found_from_the_file(tmp_path):
    model = classifier(["cat", "dog"])
    model.graph.node.extend([node("MatMul", "x w", "h"), node("Exp", "h", "scores")])
    model.graph.output.append(value("scores", ("rows", 3)))
    model.graph.initializer.append(weight("w", 2, 3))
    onnx.save(
        model,
        save(tmp_path, model),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    file = onnx_file.inspect(tmp_path, "model.onnx")
    assert pruning.cover(onnx_file.needs(file), A, 2) == A
    sizes: list[int] = []
    small = onnx_file.pruned(file, A, sizes.append)
    assert operators(onnx.load_from_string(small)) == ["Normalizer", "Identity"]
    assert sizes == [file.size, len(small), len(small)]
    large = onnx_file.pruned(file, B, sizes.append)
    assert operators(onnx.load_from_string(large)) == ["MatMul", "Exp"]
    assert sizes[3:] == [file.size, len(large), len(large) + 2 * 3 * 4]


OPERATORS = ["Neg", "Abs", "Relu", "Add", "Mul", "Sub", "Max", "If"]


@st.composite
def graphs(draw) -> onnx.ModelProto:
    """Small graphs of exact arithmetic, some nodes in branches, over every value made so far."""
    made, nodes = ["x", "w"], []
    for place in range(draw(st.integers(1, 12))):
        operator = draw(st.sampled_from(OPERATORS))
        reads = [draw(st.sampled_from(made)) for _ in range(2)]
        result = f"v{place}"
        if operator == "If":
            branches = {
                f"{side}_branch": branch(
                    f"{side}{place}", node("Add", " ".join(reads), f"{side}{place}_out")
                )
                for side in ("then", "else")
            }
            nodes.append(node("If", "yes", result, **branches))
        else:
            width = 1 if operator in ("Neg", "Abs", "Relu") else 2
            nodes.append(node(operator, " ".join(reads[:width]), result))
        made.append(result)
    outputs = draw(st.lists(st.sampled_from(made[2:]), min_size=1, max_size=6, unique=True))
    w = numpy_helper.from_array(np.array([1, -2, 3, 2], np.float32), "w")
    yes = numpy_helper.from_array(np.array(True), "yes")
    return make(nodes, [value("x")], [value(name, None) for name in outputs], [w, yes])


@given(graphs(), st.integers(1, 63))
def test_any_outputs_of_any_small_graph_are_what_the_whole_makes(model, wanted):
    count = len(model.graph.output)
    wanted = wanted % (1 << count) or 1
    kept = pruning.cover(needs(model), wanted, count)
    assert wanted & ~kept == 0
    feed = {"x": np.arange(-6, 6, dtype=np.float32).reshape(3, 4)}
    whole = run(model, feed)
    for mask in (wanted, kept):
        for name, array in run(cut(model, mask), feed).items():
            np.testing.assert_array_equal(array, whole[name])
