"""Binary tensors: the raw bytes behind the JSON of a request or an answer.

Knows their layout: little-endian, row-major, one byte per BOOL, and a four-byte length before each
BYTES element. Knows nothing of JSON.
"""

from __future__ import annotations

import struct
from math import prod

import numpy as np

from gateway.errors import InvalidBinary, InvalidParameter, InvalidTensor
from gateway.tensors import DTYPES, Array, Signature
from gateway.wire.oip.fields import dims, quoted

_LENGTH = struct.Struct("<I")
_MAX_INT32 = (1 << 31) - 1


def parse_header_length(value: bytes, body_length: int) -> int:
    """Reads `Inference-Header-Content-Length`.

    Args:
        value: the header as sent.
        body_length: bytes of the whole body, inflated.

    Returns:
        Bytes of JSON at the start of the body; 0 says that the body is one raw tensor.

    Raises:
        InvalidParameter: not a decimal number, or more than the body holds.
    """
    digits = value.strip(b" \t")
    # isdigit on bytes is ASCII only; eleven digits already pass the largest int32.
    if not digits.isdigit() or len(digits) > 32 or int(digits) > _MAX_INT32:
        raise InvalidParameter(
            "Inference-Header-Content-Length: expected an unsigned 31-bit integer, "
            f"got {quoted(value.decode('latin-1'))}"
        )
    length = int(digits)
    if length > body_length:
        raise InvalidParameter(
            f"Inference-Header-Content-Length: expected at most the body's {body_length} bytes, "
            f"got {length}"
        )
    return length


def array_of(
    body: bytes, start: int, size: int, name: str, datatype: str, shape: tuple[int, ...]
) -> Array:
    """Reads one tensor out of a body.

    Args:
        body: the whole body.
        start: where the tensor begins.
        size: its bytes; the body holds as many.
        name: of the input, for messages.
        datatype: what the bytes are.
        shape: what they must fill exactly.

    Returns:
        An array of its own: writable, aligned, and independent of `body`.

    Raises:
        InvalidBinary: the bytes are not what the shape needs.
    """
    if datatype == "BYTES":
        view = memoryview(body)[start : start + size]
        elements = _strings(view, name, prod(shape))
        strings = np.empty(len(elements), object)
        strings[:] = elements
        return strings.reshape(shape)
    dtype = DTYPES[datatype]
    expected = prod(shape) * dtype.itemsize
    if size != expected:
        raise InvalidBinary(
            f"unexpected total byte size for input {quoted(name)}: shape {dims(shape)} of "
            f"{datatype} expects {expected} bytes, got {size}"
        )
    own = bytearray(memoryview(body)[start : start + size])
    if datatype == "BOOL":
        # Any other byte inside a NumPy bool is undefined behaviour.
        flags: Array = np.ndarray(shape, np.uint8, own) != 0
        return flags
    return np.ndarray(shape, dtype, own)


def _strings(view: memoryview, name: str, count: int) -> list[bytes]:
    # Checked first: a shape may claim more elements than could ever be there.
    if len(view) < count * _LENGTH.size:
        raise InvalidBinary(
            f"unexpected number of string elements for input {quoted(name)}: expected {count}, "
            f"got {len(view)} bytes, which hold at most {len(view) // _LENGTH.size}"
        )
    strings = []
    at = 0
    for _ in range(count):
        if len(view) - at < _LENGTH.size:
            raise InvalidBinary(
                f"incomplete string length indicator for input {quoted(name)}: expected 4 bytes, "
                f"got {len(view) - at}"
            )
        (length,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if length > len(view) - at:
            raise InvalidBinary(
                f"incomplete string data for input {quoted(name)}: expected a string of {length} "
                f"bytes, got {len(view) - at}"
            )
        strings.append(bytes(view[at : at + length]))
        at += length
    if at != len(view):
        raise InvalidBinary(
            f"unexpected additional input data for input {quoted(name)}: expected {at} bytes for "
            f"{count} strings, got {len(view)}"
        )
    return strings


def strings_to_bytes(strings: Array) -> bytes:
    """BYTES elements in row-major order, each behind its length."""
    pieces = []
    for string in strings.ravel().tolist():
        pieces.append(_LENGTH.pack(len(string)))
        pieces.append(string)
    return b"".join(pieces)


def raw_request(body: bytes, name: str, signature: Signature) -> Array:
    """The single input of a request whose body is nothing but a tensor.

    The batch dimension is 1, and one variable dimension follows from the size. A BYTES input takes
    the body as its one string.

    Raises:
        InvalidBinary: the model or the size leaves the shape open.
    """
    if len(signature.inputs) != 1:
        raise InvalidBinary(
            f"Raw request must only have 1 input (expected 1) to be deduced but got "
            f"{len(signature.inputs)} inputs in model '{name}'"
        )
    spec = signature.inputs[0]
    shape = [1, *spec.shape[1:]] if signature.batched else list(spec.shape)
    if spec.datatype == "BYTES":
        inner = shape[1:] if signature.batched else shape
        if inner != [1]:
            raise InvalidBinary(
                f"For BYTE datatype raw input {quoted(spec.name)}, the model must have input "
                f"shape [1], got {dims(inner)}"
            )
        string = np.empty(1, object)
        string[0] = body
        return string.reshape(shape)
    return array_of(
        body, 0, len(body), spec.name, spec.datatype, _solved(shape, spec.name, spec.datatype, body)
    )


def _solved(shape: list[int], name: str, datatype: str, body: bytes) -> tuple[int, ...]:
    if shape.count(-1) > 1:
        raise InvalidBinary(
            f"The shape of Raw request input {quoted(name)} can not be deduced because there are "
            f"more than one variable-sized dimension: {dims(shape)}"
        )
    if -1 in shape:
        unit = DTYPES[datatype].itemsize * prod(dim for dim in shape if dim != -1)
        if unit == 0 or len(body) % unit:
            raise InvalidTensor(
                f"unexpected total byte size for raw input {quoted(name)} of shape {dims(shape)}: "
                f"expected a multiple of {unit} bytes, got {len(body)}"
            )
        shape[shape.index(-1)] = len(body) // unit
    return tuple(shape)
