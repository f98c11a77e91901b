"""Finds what should run: named files, configured models, repositories, the registry.

Knows the sources and which goes before which. Knows nothing of plans, workers or what loads.

A name belongs to the first source that has it: files, then `models:`, then repositories, then the
registry. The others are told so in the log instead of being mixed in unseen.

Whoever speaks for one model has that model's own places looked at, and no other's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import Config, ModelSettings
from gateway.control.capture_wishes import CaptureWish, capture_wish, language_wish
from gateway.control.entries import CHAMPION, Model, Version
from gateway.control.memory import Memory
from gateway.control.references import Agreement, Reference, References, Wish, wish_of
from gateway.control.registry import Registry
from gateway.control.retirements import Retirement, absences
from gateway.control.self_references import SelfReference, SelfReferences
from gateway.control.splits import Aliases
from gateway.errors import GatewayError, ModelNotFound, ModelRefused
from gateway.llm import price_map
from gateway.llm.features import SIGNATURE
from gateway.llm.price_map import Prices
from gateway.llm.settings import Settings, settings_of
from gateway.models import content, onnx_file, triton_layout
from gateway.models.embedding import files_of
from gateway.models.onnx_file import OnnxFile
from gateway.models.signature import signature
from gateway.names import check_name
from gateway.plan import LLM, ONNX, UNASKED, UNAVAILABLE, UNLOADED, Absent, Plan
from gateway.profiles import beside
from gateway.tensors import Signature

log = logging.getLogger("penstock.control")

REGISTRY = "registry"
CONFIGURED = "configuration"
Routed = Callable[[Config, str], Set[int]]
Released = Callable[[str, int, Reference, Config], tuple[Reference, Agreement | None]]
"""What a version that a reference was found for is held against, by its newest release."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version that should serve, before anybody has tried it out.

    Attributes:
        digest: of all its files' content.
        settings: resolved `ModelSettings` as plain values.
        declared: tensors that a config.pbtxt declares, as plain values.
        source: where it was found, for people.
        reference: what its traffic is held against, where there is something.
        hints: the settings that it brings along itself.
        wish: what is kept of its traffic where there is nothing yet.
        agreement: what its inputs may hold, where it has a reference.
        capture: what is kept of its inputs and outputs, where that is wanted.
        signature: what it takes and gives; None: that cannot be told, as a trial will.
        kind: ONNX or LLM.
    """

    name: str
    version: int
    folder: Path
    file: str
    digest: str
    settings: Mapping[str, Any]
    declared: Mapping[str, Any]
    source: str
    reference: Reference | None = None
    hints: Set[str] = frozenset()
    wish: Wish | None = None
    agreement: Agreement | None = None
    capture: CaptureWish | None = None
    signature: Signature | None = None
    kind: str = ONNX


@dataclass(frozen=True, slots=True)
class Desired:
    """What should run, what cannot, and which versions their owners chose to answer by default.

    `aliases` are those of the registry: by model, the version of each.
    """

    candidates: Sequence[Candidate]
    faults: Sequence[Absent] = ()
    champions: Mapping[str, int] = field(default_factory=dict)
    aliases: Mapping[str, Aliases] = field(default_factory=dict)

    @property
    def signatures(self) -> dict[str, dict[int, Signature]]:
        """By model and version, of those that should run."""
        found: dict[str, dict[int, Signature]] = {}
        for one in self.candidates:
            if one.signature is not None:
                found.setdefault(one.name, {})[one.version] = one.signature
        return found


@dataclass(slots=True)
class _Look:
    """What lay in the sources.

    Attributes:
        found: by name, in the order of their sources.
        faults: what cannot serve.
        aliases: of the registry, by model.
        defaults: versions that the document has answer by default.
        away: some source could not be read.
    """

    found: dict[str, list[Candidate]] = field(default_factory=dict)
    faults: list[Absent] = field(default_factory=list)
    aliases: dict[str, Aliases] = field(default_factory=dict)
    defaults: dict[str, int] = field(default_factory=dict)
    away: bool = False

    def renew(self, name: str, look: _Look) -> None:
        """Takes over what a later look at this model alone has found."""
        if name in look.found:
            self.found[name] = look.found[name]  # in its place among the others
        else:
            self.found.pop(name, None)
        self.faults = [fault for fault in self.faults if fault.name != name] + look.faults
        self.aliases.pop(name, None)
        self.aliases |= look.aliases
        self.defaults.pop(name, None)
        self.defaults |= look.defaults
        self.away |= look.away


class Sources:
    """Looks everywhere that models may come from. Blocking: control calls it on a thread."""

    def __init__(
        self,
        paths: Sequence[Path],
        registry: Registry,
        own: SelfReferences | None = None,
        released: Released | None = None,
        routed: Routed = lambda config, name: frozenset(),
        retired: Callable[[], Sequence[Retirement]] = tuple,
    ) -> None:
        """Takes the sources.

        Args:
            paths: files and repositories, from the command line.
            registry: of the home.
            own: the references that were made of first rows; None: none is, or will be.
            released: what references become once they are released; None: they stay as they are.
            routed: the versions of a model that its route names.
            retired: versions that must not serve, wherever they lie.
        """
        self._paths = paths
        self._registry = registry
        self._own = own
        self._released = released
        self._routed = routed
        self._retired = retired
        self._known: Mapping[tuple[str, int], SelfReference] = {}
        self._hashes: dict[Path, tuple[tuple[int, ...], str]] = {}
        self._told: set[str] = set()
        self._references = References()
        self._read_prices: tuple[object, Prices] | None = None
        self._last: _Look | None = None

    def gather(self, config: Config, memory: Memory, only: str | None = None) -> Desired:
        """Everything that should run now.

        Args:
            config: the document in force.
            memory: what serves, and what was unloaded.
            only: look where this model may lie; of others, what was last found stands.
        """
        if only is None or self._last is None:
            self._last = self._look(config, memory.plan, None)
        else:
            self._last.renew(only, self._look(config, memory.plan, only))
        return _desired(
            self._last, memory.unloaded, config.limits.max_models, absences(self._retired())
        )

    # ---- sources, first to last -----------------------------------------------------------------

    def _look(self, config: Config, plan: Plan, only: str | None) -> _Look:
        look = _Look()
        self._known = {} if self._own is None else self._own.all()
        for batch, wrong in self._sources(config, look, plan, only):
            names = {candidate.name for candidate in batch} | {fault.name for fault in wrong}
            taken = names & (look.found.keys() | {fault.name for fault in look.faults})
            for name in sorted(taken - self._told):
                log.warning("model '%s' is found twice; the first source serves it", name)
            self._told |= taken
            for candidate in batch:
                if candidate.name not in taken:
                    look.found.setdefault(candidate.name, []).append(candidate)
            look.faults += [fault for fault in wrong if fault.name not in taken]
        return look

    def _sources(
        self, config: Config, look: _Look, plan: Plan, only: str | None
    ) -> Iterable[tuple[list[Candidate], list[Absent]]]:
        for path in self._paths:
            if path.is_dir() or _held_below(path, plan):
                yield self._repository(path, config, look, plan, only)
            elif only in (None, path.stem):
                yield self._file(path.stem, 1, path, config)
        for name, model in config.models.items():
            if model.path is not None and only in (None, name):
                yield self._file(name, model.version, model.path, config)
        yield self._language_models(config, look, only), []
        for path in config.repository.paths:
            yield self._repository(path, config, look, plan, only)
        yield self._registered(config, look, plan, only)

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
            return [], [Absent(name, version, UNAVAILABLE, _reason(error))]

    def _language_models(self, config: Config, look: _Look, only: str | None) -> list[Candidate]:
        """Those that other servers answer for."""
        if not config.llm.models:
            return []
        prices = self._prices(config)
        candidates = []
        for name, model in config.llm.models.items():
            if only not in (None, name):
                continue
            if model.default is not None:
                look.defaults[name] = model.default
            for number in sorted(model.versions):
                settings = settings_of(config.llm, name, number, prices)
                candidates.append(self._language_model(name, number, settings, config))
        return candidates

    def _prices(self, config: Config) -> Prices:
        """What upstreams charge; a file that cannot be read leaves what comes along."""
        file = config.llm.prices.file
        try:
            stamp = None if file is None else content.stamp(file)
            if self._read_prices is None or self._read_prices[0] != (file, stamp):
                self._read_prices = (file, stamp), price_map.prices(file)
            return self._read_prices[1]
        except (GatewayError, OSError) as error:
            log.error("llm.prices.file: %s", _reason(error))
            return price_map.prices()

    def _language_model(
        self, name: str, version: int, settings: Settings, config: Config
    ) -> Candidate:
        digest = settings.digest
        reference, agreement, wish = self._watched(
            name, version, digest, config, None, SIGNATURE, {}
        )
        profile = None if reference is None else reference.profile
        return Candidate(
            name=name,
            version=version,
            folder=Path(),
            file="",
            digest=digest,
            settings=settings.plain(),
            declared={},
            source=CONFIGURED,
            reference=reference,
            wish=wish,
            agreement=agreement,
            capture=language_wish(name, version, config, profile),
            signature=SIGNATURE,
            kind=LLM,
        )

    def _repository(
        self, root: Path, config: Config, look: _Look, plan: Plan, only: str | None
    ) -> tuple[list[Candidate], list[Absent]]:
        try:
            scan = triton_layout.scan(root, only)
        except GatewayError as error:
            log.error("%s", error)
            # A share that is away for a moment must not take what serves from it out of service.
            look.away = True
            return [], [
                Absent(name, 0, UNAVAILABLE, "its repository cannot be read")
                for name in _held_below(root, plan)
                if only in (None, name)
            ]
        candidates: list[Candidate] = []
        faults = [Absent(f.name, f.version or 0, UNAVAILABLE, f.reason) for f in scan.faults]
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
                        found.folder / beside.FILE,
                    )
                )
            except (GatewayError, OSError) as error:
                faults.append(Absent(found.name, found.version, UNAVAILABLE, _reason(error)))
        return candidates, faults

    def _registered(
        self, config: Config, look: _Look, plan: Plan, only: str | None
    ) -> tuple[list[Candidate], list[Absent]]:
        """Every version that an alias or a route names, the highest, and what serves already.

        A version that serves goes on until a restart, so that registering a newer one fails nobody
        who names the older; an alias keeps it for good.
        """
        serving = {route.name: set(route.deployments) for route in plan.routes}
        candidates: list[Candidate] = []
        faults: list[Absent] = []
        for model in self._registered_models(only):
            aliases = look.aliases[model.name] = {one.name: one.version for one in model.aliases}
            wanted = {*aliases.values(), *serving.get(model.name, ())}
            wanted |= self._routed(config, model.name)
            wanted.add(model.versions[-1].version)
            for version in model.versions:
                try:
                    if version.version not in wanted:
                        raise ModelRefused(UNASKED)
                    self._check_files(version)
                    candidates.append(
                        self._candidate(
                            model.name,
                            version.version,
                            version.folder,
                            version.file,
                            config,
                            version.hints,
                            version.declared,
                            REGISTRY,
                            version.profile.folder / beside.FILE if version.profile else None,
                        )
                    )
                except (GatewayError, OSError) as error:
                    faults.append(Absent(model.name, version.version, UNAVAILABLE, _reason(error)))
        return candidates, faults

    def _registered_models(self, only: str | None) -> tuple[Model, ...]:
        if only is None:
            return self._registry.list()
        try:
            return (self._registry.show(only),)
        except ModelNotFound:
            return ()

    def _check_files(self, version: Version) -> None:
        for file in version.files:
            if self._sha256(version.folder / file.path) != file.sha256:
                raise ModelRefused(f"file '{file.path}' is no longer what was registered")

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
        profile: Path | None = None,
    ) -> Candidate:
        settings = config.settings(name, hints)
        onnx = onnx_file.inspect(folder, file)
        files = files_of(onnx, settings.embeddings)
        digest = content.digest(folder, files, self._sha256)
        shapes = _signature(onnx, declared, settings)
        reference, agreement, wish = self._watched(
            name, version, digest, config, profile, shapes, onnx.metadata
        )
        named = None if reference is None else reference.profile
        capture = capture_wish(name, version, onnx, declared, settings, config, named)
        return Candidate(
            name=name,
            version=version,
            folder=folder,
            file=file,
            digest=digest,
            settings=settings.model_dump(mode="json"),
            declared=declared,
            source=source,
            reference=reference,
            hints=frozenset(hints),
            wish=wish,
            agreement=agreement,
            capture=capture,
            signature=shapes,
        )

    def _watched(
        self,
        name: str,
        version: int,
        digest: str,
        config: Config,
        profile: Path | None,
        shapes: Signature | None,
        metadata: Mapping[str, str],
    ) -> tuple[Reference | None, Agreement | None, Wish | None]:
        """What a version's traffic is held against, or what is kept of it until there is such."""
        if not config.monitoring.enabled:
            return None, None, None
        own = self._known.get((name, version))
        agreement = wish = None
        reference = self._references.read(config.profile_of(name) or profile)
        if reference is None and own is not None and own.content == digest and own.digest:
            reference = self._references.read(own.file)
        if reference is None and self._own is not None:
            resets = 0 if own is None else own.resets
            wish = wish_of(name, version, digest, resets, shapes, metadata, config)
        if reference is not None and self._released is not None:
            reference, agreement = self._released(name, version, reference, config)
        return reference, agreement, wish

    def _sha256(self, path: Path) -> str:
        """Of a file's content, read again only where it may have changed."""
        stamp = content.stamp(path)
        known = self._hashes.get(path)
        if known is None or known[0] != stamp:
            known = self._hashes[path] = stamp, content.sha256(path)
        return known[1]


