"""The parts of the document that are about the two ports, and about who may come to them."""

from __future__ import annotations

import ipaddress
from collections import Counter
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gateway.access.allowance import MAX_TAGS
from gateway.access.keys import NAME_PATTERN, RESERVED_NAMES
from gateway.access.roles import Role
from gateway.config.llm_limits import GroupName, Limited
from gateway.config.words import Host, Name, Network, Seconds, Section


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
    team_claim: str | None = Field(
        None, min_length=1, description="whose limits of llm.teams it shares, of all that it names"
    )
    team: GroupName | None = Field(
        None, description="whose limits tokens share that name none of llm.teams; none: nobody's"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("expected either jwks_file or jwks_url")
        return self


class CertifiedCaller(Section):
    """Who has a client certificate that names this subject, on both ports."""

    name: str = Field(
        pattern=f"^{NAME_PATTERN}$",
        description="what the audit, logs and metrics call it",
    )
    subject: str = Field(
        pattern=r"^(cn|dns|uri):\S.{0,999}$",
        description="cn:NAME of its subject, or dns:NAME or uri:NAME among its alternative names",
    )
    role: Role
    models: list[Name] = Field(["*"], min_length=1, description="that it may call; `*`: all")
    team: GroupName | None = Field(None, description="whose limits of llm.teams it shares")
    tags: list[GroupName] = Field(
        default_factory=list, max_length=MAX_TAGS, description="whose limits it shares, too"
    )
    limits: Limited = Field(
        Limited(), description="its own, of all certificates of this name together"
    )

    @field_validator("name")
    @classmethod
    def _own(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            taken = " nor ".join(f"'{one}'" for one in sorted(RESERVED_NAMES))
            raise ValueError(f"must be neither {taken}")
        return name

    @field_validator("tags")
    @classmethod
    def _each_once(cls, tags: list[str]) -> list[str]:
        if len(set(tags)) != len(tags):
            raise ValueError("expected different ones")
        return tags

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

    @field_validator("certificates")
    @classmethod
    def _alike(cls, certificates: list[CertifiedCaller]) -> list[CertifiedCaller]:
        limits: dict[str, Limited] = {}
        for one in certificates:
            if limits.setdefault(one.name, one.limits) != one.limits:
                raise ValueError(f"expected the same limits wherever '{one.name}' stands")
        return certificates


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
