"""Lays the environment and the command line over the document, and says where each value is from.

Knows names of variables and the order: a flag goes before the environment, that before the
document. Knows nothing of where documents are kept.

`PENSTOCK_SECTION__FIELD` sets a field, `PENSTOCK_MODELS__NAME__FIELD` one of a model; values are
written as in the document. NAME stands for the model of the document whose name reads so in
capitals with `_` for everything but letters and digits; where the document has none, for the name
in small letters.

OpenTelemetry's own variables set the fields of `tracing`, the ones of ours before them; an empty
one is as good as none. Headers, certificates, compression and attributes of the resource are left
for its library to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.config import Config, Given, override, scalar
from gateway.errors import ConfigInvalid

PREFIX = "PENSTOCK_"
STEP = "__"
_MODELS = f"{PREFIX}MODELS{STEP}"
_NAMING_AN_ENDPOINT = (
    f"{PREFIX}TRACING{STEP}ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value in force.

    Attributes:
        path: where it stands in the document, as `models.fraud.timeout_ms`.
        source: `default`, `document`, or the variable or option that set it.
    """

    path: str
    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Layered:
    """A document, what lies over it, and what is in force of both.

    Attributes:
        given: the later goes before the earlier.
    """

    document: Config
    given: Sequence[Given]
    effective: Config

    def giver(self, path: str) -> str:
        """The variable or option that decides a value, by its path; empty where none does."""
        for one in reversed(self.given):
            if f"{path}.".startswith(f"{'.'.join(one.path)}."):
                return one.by
        return ""


def from_environment(environ: Mapping[str, str], models: Iterable[str]) -> list[Given]:
    """The fields that variables set, by name of the variable.

    Args:
        environ: every variable; those without a double underscore are no fields.
        models: the names in the document.

    Raises:
        ConfigInvalid: a value is not YAML, or a name stands for two models.
    """
    names = sorted(name for name in environ if name.startswith(PREFIX) and STEP in name)
    known = list(models)
    return [Given(_path(name, known), scalar(environ[name], name), name) for name in names]


def from_opentelemetry(environ: Mapping[str, str]) -> list[Given]:
    """The fields of `tracing` that OpenTelemetry's variables set.

    Source: OpenTelemetry, https://opentelemetry.io/docs/specs/otel/configuration/
    sdk-environment-variables/ and .../protocol/exporter/

    Raises:
        ConfigInvalid: a protocol or sampler that is not offered.
    """
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return [Given(("tracing", "endpoint"), None, "OTEL_SDK_DISABLED")]
    exporters = environ.get("OTEL_TRACES_EXPORTER")
    if exporters and "otlp" not in exporters.split(","):
        return [Given(("tracing", "endpoint"), None, "OTEL_TRACES_EXPORTER")]
    given = [*_endpoint(environ), *_sampler(environ)]
    if name := environ.get("OTEL_SERVICE_NAME"):
        given.append(Given(("tracing", "service_name"), name, "OTEL_SERVICE_NAME"))
    return given


def _endpoint(environ: Mapping[str, str]) -> list[Given]:
    one = _first(environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if one is None:
        return []
    name, url = one
    if "@" in url:  # not quoted: what stands before it is a secret
        raise ConfigInvalid(f"{name}: expected no user; OTEL_EXPORTER_OTLP_HEADERS holds secrets")
    protocol = _first(environ, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol is not None and protocol[1] != "http/protobuf":
        raise ConfigInvalid(f"{protocol[0]}: expected http/protobuf, got {protocol[1]!r}")
    if name == "OTEL_EXPORTER_OTLP_ENDPOINT":
        url = f"{url.rstrip('/')}/v1/traces"
    elif "/" not in url.partition("://")[2]:
        url += "/"  # of this one every path is taken as it is, none included
    return [Given(("tracing", "endpoint"), url, name)]


def _sampler(environ: Mapping[str, str]) -> list[Given]:
    name = "OTEL_TRACES_SAMPLER"
    sampler = environ.get(name)
    if not sampler:
        return []
    kind = sampler.removeprefix("parentbased_")
    shares: dict[str, Any] = {"always_on": 1.0, "always_off": 0.0}
    if kind == "traceidratio":
        name = "OTEL_TRACES_SAMPLER_ARG"
        shares[kind] = environ.get(name) or 1.0
    if kind not in shares:
        wanted = "always_on, always_off or traceidratio, alone or behind parentbased_"
        raise ConfigInvalid(f"{name}: expected {wanted}, got {sampler!r}")
    return [
        Given(("tracing", "sample"), shares[kind], name),
        Given(("tracing", "follow_caller"), kind != sampler, "OTEL_TRACES_SAMPLER"),
    ]


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str] | None:
    """The first of these variables that says something, with what it says."""
    return next(((name, environ[name]) for name in names if environ.get(name)), None)


def effective(document: Config, environ: Mapping[str, str], flags: Sequence[Given]) -> Config:
    """What is in force, given a document.

    Raises:
        ConfigInvalid: a variable or option does not fit.
    """
    return lay(document, environ, flags).effective


def lay(document: Config, environ: Mapping[str, str], flags: Sequence[Given]) -> Layered:
    """A document under the environment and the command line.

    Raises:
        ConfigInvalid: a variable or option does not fit.
    """
    given = _given(document, environ, flags)
    # Checking hundreds of models again takes as long as the first time.
    return Layered(document, given, override(document, given) if given else document)


def settings(document: Config, environ: Mapping[str, str], flags: Sequence[Given]) -> list[Setting]:
    """Every value in force, with its source.

    Raises:
        ConfigInvalid: as `effective`.
    """
    layered = lay(document, environ, flags)
    merged = layered.effective
    written = leaves(document.model_dump(mode="json", exclude_unset=True))
    values = leaves(merged.model_dump(mode="json", exclude={"models"}))
    values |= leaves(merged.model_dump(mode="json", include={"models"}, exclude_unset=True))

    def source(path: tuple[str, ...]) -> str:
        by = layered.giver(".".join(path))
        return by or ("document" if path in written else "default")

    return [Setting(".".join(path), value, source(path)) for path, value in values.items()]


def _given(document: Config, environ: Mapping[str, str], flags: Sequence[Given]) -> list[Given]:
    ours = from_environment(environ, document.models)
    named = [document.tracing.endpoint, *(environ.get(name) for name in _NAMING_AN_ENDPOINT)]
    # Platforms set these for every process: who is asked for no traces must not fail of them.
    theirs = from_opentelemetry(environ) if any(named) else []
    return [*theirs, *ours, *flags]


def leaves(values: Mapping[str, Any], under: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Nested mappings laid flat: path to value. Lists are values."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= leaves(value, (*under, name))
        elif not isinstance(value, Mapping):
            found[*under, name] = value
    return found


def _path(variable: str, models: Sequence[str]) -> tuple[str, ...]:
    if not variable.startswith(_MODELS):
        return tuple(variable.removeprefix(PREFIX).lower().split(STEP))
    rest = variable.removeprefix(_MODELS)
    meant = [name for name in models if rest.startswith(_spelled(name) + STEP)]
    longest = max((len(name) for name in meant), default=0)
    meant = [name for name in meant if len(name) == longest]
    if len(meant) > 1:
        named = " and ".join(f"'{name}'" for name in sorted(meant))
        raise ConfigInvalid(f"{variable}: expected the name of one model, got that of {named}")
    if meant:
        field = rest[len(_spelled(meant[0])) + len(STEP) :]
        return ("models", meant[0], *field.lower().split(STEP))
    return ("models", *rest.lower().split(STEP))


def _spelled(model: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", model.upper())
