"""Cuts a graph down to the nodes that some of its outputs need.

ONNX Runtime computes all of a graph, whichever outputs are fetched. Knows which node makes what,
and what the subgraphs of a node read from around it. Knows nothing of files or of ONNX Runtime.

Sets of outputs are bit masks: bit i stands for the i-th name that the caller gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from gateway.errors import ModelRefused
from gateway.models.graph import RUNS
from gateway.models.protobuf import Reader, Value, length_field

# They only name, shape or scale what another node computed: nothing worth a session of its own.
LIGHT = frozenset(
    {
        ("", "Cast"),
        ("", "Flatten"),
        ("", "Identity"),
        ("", "Reshape"),
        ("", "Squeeze"),
        ("", "Unsqueeze"),
        ("ai.onnx.ml", "Normalizer"),
        ("ai.onnx.ml", "ZipMap"),
    }
)
# Each may be as many bits long as there are outputs.
MAX_NEEDS = 65_536

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _SPARSE = 1, 5, 11, 12, 15


def needs(reader: Reader, model: memoryview, outputs: Sequence[str]) -> frozenset[int]:
    """For each node that does work, the outputs that need it; equal sets once.

    Raises:
        ModelRefused: corrupt, or its nodes do not stand in the order in which they run.
    """
    nodes = _read(reader, _graph_of(reader, model)).nodes
    masks = _masks(reader, nodes, outputs)
    found = {mask for node, mask in zip(nodes, masks, strict=True) if mask and not node.light}
    reader.bound(len(found), MAX_NEEDS, "groups of outputs")
    return frozenset(found)


def cover(needed: Iterable[int], wanted: int, count: int) -> int:
    """All outputs that cost no more work once `wanted` are computed, themselves included.

    Args:
        needed: what `needs` found.
        wanted: outputs asked for.
        count: how many outputs there are.
    """
    left_out = reduce(or_, (mask for mask in needed if not mask & wanted), 0)
    return ((1 << count) - 1) & ~left_out


def cut(
    reader: Reader, model: memoryview, outputs: Sequence[str], kept: int
) -> list[bytes | memoryview]:
    """The model with the outputs `kept` alone, and the nodes and weights that they need.

    Every input stays, needed or not, so that callers need not know what was cut.

    Returns:
        Pieces that make the model when joined; most lie in `model` and are no copies.

    Raises:
        ModelRefused: as `needs`.
    """
    graph = _graph_of(reader, model)
    found = _read(reader, graph)
    stays = [bool(mask & kept) for mask in _masks(reader, found.nodes, outputs)]
    names = {name for bit, name in enumerate(outputs) if kept >> bit & 1}
    values = names.union(
        *(node.reads for node, stay in zip(found.nodes, stays, strict=True) if stay)
    )
    stay = iter(stays)

    def keeps(number: int, value: Value) -> bool:
        if number == _NODE:
            return next(stay)
        if number in (_INITIALIZER, _SPARSE):
            return _name(reader, number, value) in values
        if number == _INPUT:  # one that had a dropped weight as its default would now be required
            name = _name(reader, number, value)
            return name in values or name not in found.weights
        return number != _OUTPUT or _name(reader, number, value) in names

    smaller = [graph[a:b] for number, value, a, b in reader.fields(graph) if keeps(number, value)]
    parts: list[bytes | memoryview] = []
    for number, _, start, stop in reader.fields(model):
        if number == _GRAPH:
            parts += [length_field(_GRAPH, sum(map(len, smaller))), *smaller]
        else:
            parts.append(model[start:stop])
    return parts


@dataclass(slots=True)
class _Node:
    """What a node makes and reads; what its subgraphs read counts as read by it."""

    light: bool = False
    makes: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Graph:
    nodes: list[_Node] = field(default_factory=list)
    weights: set[str] = field(default_factory=set)


def _masks(reader: Reader, nodes: Sequence[_Node], outputs: Sequence[str]) -> list[int]:
    """Per node, the outputs that need it: one walk from the last node to the first."""
    needed_by = {name: 1 << bit for bit, name in enumerate(outputs)}
    masks = [0] * len(nodes)
    made: set[str] = set()
    for place in range(len(nodes) - 1, -1, -1):
        node = nodes[place]
        made.update(node.makes)
        if not made.isdisjoint(node.reads):
            raise ModelRefused(f"{reader.source}: node {place} reads what a later one makes")
        mask = masks[place] = reduce(or_, (needed_by.get(name, 0) for name in node.makes), 0)
        for name in node.reads if mask else ():
            needed_by[name] = needed_by.get(name, 0) | mask
    return masks


def _graph_of(reader: Reader, model: memoryview) -> memoryview:
    for number, value, _, _ in reader.fields(model):
        if number == _GRAPH:
            return reader.message(value, "graph")
    raise reader.corrupt("there is no graph")


def _read(reader: Reader, graph: memoryview) -> _Graph:
    found = _Graph()
    for number, value, _, _ in reader.fields(graph):
        if number == _NODE:
            found.nodes.append(_node(reader, reader.message(value, "node")))
        elif number in (_INITIALIZER, _SPARSE):
            found.weights.add(_name(reader, number, value))
    return found


def _node(reader: Reader, view: memoryview) -> _Node:
    node = _Node()
    operator, pending = _node_into(reader, view, node.reads, node.makes)
    node.light = operator in LIGHT
    while pending:
        for number, value, _, _ in reader.fields(pending.pop()):
            if number == _NODE:
                inner = reader.message(value, "node")
                pending += _node_into(reader, inner, node.reads, [])[1]
            elif number == _OUTPUT:  # a branch may give back what it only captured
                node.reads.append(_name(reader, number, value))
    return node


def _node_into(
    reader: Reader, view: memoryview, reads: list[str], makes: list[str]
) -> tuple[tuple[str, str], list[memoryview]]:
    """Adds what one node reads and makes, by itself; gives its operator and its subgraphs."""
    domain = operator = ""
    subgraphs: list[memoryview] = []
    for number, value, _, _ in reader.fields(view):
        if number in (1, 2):
            # An optional input or output that is left out has no name.
            if name := reader.text(value, "value name"):
                (reads if number == 1 else makes).append(name)
        elif number == 4:
            operator = reader.text(value, "operator")
        elif number == 5:
            subgraphs += _subgraphs(reader, reader.message(value, "attribute"))
        elif number == 7:
            domain = reader.text(value, "domain")
    return ("" if domain == "ai.onnx" else domain, operator), subgraphs


def _subgraphs(reader: Reader, attribute: memoryview) -> list[memoryview]:
    return [
        reader.message(value, "subgraph")
        for number, value, _, _ in reader.fields(attribute, RUNS)
        if number in (6, 11)
    ]


def _name(reader: Reader, number: int, value: Value) -> str:
    """The name of a tensor or value; of a sparse tensor, that of its values."""
    view = reader.message(value, "value")
    wanted = 8 if number == _INITIALIZER else 1
    for field_number, part, _, _ in reader.fields(view):
        if field_number == wanted:
            if number == _SPARSE:
                return _name(reader, _INITIALIZER, part)
            return reader.text(part, "value name")
    return ""
