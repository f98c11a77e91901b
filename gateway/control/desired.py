"""Finds what should run: named files, configured models, repositories, the registry.

Knows the sources and which goes before which. Knows nothing of plans, workers or what loads.

A name belongs to the first source that has it: files, then `models:`, then repositories, then the
registry. The others are told so in the log instead of being mixed in unseen.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gateway.config import Config
from gateway.control.registry import Registry
from gateway.errors import GatewayError, ModelNotFound, ModelRefused
from gateway.models import onnx_file, triton_layout
from gateway.models.names import check_name
from gateway.plan import Absent

log = logging.getLogger("penstock.control")

UNLOADED = "unloaded"


class Unloaded(Protocol):
    """What of control's memory a gathering needs."""

    unloaded: set[str]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version that should serve, before anybody has tried it out.

    Attributes:
        digest: of all its files' content.
        settings: resolved `ModelSettings` as plain values.
        declared: tensors that a config.pbtxt declares, as plain values.
        source: where it was found, for people.
    """

    name: str
    version: int
    folder: Path
    file: str
    digest: str
    settings: Mapping[str, Any]
    declared: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What should run, what cannot, and which version answers where a path names none."""

    candidates: Sequence[Candidate]
    faults: Sequence[Absent] = ()
    champions: Mapping[str, int] = field(default_factory=dict)


class Sources:
    """Looks everywhere that models may come from. Blocking: control calls it on a thread."""

    def __init__(self, paths: Sequence[Path], registry: Registry) -> None:
        self._paths = paths
        self._registry = registry
        self._digests: dict[tuple[str, int, int], str] = {}

    def gather(self, config: Config, memory: Unloaded) -> Desired:
        """Everything that should run now."""
        found: dict[str, list[Candidate]] = {}
        faults: list[Absent] = []
        champions: dict[str, int] = {}
        for batch, wrong in self._sources(config, champions):
            names = {candidate.name for candidate in batch} | {fault.name for fault in wrong}
            taken = names & (found.keys() | {fault.name for fault in faults})
            for name in sorted(taken):
                log.warning("model '%s' is found twice; the first source serves it", name)
            for candidate in batch:
                if candidate.name not in taken:
                    found.setdefault(candidate.name, []).append(candidate)
            faults += [fault for fault in wrong if fault.name not in taken]
        for name in sorted(memory.unloaded & found.keys()):
            faults += [
                Absent(name, candidate.version, "UNAVAILABLE", UNLOADED)
                for candidate in found.pop(name)
            ]
        candidates = [candidate for models in found.values() for candidate in models]
        over = candidates[config.limits.max_models :]
        faults += [
            Absent(
                c.name, c.version, "UNAVAILABLE", f"limits.max_models is {config.limits.max_models}"
            )
            for c in over
        ]
        return Desired(candidates[: config.limits.max_models], faults, champions)

    def require(self, config: Config, name: str) -> None:
        """Makes sure that some source has a model of this name.

        Raises:
            ModelNotFound: none has.
        """
        check_name(name)
        desired = self.gather(config, _Nothing())
        known = {c.name for c in desired.candidates} | {fault.name for fault in desired.faults}
        if name not in known:
            raise ModelNotFound(
                f"failed to load '{name}', failed to poll from model repository: no source has it"
            )

    @staticmethod
    def raise_refusal(name: str, absent: Sequence[Absent]) -> None:
        """Raises what keeps a model from serving, if anything does.

        Raises:
            ModelRefused: with every reason.
        """
        reasons = [one.reason for one in absent if one.name == name]
        if reasons:
            raise ModelRefused(f"failed to load '{name}': {'; '.join(reasons)}")

    # ---- sources, first to last -----------------------------------------------------------------

    def _sources(
        self, config: Config, champions: dict[str, int]
    ) -> Iterable[tuple[list[Candidate], list[Absent]]]:
        for path in self._paths:
            if path.is_dir():
                yield self._repository(path, config)
            else:
                yield self._file(path.stem, 1, path, config)
        for name, model in config.models.items():
            if model.path is not None:
                yield self._file(name, model.version, model.path, config)
        for path in config.repository.paths:
            yield self._repository(path, config)
        yield self._registered(config, champions)

    def _file(
        self, name: str, version: int, path: Path, config: Config
    ) -> tuple[list[Candidate], list[Absent]]:
        try:
            check_name(name)
            if not path.exists():
                raise ModelRefused(f"{path.name}: no such file")
            folder, file = path.absolute().parent, path.name
            return [self._candidate(name, version, folder, file, config, {}, {}, str(path))], []
        except (GatewayError, OSError) as error:
            return [], [Absent(name, version, "UNAVAILABLE", _reason(error))]

    def _repository(self, root: Path, config: Config) -> tuple[list[Candidate], list[Absent]]:
        try:
            scan = triton_layout.scan(root)
        except GatewayError as error:
            log.error("%s", error)
            return [], []
        candidates: list[Candidate] = []
        faults = [Absent(f.name, f.version or 0, "UNAVAILABLE", f.reason) for f in scan.faults]
        for found in scan.found:
            try:
                candidates.append(
                    self._candidate(
                        found.name,
                        found.version,
                        found.folder,
                        found.file,
                        config,
                        found.hints,
                        found.declared,
                        str(root),
                    )
                )
            except (GatewayError, OSError) as error:
                faults.append(Absent(found.name, found.version, "UNAVAILABLE", _reason(error)))
        return candidates, faults

    def _registered(
        self, config: Config, champions: dict[str, int]
    ) -> tuple[list[Candidate], list[Absent]]:
        """Every version that an alias names, and the highest of each model."""
        candidates = []
        for model in self._registry.list():
            champions[model.name] = model.default.version
            wanted = {*(alias.version for alias in model.aliases), model.versions[-1].version}
            candidates += [
                Candidate(
                    name=model.name,
                    version=version.version,
                    folder=version.folder,
                    file=version.file,
                    digest=version.digest,
                    settings=config.settings(model.name, version.hints).model_dump(mode="json"),
                    declared=version.declared,
                    source="registry",
                )
                for version in model.versions
                if version.version in wanted
            ]
        return candidates, []

    # ---- one model ------------------------------------------------------------------------------

    def _candidate(
        self,
        name: str,
        version: int,
        folder: Path,
        file: str,
        config: Config,
        hints: Mapping[str, Any],
        declared: Mapping[str, Any],
        source: str,
    ) -> Candidate:
        settings = config.settings(name, hints).model_dump(mode="json")
        digest = self._digest(folder, onnx_file.inspect(folder, file).files)
        return Candidate(name, version, folder, file, digest, settings, declared, source)

    def _digest(self, folder: Path, files: Sequence[str]) -> str:
        whole = hashlib.sha256()
        for file in files:
            path = folder / file
            facts = path.stat()
            key = (str(path), facts.st_size, facts.st_mtime_ns)
            if key not in self._digests:
                with path.open("rb") as stream:
                    self._digests[key] = hashlib.file_digest(stream, "sha256").hexdigest()
            whole.update(f"{file}\0{self._digests[key]}\0".encode())
        return whole.hexdigest()


def _reason(error: Exception) -> str:
    """What clients may read in the repository index: no folder of this machine."""
    if isinstance(error, OSError):
        return f"{Path(error.filename or '').name}: {error.strerror}"
    return str(error)


class _Nothing:
    unloaded: set[str] = set()  # noqa: RUF012
