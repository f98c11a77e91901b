"""Finds the server that runs on a home folder and tells it of changes.

Knows the file in which a running server writes where it listens. Knows nothing of what changed.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from gateway import tls
from gateway.access.local import local_token
from gateway.access.secret import server_secret
from gateway.cli.certificate_options import CLIENT_CERT, CLIENT_KEY, from_environment
from gateway.errors import GatewayError, NotFound, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from gateway.client import Admin
    from gateway.client.tls import Cert

# A reload tries new models out and loads them in every worker before it answers.
RELOAD_TIMEOUT_S = 600.0


def find(home: Path) -> dict[str, Any] | None:
    """Where the server of this home listens: pid, host, port, admin_port; None if none runs.

    `tls` and `admin_tls`, where they are there, are the certificates of the two ports, with
    `_shown` what they are showing; `demands_certificate` names those of them where a client must
    show one.
    """
    try:
        found: dict[str, Any] = orjson.loads((home / "run" / "server.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    # A server that was killed hard leaves its file behind.
    return found if _alive(found.get("pid", 0)) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, and there
        return True
    return True


def data_url(server: Mapping[str, Any]) -> str:
    """Where a server that was found takes inference requests from this machine."""
    return _url(server["host"], server["port"], "tls" in server)


def admin(home: Path, server: Mapping[str, Any], timeout_s: float = RELOAD_TIMEOUT_S) -> Admin:
    """A client of a found server's control port, which the caller closes.

    Args:
        home: the server's; its secret shows that we may ask.
        server: where it listens, as `find` says.
        timeout_s: longest wait for an answer.

    Raises:
        Unauthenticated: it wants to be shown a certificate, and the environment names none.
    """
    from gateway.client import Admin

    cert = shown(server, "admin_tls", from_environment(os.environ))

    host = server.get("admin_host", "127.0.0.1")
    url = _url(host, server["admin_port"], "admin_tls" in server)
    trusted = verify(server, "admin_tls")
    return Admin(url, _proof(home), timeout_s=timeout_s, verify=trusted, cert=cert)


def admin_of(home: Path, timeout_s: float = RELOAD_TIMEOUT_S) -> Admin:
    """The same of the server that runs on a home, for what nobody else can answer.

    Raises:
        Unavailable: none runs.
        Unauthenticated: as `admin` does.
    """
    server = find(home)
    if server is None:
        raise Unavailable(f"no server runs on {home}")
    return admin(home, server, timeout_s)


def shown(server: Mapping[str, Any], port: str, cert: Cert) -> Cert:
    """What to show on a port of a found server.

    Raises:
        Unauthenticated: it takes nobody without a certificate, and this is none.
    """
    if cert is None and port in server.get("demands_certificate", ()):
        name = {"tls": "data", "admin_tls": "control"}[port]
        raise Unauthenticated(
            f"the {name} port asks for a client certificate: set {CLIENT_CERT} and {CLIENT_KEY}"
        )
    return cert


def verify(server: Mapping[str, Any], port: str) -> bool | ssl.SSLContext:
    """What to check a port's certificate against: what the server shows, or is about to show.

    Args:
        server: where it listens, as `find` says.
        port: `tls` for the data port, `admin_tls` for the control port.

    Raises:
        ConfigInvalid: neither is there.
    """
    files = [Path(server[name]) for name in (port, f"{port}_shown") if name in server]
    return tls.trusting(*files) if files else True


def _url(host: str, port: int, encrypted: bool) -> str:
    # What listens everywhere listens here as well.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if encrypted else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def notify(home: Path, model: str | None) -> dict[str, Any] | None:
    """Has the running server look at its models again, and waits for one model, or for all of them.

    Returns:
        Its answer: `plan` (number) and `absent` (what does not serve, with reasons); None if no
        server runs on this home.

    Raises:
        GatewayError: one runs but does not answer, or refuses.
    """
    server = find(home)
    if server is None:
        return None
    with admin(home, server) as control:
        return control.reload(model, config=False)


def ask_of_version(
    home: Path,
    model: str,
    version: int | None,
    what: str,
    query: Mapping[str, str | None],
    timeout_s: float = RELOAD_TIMEOUT_S,
) -> Any:
    """What the running server says of a version; of the one that is served where none is named.

    Args:
        home: the server's.
        model: its name.
        version: of it.
        what: the last part of the path under `/api/models/{model}/versions/{version}`.
        query: parameters; those that are None are left out.
        timeout_s: longest wait for an answer.

    Raises:
        Unavailable: no server runs.
        NotFound: none is named, and none served.
    """
    given = {name: value for name, value in query.items() if value is not None}
    with admin_of(home, timeout_s) as control:
        number = version or _default_version(control.models(), model)
        return control.ask("GET", f"/api/models/{model}/versions/{number}/{what}", query=given)


def _default_version(models: Sequence[Mapping[str, Any]], name: str) -> int:
    for line in models:
        if line["name"] == name and line.get("default"):
            return int(line["version"])
    raise NotFound(f"model '{name}' serves no version")


def _proof(home: Path) -> str | None:
    """Shows that we may read the home's secret; nothing where we may not, or there is none."""
    from gateway.control.audit import os_user

    try:
        return local_token(server_secret(home, make=False), os_user(), time.time())
    except GatewayError:
        return None
