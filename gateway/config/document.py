"""The whole document: reading it, and laying options and variables over it.

Knows the document's text and its parts. Knows nothing of processes, or of models that exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from gateway.config.capture import Capture, ModelCapture
from gateway.config.concept import Concept
from gateway.config.faults import Below, fault_lines
from gateway.config.llm import Llm
from gateway.config.models import (
    NO_SETTINGS,
    OBSERVE,
    HoldOut,
    ModelConfig,
    ModelSettings,
    Policy,
    Scores,
)
from gateway.config.monitoring import Alerts, Ledger, Metrics, Monitoring
from gateway.config.operation import Drain, Limits, Log, Repository, Tracing
from gateway.config.ports import Access, Control, Server, Tls, is_loopback
from gateway.config.routes import Route
from gateway.config.slices import Slicing
from gateway.config.words import ModelName, Section
from gateway.errors import ConfigInvalid
from gateway.names import MAX_METRICS
from gateway.yaml_text import read

FIXED_SECTIONS = ("server", "control", "access", "limits", "drain", "log", "tracing")
"""What was handed out before the workers were forked: a change takes effect at the next start."""


class Config(Section):
    """The whole document."""

    server: Server = Server()
    control: Control = Control()
    access: Access = Access()
    limits: Limits = Limits()
    drain: Drain = Drain()
    log: Log = Log()
    tracing: Tracing = Tracing()
    monitoring: Monitoring = Monitoring()
    ledger: Ledger = Ledger()
    capture: Capture = Capture()
    concept: Concept = Concept()
    metrics: Metrics = Metrics()
    repository: Repository = Repository()
    alerts: Alerts = Alerts()
    defaults: ModelSettings = ModelSettings()
    models: dict[ModelName, ModelConfig] = Field(default_factory=dict)
    routes: dict[ModelName, Route] = Field(default_factory=dict)
    llm: Llm = Llm()

    @field_validator("llm")
    @classmethod
    def _one_of_a_name(cls, llm: Llm, info: ValidationInfo) -> Llm:
        clash = [
            (("models", name), f"models.{name}.path is a model of this name, too: rename one")
            for name in llm.models
            if name in info.data.get("models", ()) and info.data["models"][name].path is not None
        ]
        if clash:
            raise Below(clash)
        return llm

    @property
    def control_asks(self) -> bool:
        """Whether the control port asks for keys: where it is told to, or others can reach it."""
        return self.access.control == "keys" or not is_loopback(self.control.host)

    def knows_certificate(self, role: str, tls: Tls | None) -> bool:
        """Whether a certificate shown on a port with this TLS can stand for a role."""
        if tls is None or tls.client_ca is None:
            return False
        return any(one.role == role for one in self.access.certificates)

    @field_validator("access")
    @classmethod
    def _certificates_can_be_shown(cls, access: Access, info: ValidationInfo) -> Access:
        ports = [info.data[name].tls for name in ("server", "control") if name in info.data]
        if access.certificates and not any(tls and tls.client_ca for tls in ports):
            raise ValueError("certificates: expected tls.client_ca in server or control")
        return access

    @field_validator("defaults")
    @classmethod
    def _embeddings_are_one_models_own(cls, defaults: ModelSettings) -> ModelSettings:
        if defaults.embeddings is not None:
            raise ValueError("embeddings: expected under models.NAME: no two share a tokenizer")
        return defaults

    @field_validator("models")
    @classmethod
    def _held_out_is_written_down(
        cls, models: dict[str, ModelConfig], info: ValidationInfo
    ) -> dict[str, ModelConfig]:
        if "ledger" not in info.data:  # it has faults of its own
            return models
        everybody = info.data["ledger"].enabled
        for name, one in models.items():
            if one.embeddings is not None and one.ledger:
                raise ValueError(f"{name}: ledger: expected no ledger of embeddings, it is on")
            written = one.embeddings is None and (everybody if one.ledger is None else one.ledger)
            if one.hold_out and not written:
                raise ValueError(f"{name}: hold_out: expected its ledger to be on, it is off")
        return models

    def settings(self, name: str, hints: Mapping[str, Any] | None = None) -> ModelSettings:
        """What applies to one model: its own section, else `hints`, else `defaults`, else built in.

        Args:
            name: the model.
            hints: values that the model brings along (a config.pbtxt, say).
        """
        values: dict[str, Any] = self.defaults.model_dump(exclude_unset=True)
        values |= dict(hints or {})
        own = self.models.get(name)
        if own is not None:
            values |= own.model_dump(exclude_unset=True, exclude=NO_SETTINGS)
        return ModelSettings.model_validate(values)

    def profile_of(self, name: str) -> Path | None:
        """The profile that the document names for a model."""
        own = self.models.get(name)
        return None if own is None else own.profile

    def has_ledger(self, name: str) -> bool:
        """Whether a model's answers are written down."""
        own = self.models.get(name)
        if own is not None and own.embeddings is not None:
            return False  # no outcome says whether a vector was right
        return self.ledger.enabled if own is None or own.ledger is None else own.ledger

    def ledger_share_of(self, name: str) -> float:
        """The share of a model's requests that are written down."""
        own = self.models.get(name)
        return self.ledger.share if own is None or own.ledger_share is None else own.ledger_share

    @property
    def largest_ledger_share(self) -> float:
        """A request whose number is beyond this was written down for no model that has a ledger."""
        named = [self.ledger_share_of(name) for name in self.models if self.has_ledger(name)]
        return max([*named, *([self.ledger.share] if self.ledger.enabled else [])], default=1.0)

    def metrics_of(self, name: str) -> frozenset[str] | None:
        """The business metrics that a model's outcomes may have a number of; None: any."""
        own = self.models.get(name)
        found = None if own is None else own.ledger_metrics
        found = self.ledger.metrics if found is None else found
        return None if isinstance(found, str) else frozenset(found)

    @property
    def named_metrics(self) -> frozenset[str]:
        """Those that it names: no other takes their place."""
        every = (self.ledger.metrics, *(one.ledger_metrics for one in self.models.values()))
        return frozenset(name for some in every if isinstance(some, list) for name in some)

    @model_validator(mode="after")
    def _teams_are_known(self) -> Self:
        """A misspelt team would be a caller without the budget that it was meant to have."""
        known = self.llm.teams
        said = f"expected one of llm.teams ({', '.join(sorted(known)[:20])})"
        jwt = self.access.jwt
        named: list[tuple[tuple[str | int, ...], str | None]] = [
            (("access", "jwt", "team"), None if jwt is None else jwt.team),
            *(
                (("access", "certificates", place, "team"), one.team)
                for place, one in enumerate(self.access.certificates)
            ),
        ]
        faults = [
            (path, f"{said}, got '{team}'")
            for path, team in named
            if known and team is not None and team not in known
        ]
        if faults:
            raise Below(faults)
        return self

    @model_validator(mode="after")
    def _metrics_are_few(self) -> Self:
        count = len(self.named_metrics)
        if count > MAX_METRICS:
            raise ValueError(
                f"ledger.metrics, models: expected {MAX_METRICS} metrics at most, got {count}"
            )
        return self

    def scores_of(self, name: str) -> Scores:
        """What the document says of a model's scores."""
        own = self.models.get(name)
        return Scores() if own is None else own.scores

    def hold_out_of(self, name: str) -> HoldOut | None:
        """Which of a model's requests get a fixed policy; None: none do."""
        own = self.models.get(name)
        return None if own is None else own.hold_out

    def slices_of(self, name: str) -> dict[str, Slicing]:
        """How the document tells a model's rows apart."""
        own = self.models.get(name)
        return {} if own is None else own.slices

    def capture_of(self, name: str) -> ModelCapture:
        """What the document says of keeping a model's inputs and outputs."""
        own = self.models.get(name)
        capture = ModelCapture() if own is None else own.capture
        logged = name in self.llm.models and self.llm.log_content != "off"
        if logged and "mode" not in capture.model_fields_set:
            # Whoever wants to read what is said wants all of it, where nothing else is said.
            return capture.model_copy(update={"mode": "full"})
        return capture

    @property
    def captured(self) -> list[str]:
        """Models of which something is to be captured."""
        names = dict.fromkeys((*self.models, *self.llm.models))
        return [name for name in names if self.capture_of(name).mode != "off"]

    def contract_of(self, name: str) -> Policy:
        """What becomes of inputs that break a model's contract."""
        own = self.models.get(name)
        return OBSERVE if own is None else own.contract

    def features_of(self, name: str) -> tuple[list[str] | dict[str, list[str]], list[str]]:
        """What the document calls a model's columns, and those whose whole numbers are names."""
        own = self.models.get(name)
        return ([], []) if own is None else (own.feature_names, own.categories)