def _desired(look: _Look, unloaded: Set[str], most: int, retired: Sequence[Absent] = ()) -> Desired:
    """What follows from a look: not what was unloaded or retired, and no more than `most`."""
    out = {(one.name, one.version) for one in retired}
    faults = [fault for fault in look.faults if (fault.name, fault.version) not in out]
    faults += retired
    for name in sorted(unloaded & look.found.keys()):
        faults += [
            Absent(name, c.version, UNAVAILABLE, UNLOADED)
            for c in look.found[name]
            if (name, c.version) not in out
        ]
    if look.away:
        # Where a name lay that is not held is not known: none is forgotten until all are back.
        lost = unloaded - {fault.name for fault in faults}
        faults += [Absent(name, 0, UNAVAILABLE, UNLOADED) for name in sorted(lost)]
    candidates = [
        candidate
        for name, found in look.found.items()
        if name not in unloaded
        for candidate in found
        if (name, candidate.version) not in out
    ]
    registered = {c.name for c in candidates if c.source == REGISTRY}
    aliases = {name: found for name, found in look.aliases.items() if name in registered}
    champions = {name: of[CHAMPION] for name, of in aliases.items() if CHAMPION in of}
    served = {candidate.name for candidate in candidates if candidate.source == CONFIGURED}
    champions |= {name: number for name, number in look.defaults.items() if name in served}
    full = f"limits.max_models is {most}"
    faults += [Absent(c.name, c.version, UNAVAILABLE, full) for c in candidates[most:]]
    return Desired(candidates[:most], faults, champions, aliases)


def _signature(
    onnx: OnnxFile, declared: Mapping[str, Any], settings: ModelSettings
) -> Signature | None:
    try:
        return signature(onnx, declared, 1, settings.embeddings)
    except GatewayError:
        return None


def _held_below(root: Path, plan: Plan) -> list[str]:
    """The models of which something is held that lies in a folder."""
    return sorted(
        {
            held.name
            for held in plan.held
            if held.kind == ONNX and Path(held.folder).is_relative_to(root)
        }
    )


def _reason(error: Exception) -> str:
    """What clients may read in the repository index: no folder of this machine."""
    if isinstance(error, OSError):
        return f"{Path(error.filename or '').name}: {error.strerror}"
    return str(error)
