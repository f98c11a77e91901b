"""Finds the models of a repository folder: `NAME/VERSION/model.onnx`, `config.pbtxt` optional.

Knows where files lie and which versions a policy picks. Knows nothing of what the ONNX files hold.
Every model stands alone: one that is badly laid out becomes a fault and hides no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.errors import ModelRefused
from gateway.models import config_pbtxt
from gateway.models.paths import inside
from gateway.names import name_fault, version_of

MAX_ENTRIES = 10_000
# What file systems and tools leave in any folder. Dot folders count as models only where they look
# like one: a mounted Kubernetes volume is full of them.
_NO_MODELS = ("lost+found", "__pycache__")


@dataclass(frozen=True, slots=True)
class Found:
    """One version of a model, ready to be inspected.

    Attributes:
        name, version: identity.
        folder: the version's own folder; nothing outside it is to be read.
        file: the ONNX file, relative to `folder`.
        hints: values for `config.ModelSettings`.
        declared: inputs and outputs as `signature` takes them, or empty.
        ignored: fields of config.pbtxt that change nothing here.
    """

    name: str
    version: int
    folder: Path
    file: str
    hints: Mapping[str, Any] = field(default_factory=dict)
    declared: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A model, or one version of it, that cannot be served, and why."""

    name: str
    version: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies in a place: models to serve, by name and version, and what is wrong."""

    found: tuple[Found, ...] = ()
    faults: tuple[Fault, ...] = ()


def find(path: Path) -> Layout:
    """The models at a path: a bare ONNX file, served under its stem as version 1, or a repository.

    Raises:
        ModelRefused: there is nothing to read at all.
    """
    if path.is_dir():
        return scan(path)
    if not path.is_file():
        raise ModelRefused(f"{path}: no such file or folder")
    fault = name_fault(path.stem)
    if fault is not None:
        return Layout(faults=(Fault(_printable(path.stem), 1, fault),))
    return Layout((Found(path.stem, 1, path.parent, path.name),))


def scan(root: Path, only: str | None = None) -> Layout:
    """Looks at every model folder below `root`, or at that of one model alone.

    Raises:
        ModelRefused: `root` itself cannot be read, or holds more than `MAX_ENTRIES` folders.
    """
    found: list[Found] = []
    faults: list[Fault] = []
    for folder in _folders(root) if only is None else _folder_of(root, only):
        versions = _versions(folder)
        if not versions and _no_model(folder):
            continue
        try:
            _check_name(folder.name)
            config = config_pbtxt.read(folder, folder.name)
            chosen = _choose(folder.name, config, versions, faults)
        except ModelRefused as refusal:
            faults.append(Fault(_printable(folder.name), None, str(refusal)))
            continue
        for version in chosen:
            try:
                found.append(_found(folder, version, config))
            except ModelRefused as refusal:
                faults.append(Fault(folder.name, version, str(refusal)))
    return Layout(tuple(found), tuple(faults))


def _folders(folder: Path) -> list[Path]:
    try:
        found = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError as error:
        raise ModelRefused(f"{folder}: cannot be read: {error.strerror}") from error
    if len(found) > MAX_ENTRIES:
        raise ModelRefused(f"{folder}: wanted at most {MAX_ENTRIES} folders, got {len(found)}")
    return found


def _folder_of(root: Path, name: str) -> list[Path]:
    if name_fault(name) is not None:  # no model's: `..`, say
        return []
    try:
        if not root.is_dir():
            raise ModelRefused(f"{root}: cannot be read: no such folder")
        return [root / name] if (root / name).is_dir() else []
    except OSError as error:
        raise ModelRefused(f"{root}: cannot be read: {error.strerror}") from error


def _versions(folder: Path) -> list[int]:
    try:
        names = [entry.name for entry in _folders(folder)]
    except ModelRefused:
        return []
    return [version for name in names if (version := version_of(name)) is not None]


def _no_model(folder: Path) -> bool:
    dotted = folder.name.startswith(".") and not (folder / "config.pbtxt").exists()
    return dotted or folder.name in _NO_MODELS


def _check_name(name: str) -> None:
    fault = name_fault(name)
    if fault is not None:
        raise ModelRefused(fault)


def _choose(
    name: str, config: config_pbtxt.ModelHints, versions: list[int], faults: list[Fault]
) -> list[int]:
    if not versions:
        raise ModelRefused("no version folders: wanted folders named 1, 2, ...")
    faults.extend(
        Fault(name, version, "named by version_policy, but has no folder")
        for version in sorted(set(config.versions.specific) - set(versions))
    )
    return config.versions.choose(versions)


def _found(folder: Path, version: int, config: config_pbtxt.ModelHints) -> Found:
    place = folder / str(version)
    inside(place, config.file, "model file")
    return Found(
        folder.name, version, place, config.file, config.hints, config.declared, config.ignored
    )


def _printable(name: str) -> str:
    """A name fit for lists and JSON, however the file system spells it."""
    return name.encode("utf-8", "backslashreplace").decode()[:200]
