"""BYTES tensors for ONNX Runtime, whose strings are UTF-8 text on both sides.

Knows arrays of `bytes` and of `str`. Knows nothing of models.
"""

from __future__ import annotations

import numpy as np

from gateway.errors import InvalidTensor, ModelFailed
from gateway.tensors import Array


def to_str(name: str, array: Array) -> Array:
    """Elements from `bytes` to `str`. Handed bytes, ONNX Runtime would take their `repr`.

    Raises:
        InvalidTensor: an element is not UTF-8.
    """
    texts: list[str] = []
    try:
        # Appending one by one, so that what is there when one fails tells which it was.
        texts.extend(value.decode() for value in array.ravel().tolist())
    except UnicodeDecodeError as error:
        raise InvalidTensor(
            f"tensor '{name}': element {len(texts)}: the model takes UTF-8 text, got other bytes"
        ) from error
    return _objects(texts, array.shape)


def to_bytes(array: Array) -> Array:
    """Elements from `str` to `bytes`.

    Raises:
        ModelFailed: an element is no text that can be written as UTF-8.
    """
    try:
        values = [value.encode() for value in array.ravel().tolist()]
    except UnicodeEncodeError as error:
        raise ModelFailed("the model gave text that is not UTF-8") from error
    return _objects(values, array.shape)


def _objects(values: list[str] | list[bytes], shape: tuple[int, ...]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)
