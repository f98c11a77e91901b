"""Triton's `config.pbtxt`: what of it applies here, and what does not.

Knows the fields of Triton's model configuration. Knows nothing of the model's own file: whether the
declared tensors fit it is for `signature` to say. A field that changes what clients see and is not
supported is a fault; one that only tunes Triton is listed as ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.errors import ModelRefused
from gateway.models.paths import inside
from gateway.models.pbtxt import MAX_TEXT_BYTES, parse
from gateway.models.pbtxt_fields import Fields

MAX_LABEL_BYTES = 16 << 20

_DATATYPES = {
    "TYPE_STRING": "BYTES",
    **{
        f"TYPE_{name}": name
        for name in (
            *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
            *("FP16", "FP32", "FP64", "BF16"),
        )
    },
}
_OURS = ("onnxruntime", "onnxruntime_onnx")
_SCHEDULERS = ("sequence_batching", "ensemble_scheduling")


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which version folders are served: the `latest` highest, the `specific` ones, or all.

    Attributes:
        latest: how many of the highest, where not None.
        specific: exactly these, where not empty; all where neither is given.
    """

    latest: int | None = 1
    specific: tuple[int, ...] = ()

    def choose(self, versions: list[int]) -> list[int]:
        """The served ones among `versions`, ascending."""
        found = sorted(versions)
        if self.specific:
            return [version for version in found if version in self.specific]
        return found if self.latest is None else found[-self.latest :]


@dataclass(frozen=True, slots=True)
class ModelHints:
    """What a `config.pbtxt` brings along.

    Attributes:
        hints: values for `config.ModelSettings`, by its field names.
        declared: inputs and outputs as `signature` takes them; empty where none are declared.
        versions: which versions to serve.
        file: name of the ONNX file in a version's folder.
        ignored: fields that were given and change nothing here, sorted.
        files: what was read, relative to the model's folder: config.pbtxt and label files.
    """

    hints: Mapping[str, Any] = field(default_factory=dict)
    declared: Mapping[str, Any] = field(default_factory=dict)
    versions: VersionPolicy = VersionPolicy()
    file: str = "model.onnx"
    ignored: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def read(folder: Path, name: str) -> ModelHints:
    """Reads `folder/config.pbtxt` and its label files; the plain defaults where there is none.

    Raises:
        ModelRefused: with file, line and field.
    """
    if not (folder / "config.pbtxt").is_symlink() and not (folder / "config.pbtxt").exists():
        return ModelHints()
    text = _text(folder, "config.pbtxt", MAX_TEXT_BYTES)
    hints = understand(text, name)
    files = ["config.pbtxt"]
    for output in hints.declared.get("outputs", ()):
        file = output.pop("label_file", None)
        if file is not None:
            output["labels"] = _text(folder, file, MAX_LABEL_BYTES).splitlines()
            files.append(file)
    return replace(hints, files=tuple(dict.fromkeys(files)))


def understand(text: str, name: str, source: str = "config.pbtxt") -> ModelHints:
    """What a document says of the model `name`. Outputs may carry a `label_file` still to be read.

    Raises:
        ModelRefused: with `source`, line and field.
    """
    top = Fields(parse(text, source), source, "")
    ignored: set[str] = set()
    hints: dict[str, Any] = {}
    _identity(top, name)
    rows = top.integer("max_batch_size", 0, 65_536)
    declared = _declared(top, rows or 0, ignored)
    if rows is not None or declared:
        hints["max_batch_size"] = rows or 0
    if (batching := top.message("dynamic_batching")) is not None:
        _batching(batching, hints, ignored)
    _instances(top, hints, ignored)
    policy = _version_policy(top, ignored)
    file = top.text("default_model_filename") or "model.onnx"
    top.done(ignored)
    return ModelHints(hints, declared, policy, file, tuple(sorted(ignored)))


def _identity(top: Fields, name: str) -> None:
    given = top.text("name")
    if given not in (None, "", name):
        raise top.fault("name", f"wanted {name!r}, the name of its folder, got {given!r}")
    for key in ("platform", "backend"):
        value = top.text(key)
        if value and value not in _OURS:
            raise top.fault(key, f"wanted 'onnxruntime', got {value!r}")
    for key in _SCHEDULERS:
        if top.has(key):
            raise top.fault(key, "not supported")


