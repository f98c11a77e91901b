"""Finds the server that runs on a home folder and tells it of changes.

Knows the file in which a running server writes where it listens. Knows nothing of what changed.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from gateway.access.local import local_token
from gateway.access.secret import server_secret
from gateway.errors import ControlUnavailable, GatewayError

# A reload tries new models out and loads them in every worker before it answers.
RELOAD_TIMEOUT_S = 600.0


def find(home: Path) -> dict[str, Any] | None:
    """Where the server of this home listens: pid, host, port, admin_port; None if none runs."""
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


def notify(home: Path, model: str) -> dict[str, Any] | None:
    """Has the running server read its sources again, and waits for what becomes of one model.

    Returns:
        Its answer: `plan` (number) and `absent` (what does not serve, with reasons); None if no
        server runs on this home.

    Raises:
        ControlUnavailable: one runs but does not answer, or refuses.
    """
    server = find(home)
    if server is None:
        return None
    return ask(home, server, "POST", f"/api/reload?model={quote(model, safe='')}")


def ask(
    home: Path,
    server: Mapping[str, Any],
    method: str,
    path: str,
    timeout_s: float = RELOAD_TIMEOUT_S,
) -> dict[str, Any]:
    """One request to the control port of a server on this machine.

    Args:
        home: the server's; its secret shows that we may ask.
        server: where it listens, as `find` says.
        method: of the request.
        path: of the request.
        timeout_s: longest wait for the answer.

    Raises:
        ControlUnavailable: no answer, or one that is not 200; the message carries its error.
    """
    admin_port = server["admin_port"]
    host = server.get("admin_host", "127.0.0.1")
    # What listens everywhere listens here as well.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(host, admin_port, timeout=timeout_s)
    try:
        connection.request(method, path, headers=_credentials(home))
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


def _credentials(home: Path) -> dict[str, str]:
    """Shows that we may read the home's secret; nothing where we may not, or there is none."""
    try:
        secret = server_secret(home, make=False)
    except GatewayError:
        return {}
    return {"Authorization": f"Bearer {local_token(secret, time.time())}"}
