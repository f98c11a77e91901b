"""What an ONNX file says of itself: inputs, outputs, opsets, producer, and the files it leans on.

Knows the layout of ONNX's messages. Knows nothing of ONNX Runtime: no model is loaded here, and a
file that passes may still fail to load. Nothing outside the model's folder is read, and no size
that the file claims is believed.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import ModelRefused
from gateway.models import pruning, zipmap
from gateway.models.graph import Contents, read_contents
from gateway.models.paths import inside
from gateway.models.protobuf import Reader, Value
from gateway.models.values import ValueType, read_value
from gateway.tensors import FROM_ONNX, TensorSpec

MAX_FILE_BYTES = (1 << 31) - 1
"""No protobuf message may be larger; bigger models keep their weights in external data."""
MAX_TENSORS = 4096
MAX_NAME = 1024
MAX_METADATA = 1 << 20
_MAX_PARTS = 10_000
# A mapped file that is cut short under us kills the process (SIGBUS), so most files are read.
_MAPPED_FROM_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """One ONNX file, looked at.

    Attributes:
        folder, file: where it lies; `file` is relative to `folder`.
        size: bytes of the file itself.
        inputs, outputs: in the file's order, shapes in full, -1 where variable. A ZipMap output
            stands here as the plain tensor it is served as, with its class labels.
        unranked: inputs and outputs for which the file gives no shape; theirs reads (-1,).
        opsets: (domain, version) of every operator set imported; the default domain is "".
        external: names of external data files, relative to `folder`, each checked to lie inside.
        custom_ops: operators of domains that ONNX Runtime does not bring along, as `domain.Op`.
        zipmaps: names of the outputs that a ZipMap makes in the file.
    """

    folder: Path
    file: str
    size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    unranked: tuple[str, ...] = ()
    opsets: tuple[tuple[str, int], ...] = ()
    ir_version: int = 0
    producer: str = ""
    producer_version: str = ""
    domain: str = ""
    model_version: int = 0
    doc: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    external: tuple[str, ...] = ()
    custom_ops: tuple[str, ...] = ()
    zipmaps: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Every file the model needs, relative to `folder`, the ONNX file first."""
        return (self.file, *self.external)


def inspect(folder: Path, file: str) -> OnnxFile:
    """Reads what a model declares, and checks where its external data lies.

    Args:
        folder: the model's own folder; nothing outside it is read.
        file: the ONNX file's name in it.

    Raises:
        ModelRefused: not an ONNX model, corrupt, too large, of types that cannot be served, or
            reaching outside its folder.
    """
    path = inside(folder, file, "model file")
    data = _open(path, file)
    reader = Reader(file)
    header = _read_model(reader, data)
    contents = read_contents(reader, header.graph, header.extra)
    zipmaps = {found.output: found for found in contents.zipmaps}
    initializers = set(contents.initializers)
    given = [read_value(reader, view, "input") for view in contents.inputs]
    inputs = [value for value in given if value.name not in initializers]
    outputs = [read_value(reader, view, "output") for view in contents.outputs]
    _check_names(file, inputs, outputs)
    external = _external_files(folder, file, contents)
    return OnnxFile(
        folder=folder,
        file=file,
        size=len(data),
        inputs=tuple(_tensor(file, "input", value, {}) for value in inputs),
        outputs=tuple(_tensor(file, "output", value, zipmaps) for value in outputs),
        unranked=tuple(
            v.name for v in (*inputs, *outputs) if v.shape is None and v.kind == "tensor"
        ),
        opsets=tuple(sorted(header.opsets)),
        ir_version=header.numbers.get("ir_version", 0),
        producer=header.texts.get("producer", ""),
        producer_version=header.texts.get("producer_version", ""),
        domain=header.texts.get("domain", ""),
        model_version=header.numbers.get("model_version", 0),
        doc=header.texts.get("doc", ""),
        metadata=header.metadata,
        external=external,
        custom_ops=tuple(sorted(contents.custom_ops - header.functions)),
        zipmaps=tuple(value.name for value in outputs if value.kind == "zipmap"),
    )


