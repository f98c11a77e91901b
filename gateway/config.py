"""The configuration document: what may be set, its defaults, and every fault with its path.

Knows the shape of the document. Knows nothing of YAML, of files named on the command line beyond
reading one, of processes, or of models that exist.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gateway.errors import ConfigInvalid
from gateway.names import name_fault
from gateway.yaml_text import read

FIXED_SECTIONS = ("server", "control", "access", "limits", "drain", "log", "tracing")
"""What was handed out before the workers were forked: a change takes effect at the next start."""
# What is wrong with them is said without what they say.
_MAY_HOLD_A_SECRET = frozenset(("endpoint", "jwks_url", "headers_file", "key"))


def _model_name(name: str) -> str:
    if fault := name_fault(name):
        raise ValueError(fault)
    return name


def _host(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if len(host) > 253 or not _HOST_NAME.fullmatch(host) or _NUMBERS.fullmatch(host):
            raise ValueError("expected an address or a host name") from None
    return host


def _network(place: str) -> str:
    try:
        ipaddress.ip_network(place, strict=False)
    except ValueError:
        raise ValueError("expected an address or network") from None
    return place


_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_NUMBERS = re.compile(r"[0-9.]+")  # an address that is none
Name = Annotated[str, Field(min_length=1, max_length=200)]
ModelName = Annotated[Name, AfterValidator(_model_name)]
Host = Annotated[str, AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_network)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """One part of the document: unknown keys are faults, values do not change after reading.

    Numbers are finite: clocks, queues and JSON have no other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Padding(Section):
    """Pads a variable trailing dimension to the next bucket: unequal requests share a run."""

    buckets: Annotated[list[Positive], Field(min_length=1)]
    axis: int = Field(-1, description="which axis of each padded input; -1 is the last")
    # A mask may be made of -inf.
    value: float = Field(0.0, allow_inf_nan=True)
    inputs: list[str] = Field(
        default_factory=list, description="padded inputs; empty: all that vary"
    )

    @field_validator("buckets")
    @classmethod
    def _ascending(cls, buckets: list[int]) -> list[int]:
        if sorted(set(buckets)) != buckets:
            raise ValueError("must be ascending and without repeats")
        return buckets


