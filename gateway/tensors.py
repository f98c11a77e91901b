"""Tensors as the protocols name them: datatype, shape, and the arrays that hold them.

Knows the Open Inference Protocol's datatypes and their NumPy and ONNX Runtime twins. Knows nothing
of bytes on a wire, of batches, or of how a model runs.

Inside the gateway every tensor is a C-contiguous NumPy array of `dtype_of(datatype)`. BYTES tensors
are object arrays whose elements are `bytes`. BF16 is held as uint16 bit patterns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
    "BYTES": np.dtype(object),
}

FROM_ONNX: dict[int, str] = {
    9: "BOOL",
    2: "UINT8",
    4: "UINT16",
    12: "UINT32",
    13: "UINT64",
    3: "INT8",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    10: "FP16",
    1: "FP32",
    11: "FP64",
    16: "BF16",
    8: "BYTES",
}
"""ONNX `TensorProto.DataType` numbers to datatypes."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model declares of one input or output.

    Attributes:
        name: as the model names it.
        datatype: one of `DTYPES`.
        shape: full shape as clients see it, the batch dimension included; -1 is variable.
        labels: class labels along the last axis, where the model names them.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        inputs: in the model's order.
        outputs: in the model's order.
        batched: the first axis of every input and output counts rows, and rows of different
        requests
            may share one run. Where false, a request is one indivisible row and runs alone.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool
