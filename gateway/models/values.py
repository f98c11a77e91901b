"""The declared type of an ONNX graph's input or output.

Knows ValueInfoProto and TypeProto. Knows nothing of what the gateway is able to serve.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import ModelRefused
from gateway.models.protobuf import Reader

MAX_RANK = 64
_MAX_DIMENSION = (1 << 31) - 1
_FLOAT, _INT64, _STRING = 1, 7, 8
_KINDS = {1: "tensor", 4: "sequence", 5: "map", 7: "opaque", 8: "sparse tensor", 9: "optional"}


@dataclass(frozen=True, slots=True)
class ValueType:
    """One declared value.

    Attributes:
        name: as the graph names it.
        kind: `tensor`, `zipmap` (a sequence of maps from text or int64 to float), or another word.
        element: ONNX element type of a tensor, else 0.
        shape: -1 is variable; None where the file gives no shape.
    """

    name: str
    kind: str
    element: int
    shape: tuple[int, ...] | None


def read_value(reader: Reader, view: memoryview, what: str) -> ValueType:
    """Reads one ValueInfoProto; `what` says in refusals which side it is on."""
    name, kind = "", memoryview(b"")
    for number, value, _, _ in reader.fields(view):
        if number == 1:
            name = reader.text(value, f"{what} name")
        elif number == 2:
            kind = reader.message(value, f"{what} type")
    word, body = _type(reader, kind)
    where = f"{what} {name[:80]!r}"
    if word == "tensor":
        return ValueType(name, word, *_tensor(reader, body, where))
    if word == "sequence" and _is_zipmap(reader, body):
        word = "zipmap"
    return ValueType(name, word, 0, None)


def _type(reader: Reader, view: memoryview) -> tuple[str, memoryview]:
    """The one of TypeProto's alternatives that is set; as in every parser, the last one wins."""
    word, body = "a value without a type", memoryview(b"")
    for number, value, _, _ in reader.fields(view):
        if number in _KINDS:
            word, body = _KINDS[number], reader.message(value, "type")
    return word, body


def _tensor(reader: Reader, view: memoryview, where: str) -> tuple[int, tuple[int, ...] | None]:
    element, shape = 0, None
    for number, value, _, _ in reader.fields(view):
        if number == 1:
            element = reader.integer(value, f"{where} element type")
        elif number == 2:
            shape = _shape(reader, reader.message(value, f"{where} shape"), where)
    return element, shape


def _shape(reader: Reader, view: memoryview, where: str) -> tuple[int, ...]:
    dims: list[int] = []
    for number, value, _, _ in reader.fields(view):
        if number == 1:
            dims.append(_dimension(reader, reader.message(value, f"{where} dimension"), where))
            if len(dims) > MAX_RANK:
                raise ModelRefused(f"{reader.source}: {where}: more than {MAX_RANK} dimensions")
    return tuple(dims)


def _dimension(reader: Reader, view: memoryview, where: str) -> int:
    size = -1
    for number, value, _, _ in reader.fields(view):
        if number == 1:
            size = reader.integer(value, f"{where} dimension")
            # Some exporters write a variable dimension as -1; 0 is an empty one, as for ORT.
            size = max(size, -1)
        elif number == 2:
            size = -1
    if size > _MAX_DIMENSION:
        raise ModelRefused(
            f"{reader.source}: {where}: wanted dimensions up to {_MAX_DIMENSION}, got {size}"
        )
    return size


def _is_zipmap(reader: Reader, view: memoryview) -> bool:
    """Whether a sequence's elements are maps from text or int64 to float tensors."""
    for number, value, _, _ in reader.fields(view):
        if number != 1:
            continue
        word, body = _type(reader, reader.message(value, "sequence element"))
        if word != "map":
            return False
        key, element = 0, 0
        for inner, part, _, _ in reader.fields(body):
            if inner == 1:
                key = reader.integer(part, "map key type")
            elif inner == 2:
                kind, tensor = _type(reader, reader.message(part, "map value"))
                element = _tensor(reader, tensor, "map value")[0] if kind == "tensor" else 0
        return key in (_INT64, _STRING) and element == _FLOAT
    return False