class ModelSettings(Section):
    """How one model runs and batches. `defaults` gives them for all, `models.NAME` for one."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    instances: int = Field(
        1, ge=1, le=64, description="runs of this model at the same time, per worker"
    )
    intra_op_threads: int = Field(
        1, ge=0, le=1024, description="threads inside one run; 0: ORT's choice"
    )
    optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    # 128 rows keep one run of a small model near 100 us, so that a batch never holds the loop long.
    max_batch_size: int = Field(128, ge=0, le=65536, description="rows in one run; 0: never batch")
    max_queue_delay_ms: float = Field(0.0, ge=0, le=60_000)
    max_queue_rows: int = Field(4096, ge=1, le=10_000_000)
    # Who would wait longer is better told at once: by then most callers have given up or asked
    # again, and what is computed for them is lost.
    max_queue_ms: float = Field(
        500.0,
        gt=0,
        le=3_600_000,
        description="longest wait that a newcomer may have before it, by the fitted cost of runs",
    )
    preferred_batch_sizes: list[Positive] = Field(default_factory=list)
    timeout_ms: float | None = Field(
        None, gt=0, description="longest wait in the queue; none: no limit"
    )
    padding: Padding | None = None
    warmup: bool = True
    # A session holds its own copy of the weights that it needs.
    max_output_sets: int = Field(
        4,
        ge=0,
        le=64,
        description="sessions per worker that compute only the outputs asked for; 0: none",
    )
    max_output_bytes: int = Field(256 << 20, ge=1024)


class ModelConfig(ModelSettings):
    """A model named in the document. `path` may stay out where the registry holds the model."""

    path: Path | None = None
    version: int = Field(1, ge=1)
    profile: Path | None = Field(
        None, description="its reference profile; none: the one in the registry or beside the model"
    )
    feature_names: list[Name] | dict[Name, list[Name]] = Field(
        default_factory=list,
        description="of its one input, or by input; what data or the model itself say goes first",
    )
    categories: list[Name] = Field(
        default_factory=list, description="columns whose whole numbers are names"
    )

    @field_validator("feature_names")
    @classmethod
    def _each_once(
        cls, given: list[str] | dict[str, list[str]]
    ) -> list[str] | dict[str, list[str]]:
        for names in given.values() if isinstance(given, dict) else [given]:
            twice = [name for name, times in Counter(names).items() if times > 1]
            if twice:
                raise ValueError(f"expected each name once, got '{twice[0]}' again")
        return given


_NO_SETTINGS = {"path", "version", "profile", "feature_names", "categories"}
"""Of a `ModelConfig`: what changes nothing in how the model runs."""


class Tls(Section):
    """TLS on one port, 1.2 or newer. New files take over within seconds, without a restart."""

    certificate: Path = Field(description="PEM: the port's own certificate first, then its issuers")
    key: Path = Field(description="PEM, without a password")
    client_ca: Path | None = Field(
        None, description="PEM: who may issue certificates of clients; none: clients show none"
    )
    client_certificates: Literal["required", "optional"] = Field(
        "required", description="with client_ca: whether a client may come without a certificate"
    )

    @property
    def demands_certificate(self) -> bool:
        """Whether nobody gets through without a certificate."""
        return self.client_ca is not None and self.client_certificates == "required"


class Server(Section):
    """The data plane: where it listens and with how many workers."""

    host: Host = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int | None = Field(
        None, ge=1, le=256, description="none: one per GPU in use, else one per usable core"
    )
    # A load balancer in front keeps idle connections for 60 s; the one behind must keep them
    # longer.
    keep_alive_s: Seconds = 75.0
    half_close: bool = Field(False, description="a client's FIN leaves its request standing")
    trusted_proxies: list[Network] = Field(
        default_factory=list, description="addresses or networks whose X-Forwarded-For is believed"
    )
    # One broken model must not take the others out of a load balancer: that would be no isolation.
    ready: Literal["all", "any", "always"] = Field(
        "any", description="which models must be ready for the server to be: all, any, or none"
    )
    not_ready_status: int = Field(
        400, ge=400, le=599, description="answer of an unready /v2 health check"
    )
    compress_min_bytes: int = Field(
        16_384, ge=0, description="smaller answers are never compressed"
    )
    tls: Tls | None = None


class Control(Section):
    """The control plane."""

    host: Host = Field("127.0.0.1", description="anywhere but on loopback it asks for keys")
    port: int = Field(8002, ge=0, le=65535)
    open_metrics: bool = Field(False, description="/metrics needs no key where the rest does")
    # Scrapes, probes and people: what is bound here is what strangers can have held for a moment.
    max_connections: int = Field(1000, ge=1, description="at once; `limits` bounds each of them")
    tls: Tls | None = None


class Jwt(Section):
    """An identity provider whose tokens are taken besides keys, on both ports."""

    issuer: str = Field(min_length=1, description="what `iss` must say")
    audience: str = Field(min_length=1, description="what `aud` must name")
    jwks_file: Path | None = Field(None, description="its public keys: a file, or a URL")
    # Whoever can change the answer on its way can make every token good. No `@` and no query:
    # neither a password nor a token has a place in this document, and `http://localhost:80@there`
    # names another host.
    jwks_url: str | None = Field(
        None,
        pattern=r"^(https://[^/@?#\s]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)(/[^?#\s]*)?$",
    )
    # Asymmetric ones alone: a public key must never be taken for a shared secret.
    algorithms: list[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
    ] = Field(["RS256", "ES256"], min_length=1)
    role_claim: str = Field("role", min_length=1, description="a claim, or a path with dots")
    models_claim: str = Field("models", min_length=1, description="missing: all models")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("expected either jwks_file or jwks_url")
        return self


class CertifiedCaller(Section):
    """Who has a client certificate that names this subject, on both ports."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="what the audit, logs and metrics call it",
    )
    subject: str = Field(
        pattern=r"^(cn|dns|uri):\S.{0,999}$",
        description="cn:NAME of its subject, or dns:NAME or uri:NAME among its alternative names",
    )
    role: Literal["client", "viewer", "operator", "approver", "admin"]
    models: list[Name] = Field(["*"], min_length=1, description="that it may call; `*`: all")

    @field_validator("name")
    @classmethod
    def _own(cls, name: str) -> str:
        if name in ("other", "token"):  # which metrics call those without a name of their own
            raise ValueError("must be neither 'other' nor 'token'")
        return name

    @field_validator("subject")
    @classmethod
    def _as_shown(cls, subject: str) -> str:
        return subject.lower() if subject.startswith("dns:") else subject


