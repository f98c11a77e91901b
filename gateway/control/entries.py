"""What the registry holds, as values.

Knows their shape and how they are written as JSON. Knows nothing of the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.control.blobs import File
from gateway.errors import InvalidParameter, VersionNotFound
from gateway.models.config_pbtxt import ModelHints
from gateway.models.onnx_file import OnnxFile
from gateway.names import version_of
from gateway.tensors import TensorSpec

CHAMPION = "champion"
MAX_METADATA = 100
MAX_KEY, MAX_VALUE = 200, 4000


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for one version of a model; `champion` answers where a path names no version."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Attached:
    """The reference profile of a version.

    Attributes:
        digest: of the profile.
        folder: where its file lies.
        rows: of the reference.
        attached_by, attached_at: OS user, seconds since 1970.
    """

    digest: str
    folder: Path
    rows: int
    attached_by: str
    attached_at: float

    def as_json(self) -> dict[str, Any]:
        """Everything but the folder, as plain values."""
        return {
            "digest": self.digest,
            "rows": self.rows,
            "attached_by": self.attached_by,
            "attached_at": self.attached_at,
        }


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version.

    Attributes:
        model, version: identity.
        digest: SHA-256 of the manifest of its files; names the folder.
        folder, file: where the files lie; `file` is the ONNX file, relative to `folder`.
        files: every file with SHA-256 and size.
        registered_by, registered_at: OS user, seconds since 1970.
        metadata: free `key=value` pairs.
        aliases: names of this version, sorted.
        facts: what its files say of it, as `facts_of` writes it.
        profile: what its traffic is held against, where somebody made one.
    """

    model: str
    version: int
    digest: str
    folder: Path
    file: str
    files: tuple[File, ...]
    registered_by: str
    registered_at: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    profile: Attached | None = None

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs as the ONNX file declares them."""
        return tuple(_spec(value) for value in self.facts["inputs"])

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs as the ONNX file declares them."""
        return tuple(_spec(value) for value in self.facts["outputs"])

    @property
    def hints(self) -> Mapping[str, Any]:
        """Values for `config.ModelSettings` that its config.pbtxt gave."""
        found: Mapping[str, Any] = self.facts["hints"]
        return found

    @property
    def declared(self) -> Mapping[str, Any]:
        """Inputs and outputs that its config.pbtxt gave, as `signature` takes them."""
        found: Mapping[str, Any] = self.facts["declared"]
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "model": self.model,
            "version": self.version,
            "aliases": list(self.aliases),
            "digest": self.digest,
            "folder": str(self.folder),
            "file": self.file,
            "bytes": self.bytes,
            "files": [
                {"path": file.path, "sha256": file.sha256, "bytes": file.bytes}
                for file in self.files
            ],
            "registered_by": self.registered_by,
            "registered_at": self.registered_at,
            "metadata": dict(self.metadata),
            "profile": self.profile and self.profile.as_json(),
            **self.facts,
        }


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model: its versions, ascending, at least one, and its aliases by name."""

    name: str
    versions: tuple[Version, ...]
    aliases: tuple[Alias, ...] = ()

    def version(self, number: int) -> Version | None:
        """The version of this number, if there is one."""
        return next((one for one in self.versions if one.version == number), None)

    @property
    def default(self) -> Version:
        """The version that answers where a path names none: `champion`, else the highest."""
        for alias in self.aliases:
            if alias.name == CHAMPION and (found := self.version(alias.version)) is not None:
                return found
        return self.versions[-1]

    def pick(self, which: str | int) -> Version:
        """The version that a number or an alias names.

        Raises:
            VersionNotFound: there is none.
        """
        named = next((alias.version for alias in self.aliases if alias.name == which), None)
        number = version_of(str(which)) if named is None else named
        found = None if number is None else self.version(number)
        if found is None:
            raise VersionNotFound(f"model '{self.name}' has no version or alias {which!r}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "model": self.name,
            "default": self.default.version,
            "aliases": {alias.name: alias.version for alias in self.aliases},
            "versions": [version.as_json() for version in self.versions],
        }


def facts_of(onnx_file: OnnxFile, hints: ModelHints) -> dict[str, Any]:
    """What is kept of a model's files, as plain values."""
    return {
        "inputs": [_plain(spec) for spec in onnx_file.inputs],
        "outputs": [_plain(spec) for spec in onnx_file.outputs],
        "opsets": {domain or "ai.onnx": version for domain, version in onnx_file.opsets},
        "ir_version": onnx_file.ir_version,
        "producer": onnx_file.producer,
        "producer_version": onnx_file.producer_version,
        "domain": onnx_file.domain,
        "model_version": onnx_file.model_version,
        "doc": onnx_file.doc,
        "onnx_metadata": dict(onnx_file.metadata),
        "external": list(onnx_file.external),
        "custom_ops": list(onnx_file.custom_ops),
        "zipmaps": list(onnx_file.zipmaps),
        "hints": dict(hints.hints),
        "declared": dict(hints.declared),
        "ignored": list(hints.ignored),
    }


def _plain(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "datatype": spec.datatype,
        "shape": list(spec.shape),
        "labels": list(spec.labels),
    }


def _spec(value: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(
        value["name"], value["datatype"], tuple(value["shape"]), tuple(value["labels"])
    )


def checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """`metadata`, where it can be kept.

    Raises:
        InvalidParameter: a key or value cannot.
    """
    for key, value in metadata.items():
        if not 0 < len(key) <= MAX_KEY or not key.isprintable():
            raise InvalidParameter(
                f"metadata key {key[:80]!r}: wanted 1 to {MAX_KEY} printable characters"
            )
        if len(value) > MAX_VALUE or "\0" in value:
            raise InvalidParameter(f"metadata {key!r}: wanted at most {MAX_VALUE} characters")
    return dict(metadata)
