"""Walks a graph and its subgraphs for what concerns the outside: names, files, foreign operators.

Knows GraphProto, NodeProto, AttributeProto and TensorProto. Knows nothing of the file system.

The walk keeps a list of what is still to be visited instead of recursing, and refuses subgraphs
nested deeper than any real model's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.errors import ModelRefused
from gateway.models import zipmap
from gateway.models.protobuf import Reader, Value

MAX_DEPTH = 32
MAX_EXTERNAL_FILES = 10_000
# Old files list every initializer among the inputs.
_MAX_VALUES = 65_536
_MAX_ATTRIBUTES = 4096
_MAX_PENDING = 65_536
_MAX_FOREIGN = 10_000

_KNOWN_DOMAINS = ("", "ai.onnx")
_KNOWN_PREFIXES = ("ai.onnx.", "com.microsoft", "com.ms.")

# A tree ensemble keeps its nodes as runs of millions of bare numbers and short words in attributes.
# They concern nobody here: fields 7 (floats), 8 (ints) and 9 (strings up to 40 bytes) are passed
# over in one match, possessively, so that it neither backtracks nor remembers.
_WORDS = b"|".join(re.escape(bytes([n])) + b".{%d}" % n for n in range(41))
RUNS = re.compile(
    rb"(?:\x3d.{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f]|\x4a(?:" + _WORDS + rb"))*+", re.DOTALL
)

_ORT_MEMORY_TAG = "_ORT_MEM_ADDR_"


@dataclass(slots=True)
class Contents:
    """What a walk found.

    Attributes:
        inputs, outputs: ValueInfoProtos of the main graph.
        initializers: names of the main graph's initializers.
        external: external data files, and up to which byte each is read.
        external_bytes: of external data, as far as the file gives its lengths.
        custom_ops: operators in foreign domains, as `domain.Op`.
        zipmaps: ZipMap nodes of the main graph.
    """

    inputs: list[memoryview] = field(default_factory=list)
    outputs: list[memoryview] = field(default_factory=list)
    initializers: list[str] = field(default_factory=list)
    external: dict[str, int] = field(default_factory=dict)
    external_bytes: int = 0
    custom_ops: set[str] = field(default_factory=set)
    zipmaps: list[zipmap.ZipMap] = field(default_factory=list)


Pending = list[tuple[str, memoryview, int]]


def read_contents(
    reader: Reader, graph: memoryview, extra: list[tuple[str, memoryview]]
) -> Contents:
    """Walks the main graph and, for files and operators alone, `extra` graphs and functions.

    Raises:
        ModelRefused: corrupt, nested too deep, or external data without a usable location.
    """
    found = Contents()
    pending: Pending = [(kind, view, 1) for kind, view in extra]
    pending.append(("main", graph, 0))
    while pending:
        kind, view, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ModelRefused(f"{reader.source}: subgraphs nested deeper than {MAX_DEPTH}")
        if kind == "function":
            _function(reader, view, depth, found, pending)
        else:
            _graph(reader, view, depth, found, pending, main=kind == "main")
    return found


def _graph(
    reader: Reader, view: memoryview, depth: int, found: Contents, pending: Pending, main: bool
) -> None:
    for number, value, _, _ in reader.fields(view):
        if number == 1:
            _node(reader, reader.message(value, "node"), depth, found, pending, main)
        elif number == 5:
            name = _tensor(reader, value, found)
            if main:
                found.initializers.append(name)
        elif number == 15:
            name = _sparse(reader, value, found)
            if main:
                found.initializers.append(name)
        elif main and number == 11:
            found.inputs.append(reader.message(value, "input"))
            reader.bound(len(found.inputs), _MAX_VALUES, "inputs")
        elif main and number == 12:
            found.outputs.append(reader.message(value, "output"))
            reader.bound(len(found.outputs), _MAX_VALUES, "outputs")


def _function(
    reader: Reader, view: memoryview, depth: int, found: Contents, pending: Pending
) -> None:
    for number, value, _, _ in reader.fields(view):
        if number == 7:
            _node(reader, reader.message(value, "node"), depth, found, pending, main=False)
        elif number == 11:
            _attribute(reader, reader.message(value, "attribute"), depth, found, pending)


def _node(
    reader: Reader, view: memoryview, depth: int, found: Contents, pending: Pending, main: bool
) -> None:
    operator = domain = ""
    attributes: list[memoryview] = []
    for number, value, _, _ in reader.fields(view):
        if number == 4:
            operator = reader.text(value, "operator")
        elif number == 5:
            attributes.append(reader.message(value, "attribute"))
            reader.bound(len(attributes), _MAX_ATTRIBUTES, "attributes of one node")
        elif number == 7:
            domain = reader.text(value, "domain")
    if main and zipmap.is_zipmap(domain, operator):
        found.zipmaps.append(zipmap.read(reader, view))
        reader.bound(len(found.zipmaps), _MAX_VALUES, "ZipMaps")
    elif domain not in _KNOWN_DOMAINS and not domain.startswith(_KNOWN_PREFIXES):
        found.custom_ops.add(f"{domain}.{operator}")
        reader.bound(len(found.custom_ops), _MAX_FOREIGN, "foreign operators")
    for attribute in attributes:
        _attribute(reader, attribute, depth, found, pending)


def _attribute(
    reader: Reader, view: memoryview, depth: int, found: Contents, pending: Pending
) -> None:
    for number, value, _, _ in reader.fields(view, RUNS):
        if number in (5, 10):
            _tensor(reader, value, found)
        elif number in (6, 11):
            pending.append(("sub", reader.message(value, "subgraph"), depth + 1))
            reader.bound(len(pending), _MAX_PENDING, "subgraphs")
        elif number in (22, 23):
            _sparse(reader, value, found)


def _sparse(reader: Reader, value: Value, found: Contents) -> str:
    name = ""
    for number, part, _, _ in reader.fields(reader.message(value, "sparse tensor")):
        if number == 1:
            name = _tensor(reader, part, found)
        elif number == 2:
            _tensor(reader, part, found)
    return name


def _tensor(reader: Reader, value: Value, found: Contents) -> str:
    """Reads a TensorProto's name, and notes its external data."""
    name, outside = "", False
    entries: dict[str, str] = {}
    for number, part, _, _ in reader.fields(reader.message(value, "tensor")):
        if number == 8:
            name = reader.text(part, "tensor name")
        elif number == 14:
            outside = reader.integer(part, "data location") == 1
        elif number == 13:
            key, text = _entry(reader, part)
            if key in entries:
                raise reader.corrupt(
                    f"tensor {name[:80]!r}: external data names its {key[:80]!r} twice"
                )
            entries[key] = text
    # Entries count whatever `data_location` says: not every reader of the format looks at it.
    if outside or entries:
        _note_external(reader, name, entries, found)
    return name


def _entry(reader: Reader, value: Value) -> tuple[str, str]:
    key = text = ""
    for number, part, _, _ in reader.fields(reader.message(value, "external data")):
        if number == 1:
            key = reader.text(part, "external data key")
        elif number == 2:
            text = reader.text(part, "external data value")
    return key, text


def _note_external(reader: Reader, name: str, entries: dict[str, str], found: Contents) -> None:
    where = f"{reader.source}: tensor {name[:80]!r}"
    location = entries.get("location", "")
    # ONNX Runtime reads this location as an address in its own memory.
    if not location or _ORT_MEMORY_TAG in location:
        raise ModelRefused(f"{where}: external data: wanted a file's name, got {location[:80]!r}")
    reach = 0
    for key in ("offset", "length"):
        text = entries.get(key, "0")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise ModelRefused(
                f"{where}: external data: {key}: wanted a byte count, got {text[:80]!r}"
            )
        reach += int(text)
    found.external_bytes += int(entries.get("length", "0"))
    found.external[location] = max(found.external.get(location, 0), reach)
    reader.bound(len(found.external), MAX_EXTERNAL_FILES, "external data files")