class Access(Section):
    """Whether callers must show who they are. Keys themselves never stand in this document."""

    # Open, as other inference servers are: in a cluster the mesh in front knows the callers. The
    # log and `penstock doctor` say so where others can reach it.
    data: Literal["open", "keys"] = Field("open", description="who may use the data port")
    control: Literal["open", "keys"] = Field(
        "open", description="who may use the control port; open is for loopback only"
    )
    jwt: Jwt | None = None
    certificates: list[CertifiedCaller] = Field(
        default_factory=list,
        max_length=10_000,
        description="callers known by a certificate, where a port's tls.client_ca verifies them",
    )

    @field_validator("certificates")
    @classmethod
    def _once(cls, certificates: list[CertifiedCaller]) -> list[CertifiedCaller]:
        subjects = Counter(one.subject for one in certificates)
        twice = [subject for subject, times in subjects.items() if times > 1]
        if twice:
            raise ValueError(f"expected each subject once, got '{twice[0]}' again")
        return certificates


class Limits(Section):
    """Bounds of everything a client can make grow."""

    max_body_bytes: int = Field(64 << 20, ge=1)
    max_target_bytes: int = Field(8192, ge=64)
    max_header_bytes: int = Field(
        65_536, ge=256, description="all header names and values of a request"
    )
    max_headers: int = Field(128, ge=4)
    max_connections: int = Field(10_000, ge=1, description="per worker")
    max_pipelined: int = Field(16, ge=1, description="requests waiting behind one, per connection")
    max_body_chunks: int = Field(65_536, ge=1)
    max_buffered_bytes: int = Field(
        512 << 20,
        ge=1 << 20,
        description="bodies, what large ones were decoded to, and unread answers, per worker",
    )
    header_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = Field(60.0, description="longest pause between two pieces of a body")
    write_timeout_s: Seconds = Field(60.0, description="longest a client may not read its answer")
    max_loop_lag_ms: float = Field(20.0, gt=0, description="a worker later than this stops reading")
    max_models: int = Field(1000, ge=1)


class Drain(Section):
    """How a server leaves."""

    grace_s: Seconds = 30.0
    lag_s: float = Field(0.0, ge=0, description="between failing readiness and closing the door")