def parse(document: str, source: str = "configuration") -> Config:
    """Reads and checks a YAML document.

    Raises:
        ConfigInvalid: with one line per fault: path, what is wrong, what was given.
    """
    values, faults = read(document, source)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigInvalid(f"{source}: expected a mapping, got {type(values).__name__}")
    found = Config()
    try:
        found = Config.model_validate(values)
    except ValidationError as error:
        faults += [
            line for fault in error.errors() for line in fault_lines(fault, True, values, Config)
        ]
    if faults:
        raise ConfigInvalid("\n".join(f"{source}: {fault}" for fault in faults))
    return found


def scalar(text: str, source: str) -> Any:
    """One value as it would stand in the document: a number, a word, `[a, b]`.

    Raises:
        ConfigInvalid: it is not YAML.
    """
    value, faults = read(text, source)
    if faults:
        raise ConfigInvalid("\n".join(f"{source}: {fault}" for fault in faults))
    return value


def read_text(path: Path) -> str:
    """A document's text.

    Raises:
        ConfigInvalid: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path}: not UTF-8: {error}") from error


def load(path: Path | None) -> Config:
    """Reads a file, or gives the defaults where there is none to read.

    Raises:
        ConfigInvalid: unreadable, or `parse` finds faults.
    """
    if path is None:
        return Config()
    return parse(read_text(path), str(path))


@dataclass(frozen=True, slots=True)
class Given:
    """A field that was set besides the document.

    Attributes:
        path: where it stands in the document.
        by: the option or variable that set it.
    """

    path: tuple[str, ...]
    value: Any
    by: str


def override(config: Config, given: Sequence[Given]) -> Config:
    """The same document with fields replaced, in their order, and checked again.

    Raises:
        ConfigInvalid: a value does not fit; the fault names the option or variable. What a
            variable says is not repeated: in the environment secrets stand beside settings.
    """
    merged = config.model_dump(mode="json", exclude_unset=True)
    for one in given:
        section = merged
        for step in one.path[:-1]:
            if not isinstance(section.get(step), dict):
                section[step] = {}
            section = section[step]
        section[one.path[-1]] = one.value
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        found = [line for one in error.errors() for line in _laid(one, given, merged)]
        raise ConfigInvalid("\n".join(found)) from error


def _laid(fault: Any, given: Sequence[Given], merged: object) -> Iterator[str]:
    by = _giver(fault["loc"], given)
    for line in fault_lines(fault, by.startswith("--"), merged, Config):
        yield f"{by}: {line}"


def _giver(place: tuple[int | str, ...], given: Sequence[Given]) -> str:
    """Who set what stands at a place: the last whose path leads there or through it."""
    for one in reversed(given):
        length = min(len(place), len(one.path))
        if place[:length] == one.path[:length]:
            return one.by
    return "configuration"
