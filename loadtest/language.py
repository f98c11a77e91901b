"""What scenarios of language models share: a provider, a gateway before it, and requests.

Knows the configuration and the fake provider. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.access.allowance import read_allowance
from gateway.access.secret import server_secret
from gateway.control.audit import at_terminal
from gateway.control.key_values import Belongs
from gateway.control.keys import Keys
from gateway.control.spend_report import lines
from gateway.control.store import Store
from gateway.llm.fake import chat
from gateway.llm.fake.content import content_of
from gateway.llm.fake.script import Script
from loadtest.bench import Bench
from loadtest.bodies import Pool, write_pool
from loadtest.servers import Nginx, Penstock, Program, ask

CHAT = "/v1/chat/completions"
MODEL = "assistant"
# Of each family one whose price stands in the table that comes along.
UPSTREAMS = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-sonnet-4-5",
    "azure": "gpt-4o-mini",
}
MODELS = {MODEL: "openai"}
# Of every kind one, which nobody reaches: what is measured is that they are asked.
LIMITS: Mapping[str, Any] = {
    "requests_per_minute": 100_000_000,
    "tokens_per_minute": 100_000_000,
    "max_parallel": 10_000,
    "budgets": ["1000000usd/day"],
}
JSON = {"Content-Type": "application/json"}
_WORDS = (
    "the",
    "river",
    "turns",
    "a",
    "wheel",
    "below",
    "an",
    "old",
    "mill",
    "and",
    "grain",
    "falls",
)


@dataclass(frozen=True)
class Gateway:
    """A running gateway, and keys that its callers show."""

    server: Penstock
    keys: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.keys[0]

    @property
    def port(self) -> int:
        return self.server.port


def text(chars: int, rng: random.Random) -> str:
    """Words at random, so many characters of them."""
    words = " ".join(rng.choices(_WORDS, k=chars // 4 + 1))
    return words[:chars].rstrip().ljust(chars, "x")


def chat_body(prompt: str, model: str = MODEL, **more: Any) -> bytes:
    """A chat completion's request."""
    messages = [{"role": "user", "content": prompt}]
    return json.dumps({"model": model, "messages": messages, **more}).encode()


def pool(bench: Bench, name: str, chars: int, count: int = 256, **more: Any) -> Pool:
    """Requests with distinct prompts of so many characters."""
    rng = random.Random(chars)

    def make(path: Path) -> Pool:
        return write_pool(path, [chat_body(text(chars, rng), **more) for _ in range(count)], JSON)

    return bench.pool(name, make)


def known(made: Pool, key: str) -> Pool:
    """The same requests with a key."""
    return replace(made, headers=made.headers | {"Authorization": f"Bearer {key}"})


def constant_provider(bench: Bench) -> Nginx:
    """nginx with one chat completion from memory, on the load's core: faster than any provider."""
    wanted = chat.read(json.loads(chat_body("hello", UPSTREAMS["openai"])))
    answer = chat.whole(content_of(wanted, Script(), 1), wanted, Script(), 1, int(time.time()))
    body = json.dumps(answer).encode()
    return bench.stack.enter_context(Nginx(body, [bench.load_core], bench.folder))


def fake_provider(bench: Bench, script: str = "") -> Program:
    """The fake, on the load's core."""
    args = ["--script", script, "--port"]
    return bench.stack.enter_context(
        Program("fake_provider", args, [bench.load_core], bench.folder, "/v1/models")
    )


def counts(provider: Program) -> dict[str, int]:
    """What the fake has counted so far."""
    _, body = ask(provider.port, "/fake/counts")
    found: dict[str, int] = json.loads(body)
    return found


def gateway(
    bench: Bench,
    provider_port: int,
    models: Mapping[str, str] = MODELS,
    keys: int = 1,
    limits: Mapping[str, Any] = LIMITS,
    **options: Any,
) -> Gateway:
    """A gateway that asks for keys, in front of a provider that speaks as each family does.

    Args:
        bench: starts it; one worker on the server's core.
        provider_port: of the fake, or of what else answers.
        models: family of each.
        keys: to be made.
        limits: of each key.
        options: of the server.
    """
    home = bench.folder / f"home-{time.monotonic_ns()}"
    belongs = Belongs(allowance=read_allowance(limits, "limits"))
    with Store.open(home) as store:
        made = Keys(store, server_secret(home))
        shown = [
            made.create(at_terminal(), f"load-{n}", "client", belongs=belongs)[1]
            for n in range(keys)
        ]
    origin = f"http://127.0.0.1:{provider_port}"
    providers = {
        kind: {
            "kind": kind,
            "base_url": f"{origin}/v1" if kind == "openai" else origin,
            "allow_private": True,
        }
        for kind in UPSTREAMS
    }
    document = {
        "access": {"data": "keys"},
        "llm": {
            "providers": providers,
            "models": {
                name: {"upstreams": [{"provider": kind, "model": UPSTREAMS[kind]}]}
                for name, kind in models.items()
            },
        },
    }
    return Gateway(bench.penstock(home=home, config=document, **options), tuple(shown))


def spent(ours: Gateway, requests: int, within_s: float = 30.0) -> dict[str, tuple[int, int, int]]:
    """Pico-dollars, tokens and requests of each key, once so many requests are counted.

    Raises:
        RuntimeError: they are not in time.
    """
    end = time.monotonic() + within_s
    while True:
        with Store.open(ours.server.home) as store:
            found = {line.name: line.total for line in lines(store, time.time())}
        counted = sum(total[2] for total in found.values())
        if counted == requests:
            return found
        if time.monotonic() > end:
            raise RuntimeError(f"expected {requests} requests to be counted, got {counted}")
        time.sleep(0.1)  # control writes down once a second what workers have counted
