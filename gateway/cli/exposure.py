"""Checks of `penstock doctor` that look at who can reach the two ports, and what stops them.

Knows the configuration and the keys of a home, and where its server listens. A check changes
nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from gateway.access import secret
from gateway.cli.findings import Case, Finding
from gateway.cli.running import find
from gateway.config import Tls, is_loopback
from gateway.control.keys import Keys
from gateway.control.store import FILE, Store

_CREATE = "penstock keys create --name NAME --role"


def check_access(case: Case) -> Iterator[Finding]:
    """Whether others reach a port that asks nobody who they are, or that nobody has a key to."""
    config = case.config
    asks = config.access.data == "keys"
    yield _data_port(case, "the data port", config.server.host, asks)
    control = config.control.host
    if not config.control_asks:
        yield Finding("access", "ok", "the control port is open to this machine alone")
    elif not is_loopback(control) and not _has_key(case, "admin", config.control.tls):
        found = f"the control port on {control} has no admin key: it will not start"
        yield Finding("access", "fail", found, f"{_CREATE} admin")
    else:
        yield Finding("access", "ok", "the control port asks for keys")
    # It goes on as it was started, under options that stand in no document.
    server = find(case.home) or {}
    host = server.get("host", config.server.host)
    if (
        server.get("asks") is False
        and not is_loopback(host)
        and (asks or host != config.server.host)
    ):
        yield _data_port(case, "the running server's data port", host, asks=False)


def _data_port(case: Case, port: str, host: str, asks: bool) -> Finding:
    if asks and not _has_key(case, "client", case.config.server.tls):
        found = f"{port} asks for keys, and there is no client key"
        return Finding("access", "warn", found, f"{_CREATE} client")
    if asks:
        return Finding("access", "ok", f"{port} asks for keys")
    if is_loopback(host):
        return Finding("access", "ok", f"{port} is open to this machine alone")
    found = f"{port} on {host} is open to everybody who reaches it"
    return Finding("access", "warn", found, "set access.data: keys, or a proxy that asks")


def check_secret(case: Case) -> Iterator[Finding]:
    """Whether others on this machine may read what keys are made with."""
    file = case.home / secret.FILE
    if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        found = f"{file}: others may read it"
        yield Finding("secret", "fail", found, f"chmod 600 {file}, and rotate every key")


def _has_key(case: Case, role: str, tls: Tls | None) -> bool:
    """Whether anybody has a key of a role, or a token or certificate that does as well."""
    if case.config.access.jwt is not None or case.config.knows_certificate(role, tls):
        return True
    if not (case.home / FILE).exists():
        return False
    with Store.open(case.home) as store:
        return Keys(store, b"").has_active(role)


CHECKS = (check_access, check_secret)
