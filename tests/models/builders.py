"""Small ONNX models, built in the test that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name, shape=("rows", 4), element=FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def make(nodes, inputs, outputs, initializers=(), opsets=(("", 17),), **details) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(initializers))
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    details = {"producer_name": "tests", "ir_version": 8} | details
    return helper.make_model(graph, opset_imports=imports, **details)


def linear(features: int = 4, seed: int = 0) -> onnx.ModelProto:
    """y = x @ w, with w an initializer."""
    w = np.random.default_rng(seed).normal(size=(features, 2)).astype(np.float32)
    return make(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", ("rows", features))],
        [value("y", ("rows", 2))],
        [numpy_helper.from_array(w, "w")],
    )


def perceptron(*widths: int, seed: int = 3) -> onnx.ModelProto:
    """Layers of these widths, a Relu between each and the next."""
    rng, nodes, weights, last = np.random.default_rng(seed), [], [], "x"
    for place, (wide, narrow) in enumerate(pairwise(widths)):
        w = rng.normal(size=(wide, narrow)) * np.sqrt(2 / wide)
        weights.append(numpy_helper.from_array(w.astype(np.float32), f"w{place}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{place}"], [f"m{place}"]))
        last = f"h{place}" if place + 2 < len(widths) else "y"
        kind = "Relu" if last != "y" else "Identity"
        nodes.append(helper.make_node(kind, [f"m{place}"], [last]))
    ends = value("x", ("rows", widths[0])), value("y", ("rows", widths[-1]))
    return make(nodes, ends[:1], ends[1:], weights)


def identity(shape=("rows", 4), element=FLOAT, out_shape=None) -> onnx.ModelProto:
    outputs = value("y", shape if out_shape is None else out_shape, element)
    return make(
        [helper.make_node("Identity", ["x"], ["y"])], [value("x", shape, element)], [outputs]
    )


def external(location: str, **entries: object) -> onnx.ModelProto:
    """y = x @ w, with w somewhere else."""
    model = linear()
    point_outside(model.graph.initializer[0], location, **entries)
    return model


def point_outside(tensor: onnx.TensorProto, location: str, **entries: object) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(text))


def classifier(labels: Sequence[str] | Sequence[int], opsets=(("", 17), ("ai.onnx.ml", 1))):
    """Probabilities of each class, put into one dictionary per row by ZipMap."""
    words = isinstance(labels[0], str)
    ml = "ai.onnx.ml"
    width = len(labels)
    nodes = [
        helper.make_node("Normalizer", ["x"], ["p"], domain=ml, norm="L1"),
        helper.make_node("ZipMap", ["p"], ["probabilities"], domain=ml),
    ]
    kind = "classlabels_strings" if words else "classlabels_int64s"
    nodes[1].attribute.append(helper.make_attribute(kind, list(labels)))
    key = TensorProto.STRING if words else TensorProto.INT64
    maps = helper.make_map_type_proto(key, helper.make_tensor_type_proto(FLOAT, []))
    output = helper.make_value_info("probabilities", helper.make_sequence_type_proto(maps))
    return make(nodes, [value("x", ("rows", width))], [output], opsets=opsets)


def save(folder: Path, model: onnx.ModelProto, file: str = "model.onnx") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    path.write_bytes(model.SerializeToString())
    return path
