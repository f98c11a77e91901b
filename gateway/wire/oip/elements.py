"""The `data` of an input to an array of the declared datatype.

Knows decoded JSON and the datatypes. Knows nothing of bytes on the wire or of models.

Nothing is converted silently: a float is no integer, a number is no boolean, an integer must fit
its type, and a finite number must stay finite. Numbers in a float tensor are what `float()` makes
of their text, rounded once to the tensor's type.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from gateway.errors import InvalidTensor, MalformedJson
from gateway.tensors import DTYPES, Array
from gateway.wire.oip.fields import dims, quoted, shown

FORMATS = {
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP32": "f",
    "FP64": "d",
}
"""`struct` letters, used behind `<`, where packing refuses what does not fit. Without it, and in
NumPy, a number too large for FP32 becomes infinity."""

_INTEGERS = frozenset({int})
_REALS = frozenset({int, float})
_BOOLEANS = frozenset({bool})
_STRINGS = frozenset({str})
_EXPECTED = {"BOOL": "a boolean", "BYTES": "a string", "FP32": "a number", "FP64": "a number"}


def array_of(data: Any, name: str, datatype: str, shape: tuple[int, ...], count: int) -> Array:
    """Builds one tensor from JSON.

    Args:
        data: the elements, flat in row-major order or nested to `shape`.
        name: of the input, for messages.
        datatype: any that has a JSON form.
        shape: what the request announces.
        count: product of `shape`.

    Raises:
        MalformedJson: `data` is no array.
        InvalidTensor: too few or many elements, or one that does not fit the datatype.
    """
    if type(data) is not list:
        raise MalformedJson(f"input {quoted(name)}: data: expected an array, got {shown(data)}")
    flat = _flat(data, name, shape, count)
    letter = FORMATS.get(datatype)
    if letter is not None:
        return _numbers(flat, name, datatype, letter, shape)
    if datatype == "BOOL":
        _check_types(flat, name, datatype, _BOOLEANS)
        return np.array(flat, np.bool_).reshape(shape)
    _check_types(flat, name, datatype, _STRINGS)
    strings = np.empty(count, object)
    strings[:] = [element.encode() for element in flat]
    return strings.reshape(shape)


def _numbers(
    flat: list[Any], name: str, datatype: str, letter: str, shape: tuple[int, ...]
) -> Array:
    # bool is an int to Python, so types are compared, not tested with isinstance.
    _check_types(flat, name, datatype, _REALS if datatype in ("FP32", "FP64") else _INTEGERS)
    array = np.empty(shape, DTYPES[datatype])
    try:
        struct.pack_into(f"<{len(flat)}{letter}", array, 0, *flat)  # type: ignore[arg-type]
    except (struct.error, OverflowError):
        _refuse_first(flat, name, datatype, _fits(letter))
    return array


def _flat(data: list[Any], name: str, shape: tuple[int, ...], count: int) -> list[Any]:
    if len(shape) > 1 and data and type(data[0]) is list:
        return _flattened(data, name, shape)
    if len(data) != count and not (not data and _nests_to_nothing(shape)):
        raise InvalidTensor(
            f"input {quoted(name)}: shape does not match 'data': expected {count} elements for "
            f"shape {dims(shape)}, got {len(data)}"
        )
    return data


def _nests_to_nothing(shape: tuple[int, ...]) -> bool:
    return bool(shape) and shape[0] == 0


def _flattened(data: list[Any], name: str, shape: tuple[int, ...]) -> list[Any]:
    level = data
    for axis, dim in enumerate(shape):
        if axis:
            if set(map(type, level)) - {list}:
                raise InvalidTensor(
                    f"input {quoted(name)}: shape does not match 'data': expected arrays nested "
                    f"to {dims(shape)}, got a value at depth {axis}"
                )
            lengths = set(map(len, level)) or {dim}
            level = list(chain.from_iterable(level))
        else:
            lengths = {len(level)}
        if lengths != {dim}:
            got = max(lengths - {dim})
            raise InvalidTensor(
                f"input {quoted(name)}: shape does not match 'data': expected {dim} elements "
                f"along axis {axis} of {dims(shape)}, got {got}"
            )
    return level


def _check_types(flat: list[Any], name: str, datatype: str, allowed: frozenset[type]) -> None:
    if not allowed.issuperset(map(type, flat)):
        _refuse_first(flat, name, datatype, lambda element: type(element) in allowed)


def _refuse_first(flat: list[Any], name: str, datatype: str, fits: Callable[[Any], bool]) -> None:
    place = next(place for place, element in enumerate(flat) if not fits(element))
    expected = _EXPECTED.get(datatype, "an integer")
    raise InvalidTensor(
        f"input {quoted(name)}: element {place}: expected {expected} that fits {datatype}, "
        f"got {shown(flat[place])}"
    )


def _fits(letter: str) -> Callable[[Any], bool]:
    def fits(element: Any) -> bool:
        try:
            struct.pack(f"<{letter}", element)
        except (struct.error, OverflowError):
            return False
        return True

    return fits