def servable(file: OnnxFile) -> Path | bytes:
    """What a runtime should load: the file as it is, or the same graph with its ZipMaps cut out.

    Bytes have no folder of their own: where `file.external` is not empty, the runtime must be told
    that external data lies in `file.folder`.

    Raises:
        ModelRefused: the file is no longer what `inspect` saw.
    """
    return _without_zipmaps(file) if file.zipmaps else _path(file)


def needs(file: OnnxFile) -> frozenset[int]:
    """Which outputs need which work: see `pruning.needs`; bits stand in the order of `outputs`.

    Raises:
        ModelRefused: the file is no longer what `inspect` saw, or cannot be cut.
    """
    names = [spec.name for spec in file.outputs]
    return pruning.needs(Reader(file.file), _open(_path(file), file.file), names)


def pruned(file: OnnxFile, kept: int, afford: Callable[[int], None]) -> bytes:
    """What `servable` gives, as bytes, cut down to the outputs `kept`.

    Args:
        file: what `inspect` found.
        kept: bits in the order of `file.outputs`.
        afford: told of so many bytes before they are taken, and again with those of the external
            data that the part leans on; it raises where that is too much.

    Raises:
        ModelRefused: as `needs`.
    """
    if file.zipmaps:
        afford(file.size)
        whole = memoryview(_without_zipmaps(file))
    else:
        whole = _open(_path(file), file.file)
    reader = Reader(file.file)
    parts = pruning.cut(reader, whole, [spec.name for spec in file.outputs], kept)
    afford(sum(map(len, parts)))
    model = b"".join(parts)
    header = _read_model(reader, memoryview(model))
    afford(len(model) + read_contents(reader, header.graph, []).external_bytes)
    return model


def _path(file: OnnxFile) -> Path:
    return inside(file.folder, file.file, "model file")


def _without_zipmaps(file: OnnxFile) -> bytes:
    labels = {spec.name: len(spec.labels) for spec in file.outputs if spec.name in file.zipmaps}
    return zipmap.without(Reader(file.file), _open(_path(file), file.file), labels)


def _open(path: Path, file: str) -> memoryview:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise ModelRefused(
                    f"{file}: wanted at most {MAX_FILE_BYTES} bytes (larger weights belong into"
                    f" external data), got {size}"
                )
            if size >= _MAPPED_FROM_BYTES:
                return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            return memoryview(stream.read(MAX_FILE_BYTES))
    except OSError as error:
        raise ModelRefused(f"{file}: cannot be read: {os.strerror(error.errno or 0)}") from error


@dataclass(slots=True)
class _Header:
    """A ModelProto but for its graph."""

    graph: memoryview
    extra: list[tuple[str, memoryview]]
    opsets: list[tuple[str, int]]
    functions: set[str]
    texts: dict[str, str]
    numbers: dict[str, int]
    metadata: dict[str, str]


_NUMBERS = {1: "ir_version", 5: "model_version"}
_TEXTS = {2: "producer", 3: "producer_version", 4: "domain", 6: "doc"}
_GRAPH, _OPSET, _METADATA, _TRAINING, _FUNCTION = 7, 8, 14, 20, 25


def _read_model(reader: Reader, data: memoryview) -> _Header:
    found = _Header(memoryview(b""), [], [], set(), {}, {}, {})
    graphs = 0
    for number, value, _, _ in reader.fields(data):
        if number in _NUMBERS:
            found.numbers[_NUMBERS[number]] = reader.integer(value, _NUMBERS[number])
        elif number in _TEXTS:
            found.texts[_TEXTS[number]] = reader.text(value, _TEXTS[number], MAX_METADATA)
        elif number == _GRAPH:
            found.graph, graphs = reader.message(value, "graph"), graphs + 1
        elif number == _OPSET:
            found.opsets.append(_opset(reader, value))
            reader.bound(len(found.opsets), _MAX_PARTS, "opset imports")
        elif number == _METADATA:
            _add_metadata(reader, value, found.metadata)
        elif number == _TRAINING:
            view = reader.message(value, "training_info")
            for part, graph, _, _ in reader.fields(view):
                if part < 3:  # the initialization and the algorithm
                    found.extra.append(("graph", reader.message(graph, "graph")))
                reader.bound(len(found.extra), _MAX_PARTS, "training graphs")
        elif number == _FUNCTION:
            found.extra.append(("function", reader.message(value, "function")))
            found.functions.add(_function_name(reader, value))
        reader.bound(len(found.extra), _MAX_PARTS, "functions")
    # Parsers merge a message that is given twice; no writer does that, so neither is it read here.
    if graphs != 1:
        raise ModelRefused(f"{reader.source}: not an ONNX model: wanted one graph, got {graphs}")
    return found


