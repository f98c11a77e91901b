"""Cuts ZipMap out of a graph, so that its output is the plain [rows, classes] tensor behind it.

scikit-learn's converters end a classifier in ZipMap, which turns a matrix of probabilities into one
dictionary per row: nothing a tensor protocol could carry, and slow. Knows the node and the bytes
around it. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.models.protobuf import Reader, Value, bytes_field, number_field

MAX_CLASSES = 100_000
_DEFAULT_OPSET = 13
_FLOAT = 1


@dataclass(frozen=True, slots=True)
class ZipMap:
    """One ZipMap node: the value it makes, and the class labels in the order of the columns."""

    output: str
    labels: tuple[str, ...]


def is_zipmap(domain: str, operator: str) -> bool:
    """Whether a node is ONNX-ML's ZipMap."""
    return operator == "ZipMap" and domain == "ai.onnx.ml"


def read(reader: Reader, node: memoryview) -> ZipMap:
    """Reads a ZipMap's output and labels (text, or integers as text)."""
    output, labels = "", []
    for number, value, _, _ in reader.fields(node):
        if number == 2:
            output = reader.text(value, "ZipMap output")
        elif number == 5:
            labels += _labels(reader, value)
            reader.bound(len(labels), MAX_CLASSES, "ZipMap classes")
    return ZipMap(output, tuple(labels))


def _labels(reader: Reader, attribute: Value) -> list[str]:
    labels: list[str] = []
    for number, value, _, _ in reader.fields(reader.message(attribute, "attribute")):
        if number == 8:
            labels += map(str, reader.integers(value, "ZipMap classes", MAX_CLASSES))
        elif number == 9:
            labels.append(reader.text(value, "ZipMap class"))
        reader.bound(len(labels), MAX_CLASSES, "ZipMap classes")
    return labels


def without(reader: Reader, model: memoryview, classes: Mapping[str, int]) -> bytes:
    """The model's bytes with the ZipMaps that make `classes` turned into Identity.

    Args:
        reader: walks the file.
        model: a whole ModelProto.
        classes: the outputs to turn into float [rows, classes], and how many classes each has.

    Raises:
        ModelRefused: corrupt.
    """
    parts: list[bytes | memoryview] = []
    has_default = False
    for number, value, start, stop in reader.fields(model):
        if number == 7:
            parts.append(bytes_field(7, _graph(reader, reader.message(value, "graph"), classes)))
            continue
        if number == 8:
            has_default |= _domain(reader, reader.message(value, "opset_import"), 1) == ""
        parts.append(model[start:stop])
    if (
        not has_default
    ):  # Identity is of the default domain, which a pure ONNX-ML model need not import
        parts.append(bytes_field(8, number_field(2, _DEFAULT_OPSET)))
    return b"".join(parts)


def _graph(reader: Reader, graph: memoryview, classes: Mapping[str, int]) -> bytes:
    parts: list[bytes | memoryview] = []
    for number, value, start, stop in reader.fields(graph):
        if number == 1:
            node = reader.message(value, "node")
            if _output(reader, node) in classes:
                parts.append(bytes_field(1, _identity(reader, node)))
                continue
        elif number in (12, 13):
            name = _name(reader, reader.message(value, "value"))
            if name in classes:
                if number == 12:
                    parts.append(bytes_field(12, _output_type(name, classes[name])))
                continue
        parts.append(graph[start:stop])
    return b"".join(parts)


def _domain(reader: Reader, view: memoryview, field: int) -> str:
    domain = ""
    for number, value, _, _ in reader.fields(view):
        if number == field:
            domain = reader.text(value, "domain")
    return "" if domain == "ai.onnx" else domain


def _output(reader: Reader, node: memoryview) -> str | None:
    """The output of a ZipMap; None for every other node."""
    output, operator = "", ""
    for number, value, _, _ in reader.fields(node):
        if number == 2:
            output = reader.text(value, "node output")
        elif number == 4:
            operator = reader.text(value, "operator")
    return output if is_zipmap(_domain(reader, node, 7), operator) else None


def _identity(reader: Reader, node: memoryview) -> bytes:
    """The node with operator and domain replaced, its attributes and the rest left out."""
    kept = [
        bytes(node[start:stop])
        for number, _, start, stop in reader.fields(node)
        if number in (1, 2, 3)
    ]
    return b"".join((*kept, bytes_field(4, b"Identity")))


def _name(reader: Reader, view: memoryview) -> str:
    for number, value, _, _ in reader.fields(view):
        if number == 1:
            return reader.text(value, "value name")
    return ""


def _output_type(name: str, classes: int) -> bytes:
    rows = bytes_field(1, bytes_field(2, b"rows"))
    columns = bytes_field(1, number_field(1, classes))
    tensor = number_field(1, _FLOAT) + bytes_field(2, rows + columns)
    return bytes_field(1, name.encode()) + bytes_field(2, bytes_field(1, tensor))
