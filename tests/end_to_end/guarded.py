"""A server that asks for keys on both ports, and what its tests share: keys, tokens, requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end import commands
from tests.end_to_end.provider import Provider
from tests.end_to_end.server import DEMO_MODEL, Answer, RunningServer, running

MODEL = "breast_cancer"
INFER = f"/v2/models/{MODEL}/infer"
ROW = {"name": "X", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}
BODY = json.dumps({"inputs": [ROW]}).encode()
CONFIG = """
access: {{data: keys, control: keys, jwt: {jwt}}}
repository: {{allow_load: true}}
ledger: {{enabled: true}}
"""
DATA_PORT = [
    ("GET", "/v2", None),
    ("GET", f"/v2/models/{MODEL}", None),
    ("GET", f"/v2/models/{MODEL}/ready", None),
    ("GET", f"/v2/models/{MODEL}/config", None),
    ("GET", f"/v2/models/{MODEL}/stats", None),
    ("GET", "/v2/models/stats", None),
    ("POST", "/v2/repository/index", b""),
    ("POST", INFER, BODY),
    ("POST", f"/v2/models/{MODEL}/versions/1/infer", BODY),
    ("POST", INFER.replace("b", "%62", 1), BODY),
    ("POST", "/v2/repository/models/nothing/load", b""),
    ("POST", "/v2/outcomes", b'{"id": "host-1-0-1-5", "outcome": 1}'),
    ("GET", "/v2/nothing", None),
    ("GET", "/", None),
]


def penstock(home: Path, *words: str, status: int = 0) -> Any:
    """The JSON that a command printed."""
    run = commands.penstock(*words, "--home", home, "--json")
    assert run.returncode == status, run.stdout + run.stderr
    return json.loads(run.stdout)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@dataclass
class World:
    """A server that asks for keys on both ports, one key of each kind, and who gives tokens."""

    server: RunningServer
    home: Path
    keys: dict[str, str]
    provider: Provider

    def status(self) -> Any:
        return self.control("GET", "/api/status", self.keys["viewer"]).json()

    def infer(self, key: str | None, path: str = INFER) -> int:
        return self.server.request("POST", path, BODY, bearer(key) if key else {}).status

    def control(self, method: str, path: str, key: str | None, body: bytes | None = None) -> Answer:
        headers = (bearer(key) if key else {}) | {"content-type": "application/json"}
        return self.server.request(method, path, body, headers, port=self.server.admin_port)

    def is_well(self) -> bool:
        """Whether it serves; not while a process is being replaced."""
        with suppress(OSError):
            health = self.server.get("/v2/health/ready").status
            return (health, self.infer(self.keys["client"])) == (200, 200)
        return False


def make_keys(home: Path) -> dict[str, str]:
    roles = {role: role for role in ("client", "viewer", "operator", "approver", "admin")}
    made = {
        name: penstock(home, "keys", "create", "--name", name, "--role", role)["key"]
        for name, role in roles.items()
    }
    words = ("keys", "create", "--name", "narrow", "--role", "client", "--models", "another")
    return made | {"narrow": penstock(home, *words)["key"]}


@contextmanager
def guarded(home: Path) -> Iterator[World]:
    """Two workers, keys, and an identity provider whose tokens are taken besides."""
    keys = make_keys(home)
    provider = Provider(home)
    config = CONFIG.format(jwt=provider.as_config())
    with running(home, DEMO_MODEL, "--workers", "2", config=config) as server:
        yield World(server, home, keys, provider)
