"""A gateway whose language models are all answered for by one fake provider, on one server."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.access.secret import server_secret
from gateway.control.audit import at_terminal
from gateway.control.keys import Keys
from gateway.control.spend_report import lines
from gateway.control.store import Store
from gateway.llm.fake.server import FakeProvider
from tests.collector import Collector, collecting
from tests.end_to_end.server import Answer, RunningServer, eventually, running
from tests.llm.clients import Clients, opened

# What only the gateway and its providers may know; no answer, line or figure may show it.
SECRETS = {name: f"sk-canary-{name}-8f1c2d" for name in ("openai", "claude", "azure")}
WORKERS = 2


@dataclass
class World:
    """A server, the provider behind it, and the stock clients of both kinds."""

    server: RunningServer
    fake: FakeProvider
    clients: Clients
    key: str
    collector: Collector
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def openai(self) -> Any:
        return self.clients.openai(f"{self.url}/v1", self.key)

    @property
    def anthropic(self) -> Any:
        return self.clients.anthropic(self.url, self.key)

    def new_key(self, name: str, models: Sequence[str] = ("*",), **limits: Any) -> str:
        """A key with limits, once every worker knows it; the same to who asks by its name again."""
        if name in self.keys:
            return self.keys[name]
        key = {"name": name, "role": "client", "models": models, "limits": limits}
        values = json.dumps(key).encode()
        headers = {"content-type": "application/json"}
        port = self.server.admin_port
        answer = self.server.request("POST", "/api/keys", values, headers, port=port)
        assert answer.status == 201, answer.body
        secret: str = answer.json()["key"]
        # Each connection is a worker's, in turn.
        seen = [0]

        def known() -> bool:
            seen[0] = seen[0] + 1 if self._lists(secret) else 0
            return seen[0] >= 4 * WORKERS

        eventually(known)
        self.keys[name] = secret
        return secret

    def _lists(self, key: str) -> bool:
        told = {"authorization": f"Bearer {key}"}
        return self.server.request("GET", "/v1/models", None, told).status == 200

    def spent(self, name: str) -> tuple[Decimal, int, int]:
        """Dollars, tokens and requests of a key, as control has written them down."""
        with Store.open(self.server.home) as store:
            for line in lines(store, time.time()):
                if line.name == name:
                    money, tokens, requests = line.total
                    return Decimal(money).scaleb(-12), tokens, requests
        return Decimal(0), 0, 0

    def chat(self, model: str, text: str = "hello there", **more: Any) -> Answer:
        """One chat completion, without a client in between."""
        messages = [{"role": "user", "content": text}]
        key = more.pop("key", self.key)
        values = {"model": model, "messages": messages, **more}
        return self.post("/v1/chat/completions", values, authorization=f"Bearer {key}")

    def post(self, path: str, values: Any, **headers: str) -> Answer:
        """One request; headers with underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps(values).encode()
        told = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        return self.server.request("POST", path, body, told | named)


def document(fake: FakeProvider, home: Path, collector: int) -> dict[str, Any]:
    """Providers of each kind, and models that they answer for, well and badly."""
    kinds = {"openai": "/v1", "claude": "", "azure": ""}
    providers: dict[str, Any] = {}
    for name, version in kinds.items():
        file = home / f"{name}.key"
        file.write_text(SECRETS[name] + "\n")
        providers[name] = {
            "kind": {"claude": "anthropic"}.get(name, name),
            "base_url": fake.url(f"name={name}", version),
            "api_key_file": str(file),
            "allow_private": True,
        }
    for name, script in {
        "broken": "status=503",
        "cut": "break_at=2&break_as=cut",
        "late": "break_at=0&break_as=error",
        "small": "error=context_window",
        "prude": "error=content_policy",
        "coy": "finish=content_filter&tokens=0",
        "slow": "ttft_s=3600",
        "moved": f"status=307&location={quote(fake.url('name=stolen'), safe='')}",
    }.items():
        url = fake.url(f"name={name}&{script}")
        providers[name] = {"base_url": url, "allow_private": True}
    # Who waits for it no longer than a test does.
    hasty = {"base_url": fake.url("name=hasty"), "allow_private": True}
    providers["hasty"] = hasty | {"timeouts": {"first_byte_s": 1.0, "idle_s": 1.0}}
    # A name of this host, which is not allowed.
    here = fake.url("name=hidden").replace("127.0.0.1", "localhost")
    providers["hidden"] = {"base_url": here}

    def model(*providers: str, name: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
        upstreams = [
            {"provider": one, "model": name, "priority": n} for n, one in enumerate(providers, 1)
        ]
        return {"versions": {1: {"upstreams": upstreams, "order": "priority", **more}}}

    plain: dict[str, Any] = {"breaker": {"enabled": False}, "retries": {"attempts": 0}}
    return {
        "access": {"data": "keys"},
        "log": {"access": "all", "access_file": str(home / "access.log")},
        "tracing": {"endpoint": f"http://127.0.0.1:{collector}"},
        "llm": {
            "providers": providers,
            "models": {
                "assistant": model("openai") | {"aliases": ["gpt-4o-mini", "openai/gpt-4o-mini"]},
                "claude": model("claude", name="claude-sonnet-4-5"),
                "azure": model("azure", name="gpt-4o-mini"),
                "embedder": model("openai", name="text-embedding-3-small"),
                "second-best": model("broken", "openai", breaker={"enabled": False}),
                "falls-back": model("broken", fallbacks=["claude"], **plain),
                "small": model("small", context_window_fallbacks=["assistant"]),
                "prude": model("prude", content_policy_fallbacks=["assistant"]),
                "coy": model("coy", content_policy_fallbacks=["assistant"]),
                "broken": model("broken", **plain),
                "cut": model("cut", **plain),
                "late": model("late", "openai", breaker={"enabled": False}),
                "slow": model("slow", **plain),
                "hasty": model("hasty", **plain),
                "pair": model(
                    "hasty", "openai", breaker={"enabled": False}, retries={"budget": 1.0}
                ),
                "hidden": model("hidden", **plain),
                "moved": model("moved", **plain),
                "tried-twice": model("broken", retries={"attempts": 1, "base_s": 0.01}),
                # Left alone for longer than any test lasts.
                "shut": model(
                    "broken",
                    retries={"attempts": 0},
                    breaker={"in_a_row": 1, "open_s": 3600, "max_open_s": 3600},
                ),
                "guarded": model("broken", retries={"attempts": 0}, breaker={"in_a_row": 3}),
            },
        },
    }


@contextlib.contextmanager
def world(home: Path) -> Iterator[World]:
    """Two workers that ask for keys, a fake provider, and clients."""
    with Store.open(home) as store:
        keys = Keys(store, server_secret(home))
        _, key = keys.create(at_terminal(), "client", "client", ["*"])
    with (
        FakeProvider(name="default") as fake,
        opened() as clients,
        collecting() as (collector, port),
    ):
        config = json.dumps(document(fake, home, port))
        with running(home, "--workers", str(WORKERS), config=config) as server:
            yield World(server, fake, clients, key, collector)