class Log(Section):
    """What is written to standard error, and how. See `gateway.logs`."""

    format: Literal["text", "json"] = Field("text", description="json: one object a line")
    level: Literal["info", "warning", "error"] = Field("info", description="the least that is told")
    access: Literal["off", "errors", "sampled", "all"] = Field(
        "off", description="which answered requests of the data port leave a record"
    )
    access_sample: float = Field(0.01, gt=0, le=1, description="share of requests in a sample")
    access_file: Path | None = Field(None, description="none: standard error")

    @field_validator("access", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return "off" if value is False else value  # what YAML makes of off


class Tracing(Section):
    """Spans of requests for an OpenTelemetry collector, over OTLP/HTTP. See `gateway.layers`, too.

    What opens the collector's door never stands here: headers come from a file, or from
    OTEL_EXPORTER_OTLP_HEADERS.
    """

    # No `@` and no query: neither a password nor a token has a place in this document.
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/@?#\s]+(/[^?#\s]*)?$",
        description="the collector, http://collector:4318; /v1/traces where no path; none: off",
    )
    # What OpenTelemetry takes where nobody says otherwise: a first trace must not be a matter of
    # luck.
    sample: float = Field(1.0, ge=0, le=1, description="share of traces that begin here")
    follow_caller: bool = Field(
        True, description="a caller's `sampled` flag decides; false: the share does for all"
    )
    service_name: Name | None = Field(
        None, description="none: what OTEL_RESOURCE_ATTRIBUTES says, else penstock"
    )
    headers_file: Path | None = Field(None, description="headers of exports, `name: value` a line")
    timeout_s: Seconds | None = Field(
        None, description="of one export; none: OTEL_EXPORTER_OTLP_TIMEOUT, else 10"
    )
    max_queue: int = Field(
        2048, ge=1, le=1_000_000, description="requests that may wait for their export"
    )

    @property
    def url(self) -> str:
        """Where spans are POSTed to; empty where they are not."""
        endpoint = self.endpoint or ""
        bare = endpoint and "/" not in endpoint.partition("://")[2]
        return f"{endpoint}/v1/traces" if bare else endpoint


class Monitoring(Section):
    """What live values are held against. See docs/monitoring.md."""

    enabled: bool = Field(True, description="false: no value is counted")
    # With so many, the largest error of any share of a reference is 2 % (95 times of 100).
    reference_rows: int = Field(
        5000,
        ge=0,
        le=1_000_000,
        description="a model without a profile is held against so many first live rows; 0: against"
        " nothing",
    )


class Metrics(Section):
    """What `/metrics` says of the columns of watched models. See docs/monitoring.md."""

    # Long enough for some rows of thin traffic, short enough to see an alarm end.
    window_s: float = Field(600.0, ge=60, le=30 * 86_400, description="how far figures look back")
    max_features: int = Field(
        50,
        ge=0,
        le=10_000,
        description="features, and as many outputs, of a version; where there are more, those with"
        " the most evidence; each has some 25 series",
    )
    bins: dict[Name, Annotated[list[Name], Field(max_length=100)]] = Field(
        default_factory=dict,
        description="by model: features and outputs whose bins are counted, joined to 10 at most",
    )


class Repository(Section):
    """Where models come from besides the registry, and whether clients may load and unload."""

    paths: list[Path] = Field(default_factory=list, description="folders NAME/VERSION/model.onnx")
    allow_load: bool = Field(False, description="load and unload on the data port")
    # A model is tried out, then loaded by every worker, before whoever asked for it is answered.
    change_timeout_s: Seconds = Field(
        300.0, description="longest that a load or unload on the data port may take"
    )


COLUMN_FIGURES = (
    *("verdict", "psi", "psi_null_p95", "ks", "ks_bound", "ks_p_value", "js", "hellinger"),
    *("wasserstein", "chi2", "chi2_p_value", "l_infinity", "mean", "std", "min", "max"),
    *("missing_ratio", "below_ratio", "above_ratio", "infinite_ratio", "wrong_type_ratio"),
    *("unseen_ratio", "distance", "log10_e", "rows"),
)
DATASET_FIGURES = (
    *("verdict", "prediction_verdict", "drifting_features", "drifting_share"),
    *("rows", "skipped_rows", "skipped_ratio"),
)
_VERDICT_FIGURES = ("verdict", "prediction_verdict")
_Level = float | Literal["watch", "drift"]


