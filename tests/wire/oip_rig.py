"""Small builders for codec tests: signatures, bodies, and what an answer says."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import orjson
import pytest

from gateway.errors import InvalidRequest
from gateway.tensors import Signature, TensorSpec
from gateway.wire.oip.codec import Codec

MAX_BODY = 1 << 20
# What the integer datatypes hold.
SMALLEST = {"UINT8": 0, "UINT16": 0, "UINT32": 0, "UINT64": 0} | {
    f"INT{bits}": -(1 << bits - 1) for bits in (8, 16, 32, 64)
}
LARGEST = {f"UINT{bits}": (1 << bits) - 1 for bits in (8, 16, 32, 64)} | {
    f"INT{bits}": (1 << bits - 1) - 1 for bits in (8, 16, 32, 64)
}
INTEGERS = sorted(SMALLEST)


def spec(name: str, datatype: str, *shape: int, labels: tuple[str, ...] = ()) -> TensorSpec:
    return TensorSpec(name, datatype, shape, labels)


def codec_of(
    inputs: list[TensorSpec],
    outputs: list[TensorSpec] | None = None,
    batched: bool = True,
    max_batch_size: int = 8,
) -> Codec:
    outputs = outputs or [spec("Y", "FP32", -1, 2)]
    signature = Signature(tuple(inputs), tuple(outputs), batched)
    return Codec("m", "3", signature, MAX_BODY, max_batch_size)


def plain_codec() -> Codec:
    """One FP32 input X [-1, 3], outputs Y FP32 [-1, 2] and label INT64 [-1]."""
    return codec_of(
        [spec("X", "FP32", -1, 3)], [spec("Y", "FP32", -1, 2), spec("label", "INT64", -1)]
    )


def tensor(**changes: Any) -> dict[str, Any]:
    """An input that `plain_codec` takes, changed; a value of `...` takes a key away."""
    values = {"name": "X", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]} | changes
    return {key: value for key, value in values.items() if value is not ...}


def request(*inputs: dict[str, Any], **extra: Any) -> bytes:
    return orjson.dumps({"inputs": list(inputs or [tensor()])} | extra)


def with_binary(document: dict[str, Any], *blobs: bytes) -> tuple[bytes, int]:
    """A body with binary tensors behind its JSON, and the length of that JSON."""
    header = orjson.dumps(document)
    return b"".join([header, *blobs]), len(header)


def binary_tensor(size: int, **changes: Any) -> dict[str, Any]:
    return tensor(data=..., parameters={"binary_data_size": size}, **changes)


def strings(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def objects(elements: list[bytes], *shape: int) -> np.ndarray[Any, Any]:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def document_of(answer: tuple[bytes, int | None]) -> dict[str, Any]:
    body, length = answer
    found: dict[str, Any] = orjson.loads(body[:length])
    return found


def tail_of(answer: tuple[bytes, int | None]) -> bytes:
    body, length = answer
    return b"" if length is None else body[length:]


def refusal(codec: Codec, body: bytes, header_length: int | None = None) -> InvalidRequest:
    """The error with which a request is refused, as it must be."""
    with pytest.raises(InvalidRequest) as caught:
        codec.decode(body, header_length)
    return caught.value
