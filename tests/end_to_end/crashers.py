"""ONNX models that ONNX Runtime does not survive, or does not come back from: valid files all.

The crashing ones are faults of the real runtime, met with every release so far: a tree as deep as
it has nodes overflows the stack when the session is built, and the lowest integer divided by -1
traps.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models.builders import make, value

LOWEST = np.iinfo(np.int32).min
DEADLY = -2
"""What `divides` must not be asked."""


def overflows(depth: int = 40_000) -> onnx.ModelProto:
    """Crashes while it is loaded: one tree, each of whose nodes has the next for its child."""
    inner, leaves = range(depth), range(depth, 2 * depth + 1)
    children = [*inner[1:], leaves[-1]]
    tree = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0] * (2 * depth + 1),
        nodes_nodeids=[*inner, *leaves],
        nodes_featureids=[0] * (2 * depth + 1),
        nodes_values=[float(node) for node in inner] + [0.0] * (depth + 1),
        nodes_modes=["BRANCH_LEQ"] * depth + ["LEAF"] * (depth + 1),
        nodes_truenodeids=[*leaves[:-1], *[0] * (depth + 1)],
        nodes_falsenodeids=[*children, *[0] * (depth + 1)],
        target_treeids=[0] * (depth + 1),
        target_nodeids=list(leaves),
        target_ids=[0] * (depth + 1),
        target_weights=[1.0] * (depth + 1),
    )
    opsets = (("", 17), ("ai.onnx.ml", 1))
    inputs, outputs = [value("x", ("rows", 1))], [value("y", ("rows", 1))]
    return make([tree], inputs, outputs, opsets=opsets)


def endless() -> onnx.ModelProto:
    """y = x after more rounds of a loop than anybody will see the end of."""
    rounds = numpy_helper.from_array(np.array(np.iinfo(np.int64).max), "rounds")
    always = numpy_helper.from_array(np.array(True), "always")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["going"]),
            helper.make_node("Identity", ["carried"], ["kept"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            value("carried", ("rows", 1)),
        ],
        [helper.make_tensor_value_info("going", TensorProto.BOOL, []), value("kept", ("rows", 1))],
    )
    loop = helper.make_node("Loop", ["rounds", "always", "x"], ["y"], body=body)
    return make([loop], [value("x", ("rows", 1))], [value("y", ("rows", 1))], [rounds, always])


def divides() -> onnx.ModelProto:
    """y = lowest / (x + 1): serves well until somebody sends x = -2."""
    one = numpy_helper.from_array(np.array([1], np.int32), "one")
    lowest = numpy_helper.from_array(np.array([LOWEST], np.int32), "lowest")
    return make(
        [
            helper.make_node("Add", ["x", "one"], ["divisor"]),
            helper.make_node("Div", ["lowest", "divisor"], ["y"]),
        ],
        [value("x", ("rows", 1), TensorProto.INT32)],
        [value("y", ("rows", 1), TensorProto.INT32)],
        [one, lowest],
    )