def _opset(reader: Reader, value: Value) -> tuple[str, int]:
    domain, version = "", 0
    for number, part, _, _ in reader.fields(reader.message(value, "opset_import")):
        if number == 1:
            domain = reader.text(part, "opset domain", MAX_NAME)
        elif number == 2:
            version = reader.integer(part, "opset version")
    return ("" if domain == "ai.onnx" else domain), version


def _function_name(reader: Reader, value: Value) -> str:
    name = domain = ""
    for number, part, _, _ in reader.fields(reader.message(value, "function")):
        if number == 1:
            name = reader.text(part, "function name", MAX_NAME)
        elif number == 10:
            domain = reader.text(part, "function domain", MAX_NAME)
    return f"{domain}.{name}"


def _add_metadata(reader: Reader, value: Value, into: dict[str, str]) -> None:
    key = text = ""
    for number, part, _, _ in reader.fields(reader.message(value, "metadata_props")):
        if number == 1:
            key = reader.text(part, "metadata key", MAX_NAME)
        elif number == 2:
            text = reader.text(part, f"metadata {key!r}", MAX_METADATA)
    into[key] = text
    reader.bound(len(into), 1000, "metadata entries")
    size = sum(map(len, into)) + sum(map(len, into.values()))
    reader.bound(size, MAX_METADATA, "characters of metadata")


def _check_names(file: str, inputs: list[ValueType], outputs: list[ValueType]) -> None:
    for what, values in (("input", inputs), ("output", outputs)):
        if len(values) > MAX_TENSORS:
            raise ModelRefused(f"{file}: wanted at most {MAX_TENSORS} {what}s, got {len(values)}")
        names: set[str] = set()
        for value in values:
            if not 0 < len(value.name) <= MAX_NAME or not value.name.isprintable():
                raise ModelRefused(
                    f"{file}: {what} {value.name[:80]!r}: wanted a printable name of"
                    f" 1 to {MAX_NAME} characters"
                )
            if value.name in names:
                raise ModelRefused(f"{file}: {what} {value.name!r} is declared twice")
            names.add(value.name)
    if not outputs:
        raise ModelRefused(f"{file}: the graph has no outputs")


def _tensor(
    file: str, what: str, value: ValueType, zipmaps: Mapping[str, zipmap.ZipMap]
) -> TensorSpec:
    if value.kind == "zipmap" and (found := zipmaps.get(value.name)) is not None:
        if not found.labels:
            raise ModelRefused(f"{file}: output {value.name!r}: its ZipMap names no classes")
        return TensorSpec(value.name, "FP32", (-1, len(found.labels)), found.labels)
    if value.kind != "tensor":
        kind = "sequence(map)" if value.kind == "zipmap" else value.kind
        raise ModelRefused(f"{file}: {what} {value.name!r}: wanted a tensor, got {kind}")
    if value.element not in FROM_ONNX:
        raise ModelRefused(
            f"{file}: {what} {value.name!r}: no Open Inference datatype"
            f" for ONNX element type {value.element}"
        )
    return TensorSpec(
        value.name, FROM_ONNX[value.element], (-1,) if value.shape is None else value.shape
    )


def _external_files(folder: Path, file: str, contents: Contents) -> tuple[str, ...]:
    for name, reach in contents.external.items():
        path = inside(folder, name, f"{file}: external data")
        size = path.stat().st_size
        if reach > size:
            raise ModelRefused(
                f"{file}: external data {name!r}: wanted {reach} bytes, the file has {size}"
            )
    return tuple(sorted(contents.external))
