"""Finds the server that runs on a home folder and tells it of changes.

Knows the file in which a running server writes where it listens. Knows nothing of what changed.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from gateway import tls
from gateway.errors import ControlUnavailable

# A reload tries new models out and loads them in every worker before it answers.
RELOAD_TIMEOUT_S = 600.0


def find(home: Path) -> dict[str, Any] | None:
    """Where the server of this home listens: pid, host, port, admin_port; None if none runs.

    `tls` and `admin_tls`, where they are there, are the certificates of the two ports.
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


def notify(home: Path) -> dict[str, Any] | None:
    """Has the running server read its sources again, and waits until it follows them.

    Returns:
        Its answer: `plan` (number) and `absent` (what does not serve, with reasons); None if no
        server runs on this home.

    Raises:
        ControlUnavailable: one runs but does not answer, or refuses.
    """
    server = find(home)
    if server is None:
        return None
    return ask(server, "POST", "/api/reload")


def ask(
    server: Mapping[str, Any], method: str, path: str, timeout_s: float = RELOAD_TIMEOUT_S
) -> dict[str, Any]:
    """One request to the control port, on loopback, of a server that `find` found.

    Raises:
        ControlUnavailable: no answer, or one that is not 200; the message carries its error.
    """
    admin_port = server["admin_port"]
    connection = connect(admin_port, server.get("admin_tls"), timeout_s)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body: dict[str, Any] = orjson.loads(answer.read() or b"{}")
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
        raise ControlUnavailable(f"control on port {admin_port}: no answer: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise ControlUnavailable(
            f"control on port {admin_port}: {body.get('error', answer.status)}"
        )
    return body


def connect(port: int, certificate: str | None, timeout_s: float) -> http.client.HTTPConnection:
    """A connection to a port on loopback, encrypted where the port has a certificate."""
    if certificate is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    return http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=timeout_s, context=tls.trusting(Path(certificate))
    )
