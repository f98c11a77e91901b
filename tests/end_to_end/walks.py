"""A model that takes as long as its client says, and how many steps that is on this machine."""

from __future__ import annotations

import json
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.end_to_end.server import RunningServer
from tests.models.builders import make, value

SIDE = 96
INFER = "/v2/models/walks/infer"


def walks() -> onnx.ModelProto:
    """`y` is `steps`, after that many steps; one request is one run."""
    rng = np.random.default_rng(3)
    start = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("MatMul", ["walker", "matrix"], ["walked"]),
        ],
        "turn",
        [
            value("i", (), TensorProto.INT64),
            value("go_on", (), TensorProto.BOOL),
            value("walker", (SIDE, SIDE)),
        ],
        [value("still", (), TensorProto.BOOL), value("walked", (SIDE, SIDE))],
    )
    return make(
        [
            helper.make_node("Loop", ["steps", "", "start"], ["end"], body=turn),
            helper.make_node("ReduceMax", ["end"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "zero"], ["nothing"]),
            helper.make_node("Cast", ["nothing"], ["none"], to=TensorProto.INT64),
            helper.make_node("Add", ["steps", "none"], ["y"]),
        ],
        [value("steps", (1,), TensorProto.INT64)],
        [value("y", (1,), TensorProto.INT64)],
        [
            numpy_helper.from_array(np.eye(SIDE, dtype=np.float32), "matrix"),
            numpy_helper.from_array(start, "start"),
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
        ],
    )


def body(steps: int) -> bytes:
    one = {"name": "steps", "shape": [1], "datatype": "INT64", "data": [steps]}
    return json.dumps({"inputs": [one]}).encode()


def steps_for(server: RunningServer, seconds: float, path: str = INFER) -> int:
    """How many steps take so long here, alone; measured, and good to a few tenths of it."""
    spent, steps = 0.0, 100
    while spent < 0.05:
        steps *= 2
        began = time.perf_counter()
        assert server.request("POST", path, body(steps)).status == 200
        spent = time.perf_counter() - began
    return max(1, round(steps * seconds / spent))
