"""A repository of small models, one for each thing that a client can do to a server.

Each model's name says what it is for; `build` writes them in Triton's layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models.builders import classifier, external, identity, linear, make, save, value

NUMBERS = {
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
}
EVERY = NUMBERS | {
    "BOOL": TensorProto.BOOL,
    "FP16": TensorProto.FLOAT16,
    "BYTES": TensorProto.STRING,
}
ODD_NAME = "café au lait"


def build(repository: Path) -> Path:
    """Writes every model below `repository`."""
    models: Mapping[str, onnx.ModelProto] = {
        "linear": linear(),
        "sums": sums(),
        "every": every(),
        "echo": identity(("rows", "length")),
        "words": identity(("rows", 1), TensorProto.STRING),
        "word": identity((1,), TensorProto.STRING),
        "halves": identity(("rows", 2), TensorProto.FLOAT16),
        "fixed": identity((2, 3)),
        "scalarless": identity((3,)),
        "flowers": classifier(("iris", "rose", "tulip")),
        "wide": identity(("rows", 4096)),
        "two_paths": two_paths(),
        "padded": averages(),
        "slow": slow(),
        ODD_NAME: linear(),
        "model..1": linear(),
    }
    for name, model in models.items():
        save(repository / name / "1", model)
    save(repository / "versions" / "1", scale(1.0))
    save(repository / "versions" / "2", scale(2.0))
    save(repository / "versions" / "10", scale(10.0))
    (repository / "versions" / "config.pbtxt").write_text("version_policy: { all {} }")
    return repository


def build_hostile(repository: Path) -> Path:
    """Writes models that must be refused, each for another reason, and one that is well."""
    good = linear().SerializeToString()
    save(repository / "good" / "1", linear())
    for name, content in {
        "corrupt": b"\xff\x00 this was never a model \xff" * 20,
        "truncated": good[: len(good) // 2],
        "empty": b"",
    }.items():
        folder = repository / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(content)
    save(repository / "outside" / "1", external("../../../secret.bin", offset=0, length=32))
    save(repository / "absolute" / "1", external("/etc/passwd", offset=0, length=32))
    (repository / "linked" / "1").mkdir(parents=True)
    (repository / "linked" / "1" / "model.onnx").symlink_to("/etc/hostname")
    unknown = make([helper.make_node("NoSuchOp", ["x"], ["y"])], [value("x")], [value("y")])
    save(repository / "unknown_op" / "1", unknown)
    return repository


def sums() -> onnx.ModelProto:
    """Triton's `simple`: two INT32 inputs, their sum and their difference."""
    kind = TensorProto.INT32
    return make(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        [value("INPUT0", ("rows", 16), kind), value("INPUT1", ("rows", 16), kind)],
        [value("OUTPUT0", ("rows", 16), kind), value("OUTPUT1", ("rows", 16), kind)],
    )


def every() -> onnx.ModelProto:
    """One input and one output of every datatype that has a JSON form or not, passed through."""
    return make(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in EVERY],
        [value(f"in_{name}", ("rows", 2), kind) for name, kind in EVERY.items()],
        [value(f"out_{name}", ("rows", 2), kind) for name, kind in EVERY.items()],
    )


def scale(factor: float) -> onnx.ModelProto:
    """y = factor * x: an answer tells which version gave it."""
    return make(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [value("x", ("rows", 1))],
        [value("y", ("rows", 1))],
        [numpy_helper.from_array(np.array([factor], np.float32), "factor")],
    )


def two_paths() -> onnx.ModelProto:
    """`good` is x; `bad` cannot be computed where `pick` points outside the row."""
    return make(
        [
            helper.make_node("Identity", ["x"], ["good"]),
            helper.make_node("Gather", ["x", "pick"], ["picked"], axis=1),
            helper.make_node("ReduceSum", ["picked"], ["bad"], keepdims=0),
        ],
        [value("x", ("rows", 4)), value("pick", (1,), TensorProto.INT64)],
        [value("good", ("rows", 4)), value("bad", ())],
    )


def averages() -> onnx.ModelProto:
    """Echo beside the length that the model itself saw, padding included."""
    zero = numpy_helper.from_array(np.array([1], np.int64), "axes")
    return make(
        [
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("Mul", ["x", "zero"], ["zeros"]),
            helper.make_node("Add", ["zeros", "one"], ["ones"]),
            helper.make_node("ReduceSum", ["ones", "axes"], ["seen"], keepdims=0),
        ],
        [value("x", ("rows", "length"))],
        [value("y", ("rows", "length")), value("seen", ("rows",))],
        [
            zero,
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(np.array(1, np.float32), "one"),
        ],
    )


def slow(steps: int = 300) -> onnx.ModelProto:
    """`y` is `x`, after a walk of some tens of milliseconds that its length sets."""
    rng = np.random.default_rng(3)
    side = 192
    matrix = numpy_helper.from_array(
        (rng.normal(size=(side, side)) / np.sqrt(side)).astype(np.float32), "m"
    )
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("MatMul", ["walker", "m"], ["walked"]),
        ],
        "turn",
        [
            value("i", (), TensorProto.INT64),
            value("go_on", (), TensorProto.BOOL),
            value("walker", (side, side)),
        ],
        [value("still", (), TensorProto.BOOL), value("walked", (side, side))],
    )
    return make(
        [
            helper.make_node("Loop", ["steps", "", "start"], ["end"], body=turn),
            helper.make_node("ReduceSum", ["end"], ["total"], keepdims=0),
            helper.make_node("Mul", ["total", "zero"], ["nothing"]),
            helper.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        [value("x", ("rows", 1))],
        [value("y", ("rows", 1))],
        [
            matrix,
            numpy_helper.from_array(np.array(steps, np.int64), "steps"),
            numpy_helper.from_array(np.ones((side, side), np.float32), "start"),
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
        ],
    )


def tensor(name: str, array: Any, datatype: str) -> dict[str, Any]:
    """An input in JSON, its elements flat."""
    values = np.asarray(array)
    return {
        "name": name,
        "shape": list(values.shape),
        "datatype": datatype,
        "data": values.ravel().tolist(),
    }


def asked(*inputs: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """An inference request."""
    return {"inputs": list(inputs), **fields}
