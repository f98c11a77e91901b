"""Says that the server is there: to whoever started it, and to commands that look for it.

Knows the file in the home and the line on stdout. Knows nothing of how the server came to be.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.control.port_certificates import shown_at
from gateway.control.replacing import replace
from gateway.inherited import Inherited
from gateway.plan import Absent, Plan

log = logging.getLogger("penstock.control")


def announce(inherited: Inherited, plan: Plan) -> None:
    """Writes where the server listens, and prints it unless an earlier control process did.

    Args:
        inherited: sockets and home.
        plan: what serves, and what does not.
    """
    launch = inherited.launch
    host, port = inherited.data_sockets[0].getsockname()[:2]
    admin_host, admin_port = inherited.control_socket.getsockname()[:2]
    facts: dict[str, Any] = {
        "pid": os.getppid(),
        "host": host,
        "port": port,
        "admin_host": admin_host,
        "admin_port": admin_port,
        "asks": launch.config.access.data == "keys",
    }
    ports = {"tls": launch.config.server.tls, "admin_tls": launch.config.control.tls}
    facts |= {name: str(tls.certificate.absolute()) for name, tls in ports.items() if tls}
    for name, port in (("tls", "data"), ("admin_tls", "control")):
        if name in facts:
            facts[f"{name}_shown"] = str(shown_at(launch.home / "run", port))
    if demanding := [name for name, tls in ports.items() if tls and tls.demands_certificate]:
        facts["demands_certificate"] = demanding
    if not replace(launch.home / "run" / "server.json", orjson.dumps(facts)):
        return
    print(_line(launch.json, facts, serving(plan), plan.absent), flush=True)  # noqa: T201
    for one in plan.absent:
        log.warning("model '%s' version %d is %s: %s", one.name, one.version, one.state, one.reason)


def serving(plan: Plan) -> dict[str, int]:
    """Models to the version that answers where nobody names one; none where that is absent."""
    return {one.name: one.version for one in plan.routes if one.version in one.deployments}


def still_loading() -> None:
    """Tells somebody at a terminal that it goes on."""
    if sys.stderr.isatty():
        log.info("trying the models out and loading them")


def _line(
    as_json: bool, facts: Mapping[str, Any], serving: Mapping[str, int], absent: Sequence[Absent]
) -> str:
    if as_json:
        whole = {"ready": True, **facts, "models": serving, "absent": len(absent)}
        return orjson.dumps(whole).decode()
    names = ", ".join(f"{name} (version {number})" for name, number in serving.items())
    data = f"{_bracketed(facts['host'])}:{facts['port']}"
    control = f"{_bracketed(facts['admin_host'])}:{facts['admin_port']}"
    schemes = (f"http{'s' * (port in facts)}" for port in ("tls", "admin_tls"))
    data, control = (
        f"{scheme}://{at}" for scheme, at in zip(schemes, (data, control), strict=True)
    )
    return f"penstock: serving {names or 'no model'} on {data}, control on {control}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
