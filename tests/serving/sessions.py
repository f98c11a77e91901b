"""ONNX Runtime sessions on models built in tests, and values to give them."""

from __future__ import annotations

import numpy as np
import onnx

from gateway.config import ModelSettings
from gateway.serving.runtime import OnnxRuntime
from gateway.tensors import DTYPES, FROM_ONNX, Signature, TensorSpec

ELEMENTS = {datatype: element for element, datatype in FROM_ONNX.items()}


def tensors(values) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            one.name,
            FROM_ONNX[one.type.tensor_type.elem_type],
            tuple(d.dim_value or -1 for d in one.type.tensor_type.shape.dim),
        )
        for one in values
    )


def open_model(model: onnx.ModelProto, folder, batched: bool = True, **settings) -> OnnxRuntime:
    signature = Signature(tensors(model.graph.input), tensors(model.graph.output), batched)
    values = ModelSettings(**{"device": "cpu", **settings})
    return OnnxRuntime(model.SerializeToString(), folder, signature, values)


def values_of(datatype: str, shape=(2, 3)) -> np.ndarray:
    count = int(np.prod(shape))
    if datatype == "BYTES":
        array = np.empty(count, object)
        array[:] = [b"", "naïve ☃".encode(), b"a\x00b\x00", b" ", b"x" * 1000, b"\n"][:count]
        return array.reshape(shape)
    if datatype == "BF16":
        return np.arange(0x3F80, 0x3F80 + count, dtype=np.uint16).reshape(shape)
    return np.arange(count).reshape(shape).astype(DTYPES[datatype])