def _declared(top: Fields, rows: int, ignored: set[str]) -> dict[str, Any]:
    inputs = [_tensor(one, ignored) for one in top.messages("input")]
    outputs = [_tensor(one, ignored) for one in top.messages("output")]
    for side, tensors in (("input", inputs), ("output", outputs)):
        names = [tensor["name"] for tensor in tensors]
        if len(set(names)) < len(names):
            raise top.fault(side, "a name is declared twice")
    if not (inputs or outputs or rows):
        return {}
    return {"max_batch_size": rows, "inputs": inputs, "outputs": outputs}


def _tensor(one: Fields, ignored: set[str]) -> dict[str, Any]:
    name = one.text("name")
    if not name:
        raise one.fault("name", "missing")
    word = one.word("data_type")
    if word not in _DATATYPES:
        raise one.fault("data_type", f"wanted one of {', '.join(sorted(_DATATYPES))}, got {word}")
    dims = one.integers("dims", -1, (1 << 31) - 1)
    if not one.has("dims"):
        raise one.fault("dims", "missing")
    if one.has("reshape"):
        raise one.fault("reshape", "not supported")
    file = one.text("label_filename")
    one.done(ignored)
    return {
        "name": name,
        "datatype": _DATATYPES[word],
        "dims": dims,
        "labels": [],
        **({"label_file": file} if file else {}),
    }


def _batching(batching: Fields, hints: dict[str, Any], ignored: set[str]) -> None:
    preferred = batching.integers("preferred_batch_size", 1, 65_536)
    if preferred:
        hints["preferred_batch_sizes"] = sorted(set(preferred))
    delay = batching.integer("max_queue_delay_microseconds", 0, 60_000_000)
    if delay is not None:
        hints["max_queue_delay_ms"] = delay / 1000
    policy = batching.message("default_queue_policy")
    if policy is not None:
        rows = policy.integer("max_queue_size", 0, 10_000_000)
        if rows:  # 0 is Triton's word for no limit; here there always is one
            hints["max_queue_rows"] = rows
        timeout = policy.integer("default_timeout_microseconds", 0, (1 << 63) - 1)
        if timeout:
            hints["timeout_ms"] = timeout / 1000
        action = policy.word("timeout_action")
        if action not in (None, "REJECT"):
            raise policy.fault("timeout_action", f"wanted REJECT, got {action}")
        policy.done(ignored)
    batching.done(ignored)


def _instances(top: Fields, hints: dict[str, Any], ignored: set[str]) -> None:
    groups = top.messages("instance_group")
    if len(groups) > 1:
        raise top.fault("instance_group", f"wanted one group, got {len(groups)}")
    for group in groups:
        count = group.integer("count", 0, 64)
        if count:
            hints["instances"] = count
        kind = group.word("kind") or "KIND_AUTO"
        gpus = group.integers("gpus", 0, 1023)
        devices = {
            "KIND_AUTO": f"cuda:{gpus[0]}" if gpus else "auto",
            "KIND_CPU": "cpu",
            "KIND_GPU": f"cuda:{gpus[0]}" if gpus else "cuda",
        }
        if kind not in devices:
            raise group.fault("kind", f"wanted KIND_AUTO, KIND_CPU or KIND_GPU, got {kind}")
        hints["device"] = devices[kind]
        if len(gpus) > 1:
            ignored.add("instance_group.gpus[1:]")
        group.done(ignored)


def _version_policy(top: Fields, ignored: set[str]) -> VersionPolicy:
    policy = top.message("version_policy")
    if policy is None:
        return VersionPolicy()
    found = VersionPolicy()
    if (latest := policy.message("latest")) is not None:
        found = VersionPolicy(latest=latest.integer("num_versions", 1, 1_000_000) or 1)
        latest.done(ignored)
    if policy.message("all") is not None:
        found = VersionPolicy(latest=None)
    if (specific := policy.message("specific")) is not None:
        versions = specific.integers("versions", 1, (1 << 31) - 1)
        if not versions:
            raise specific.fault("versions", "missing")
        found = VersionPolicy(latest=None, specific=tuple(sorted(set(versions))))
        specific.done(ignored)
    policy.done(ignored)
    return found


def _text(folder: Path, file: str, max_bytes: int) -> str:
    path = inside(folder, file, "file")
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise ModelRefused(f"{file}: cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise ModelRefused(f"{file}: wanted at most {max_bytes} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ModelRefused(f"{file}: not UTF-8") from error