class AlertRule(Section):
    """When something that is reported of a model's traffic is told. See docs/monitoring.md."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    models: list[Name] = Field(["*"], min_length=1, description="`*`: every model")
    of: Literal["features", "outputs", "columns", "dataset"] = Field(
        "columns", description="columns: features and outputs; dataset: figures of the whole window"
    )
    figure: str = Field("verdict", description="a field of the drift report, or skipped_ratio")
    comparison: Literal[">", ">=", "<", "<="] = ">="
    threshold: _Level = Field("drift", description="a number; of a verdict, watch or drift")
    clear: _Level | None = Field(
        None, description="what it must be on the other side of to be resolved; none: threshold"
    )
    window_s: float | None = Field(
        None,
        ge=60,
        le=30 * 86400,
        description="none, for columns' verdicts: looks back by rows",
    )
    min_rows: int = Field(200, ge=0, description="fewer in the window tell nothing")
    every_s: float = Field(10.0, ge=1, le=86400, description="between two panes, the evaluations")
    panes: int = Field(1, ge=1, le=60, description="that must meet the condition")
    of_last: int = Field(1, ge=1, le=60, description="panes that are looked at")
    clear_panes: int = Field(3, ge=1, le=1000, description="clear ones in a row that resolve it")
    severity: Literal["info", "warning", "critical"] = "warning"
    cooldown_s: float = Field(
        3600.0, ge=0, le=30 * 86400, description="shortest time between two tellings that it fires"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        known = DATASET_FIGURES if self.of == "dataset" else COLUMN_FIGURES
        if self.figure not in known:
            raise ValueError(f"figure: expected one of {', '.join(known)}")
        worded = self.figure in _VERDICT_FIGURES
        levels = (self.threshold, self.threshold if self.clear is None else self.clear)
        if any(isinstance(one, str) != worded for one in levels):
            raise ValueError("threshold, clear: expected watch or drift of a verdict, else numbers")
        if worded and self.comparison != ">=":
            raise ValueError("comparison: expected >= of a verdict")
        if self.window_s is None and (self.of == "dataset" or self.figure != "verdict"):
            raise ValueError("window_s: expected one, but for verdicts of columns")
        if self.panes > self.of_last:
            raise ValueError("panes: expected at most of_last")
        return self

    @field_validator("clear")
    @classmethod
    def _not_further(cls, clear: _Level | None, info: ValidationInfo) -> _Level | None:
        threshold = info.data.get("threshold")
        if isinstance(clear, float) and isinstance(threshold, float):
            above = info.data.get("comparison", "").startswith(">")
            if (clear > threshold) if above else (clear < threshold):
                raise ValueError("expected nothing that meets the condition by itself")
        return clear


class AlertSink(Section):
    """Where alarms are sent. What opens its door comes from files or the environment alone."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    kind: Literal["webhook", "cloudevents", "alertmanager", "alertmanager_api"] = Field(
        "webhook",
        description="alertmanager: what it sends to receivers; alertmanager_api: what it takes",
    )
    # Neither a password nor a token has a place in this document.
    url: str | None = Field(None, pattern=r"^https?://[^/@?#\s]+(/[^?#\s]*)?$")
    url_file: Path | None = Field(None, description="holds the URL, where that is a secret")
    secret_file: Path | None = Field(None, description="signs what is sent, with HMAC-SHA256")
    secret_env: str | None = Field(None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    headers_file: Path | None = Field(None, description="more headers, `name: value` a line")
    severities: list[Literal["info", "warning", "critical"]] = Field(
        ["info", "warning", "critical"], min_length=1
    )
    timeout_s: float = Field(10.0, gt=0, le=60)
    max_attempts: int = Field(10, ge=1, le=100, description="then it is kept as a dead letter")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("expected either url or url_file")
        if self.secret_file is not None and self.secret_env is not None:
            raise ValueError("expected either secret_file or secret_env")
        return self


DEFAULT_RULES = (
    # The verdict holds however often one looks, so it is believed at once.
    AlertRule(name="drift", clear="watch", every_s=1, clear_panes=10),
    AlertRule(
        name="skipped_rows",
        of="dataset",
        figure="skipped_ratio",
        threshold=0.01,
        clear=0.001,
        window_s=600,
        panes=3,
        of_last=5,
    ),
)


class Alerts(Section):
    """Which figures raise alarms, and where those go. A change takes effect at once."""

    default_rules: bool = Field(True, description="the rules drift and skipped_rows are in force")
    rules: list[AlertRule] = Field(
        default_factory=list, max_length=200, description="one of a default's name replaces it"
    )
    sinks: list[AlertSink] = Field(default_factory=list, max_length=20)
    log: bool = Field(True, description="alarms are told in the log, too")

    @field_validator("rules", "sinks")
    @classmethod
    def _once(cls, some: list[Any]) -> list[Any]:
        names = Counter(one.name for one in some)
        twice = [name for name, times in names.items() if times > 1]
        if twice:
            raise ValueError(f"expected each name once, got '{twice[0]}' again")
        return some

    @property
    def in_force(self) -> tuple[AlertRule, ...]:
        """The default rules, where they are wanted, and those of the document."""
        defaults = DEFAULT_RULES if self.default_rules else ()
        named = {rule.name: rule for rule in (*defaults, *self.rules)}
        return tuple(named.values())


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
    metrics: Metrics = Metrics()
    repository: Repository = Repository()
    alerts: Alerts = Alerts()
    defaults: ModelSettings = ModelSettings()
    models: dict[ModelName, ModelConfig] = Field(default_factory=dict)

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
            values |= own.model_dump(exclude_unset=True, exclude=_NO_SETTINGS)
        return ModelSettings.model_validate(values)

    def profile_of(self, name: str) -> Path | None:
        """The profile that the document names for a model."""
        own = self.models.get(name)
        return None if own is None else own.profile

    def features_of(self, name: str) -> tuple[list[str] | dict[str, list[str]], list[str]]:
        """What the document calls a model's columns, and those whose whole numbers are names."""
        own = self.models.get(name)
        return ([], []) if own is None else (own.feature_names, own.categories)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
        faults += [f"{_path(fault['loc'])}: {_words(fault)}" for fault in error.errors()]
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
        raise ConfigInvalid("\n".join(_laid(one, given) for one in error.errors())) from error


def _laid(fault: Any, given: Sequence[Given]) -> str:
    by = _giver(fault["loc"], given)
    said = _words(fault) if by.startswith("--") else _without_value(fault)
    return f"{by}: {_path(fault['loc'])}: {said}"


def _giver(place: tuple[int | str, ...], given: Sequence[Given]) -> str:
    """Who set what stands at a place: the last whose path leads there or through it."""
    for one in reversed(given):
        length = min(len(place), len(one.path))
        if place[:length] == one.path[:length]:
            return one.by
    return "configuration"


def _path(place: tuple[int | str, ...]) -> str:
    text = ""
    for step in place:
        if step == "[key]":  # the name itself is at fault; it is the step before
            continue
        if isinstance(step, str) and not step.isprintable():
            step = repr(step)[1:-1]
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "(document)"


def _words(fault: Any) -> str:
    said = _without_value(fault)
    known = fault["type"] != "extra_forbidden"
    return f"{said}{_given_text(fault['loc'], fault['input'])}" if known else said


def _without_value(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "no such setting"
    said: str = fault["msg"].removeprefix("Value error, ")
    return f"{said[:1].lower()}{said[1:]}"


def _given_text(place: tuple[int | str, ...], value: Any) -> str:
    """What was given, where it can be shown: no secret stands in the document, unless by mistake.

    An address may have a password in it, a path may be what the file should hold, and whatever is
    no single value may have either somewhere.
    """
    if isinstance(value, Mapping):
        return ", got a mapping"
    if isinstance(value, list):
        return ", got a list"
    text = repr(value)
    secret = bool(place) and place[-1] in _MAY_HOLD_A_SECRET
    if secret or any(sign in text for sign in ("@", "://", "-----")):
        return ", got what is not repeated here"
    return f", got {text[:77]}..." if len(text) > 80 else f", got {text}"
