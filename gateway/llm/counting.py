"""Counts what a version of a language model had from each of its upstreams.

Knows what happened to requests, whose counts are whose and under which name the arena has them, and
what OpenTelemetry's conventions call operations and providers: traces and control call them so,
too. Knows nothing of the words of a block, or of who reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from math import nan
from typing import Final
from urllib.parse import urlsplit

from gateway.llm.deployment import LlmDeployment
from gateway.llm.pools.member import Health
from gateway.llm.price_map import seller
from gateway.llm.settings import Settings
from gateway.llm.targets import Target
from gateway.llm.told import Happened
from gateway.llm.upstream.upstreams import Upstreams
from gateway.monitor import layout, upstreams
from gateway.monitor.arena import Arena
from gateway.monitor.upstreams import Called, UpstreamCounter
from gateway.wire.llm.words import Dialect
from kernels import generations
from kernels.generations import Result

log = logging.getLogger("penstock.llm")

OPERATIONS: Final[dict[Dialect, int | None]] = {
    Dialect.CHAT: layout.OPERATIONS.index("chat"),
    Dialect.MESSAGES: layout.OPERATIONS.index("chat"),
    Dialect.RESPONSES: layout.OPERATIONS.index("chat"),
    Dialect.COMPLETIONS: layout.OPERATIONS.index("text_completion"),
    Dialect.EMBEDDINGS: layout.OPERATIONS.index("embeddings"),
    Dialect.COUNT: None,
}
"""What OpenTelemetry's conventions call what a dialect asks for; None: whoever has tokens counted
has nothing generated."""
_RESULTS: Final[dict[Result, int]] = {
    result: place for place, result in enumerate(generations.RESULTS)
}
_NO_TOKENS: Final[tuple[float, ...]] = (-1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0)
# Names of `price_map.seller` that the conventions spell otherwise; others are spelt alike.
_SYSTEMS: Final = {
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}


def system_of(kind: str, base_url: str) -> str:
    """What OpenTelemetry's conventions call whoever is at an address, else servers of the kind."""
    found = seller(kind, base_url)
    return _SYSTEMS.get(found, found)


def called(name: str, version: int, settings: Settings) -> Iterator[Called]:
    """Whose counts a version has: nobody's, then each upstream's in their order."""
    yield Called(name, version)
    for one in settings.version.upstreams:
        provider = settings.providers[one.provider]
        at = urlsplit(provider.base_url)
        yield Called(
            model=name,
            version=version,
            upstream=one.called,
            provider=one.provider,
            system=system_of(provider.kind, provider.base_url),
            asked=one.model,
            address=at.hostname or "",
            port=at.port or {"http": 80, "https": 443}[at.scheme],
        )


class Counting:
    """Of one deployment in one worker. Used on its event loop."""

    def __init__(
        self,
        counters: Sequence[UpstreamCounter | None],
        deployment: LlmDeployment,
        connections: Upstreams,
    ) -> None:
        """Begins to count.

        Args:
            counters: nobody's, then each upstream's; None: there was no room for it.
            deployment: knows its upstreams, and how they are.
            connections: to them.
        """
        self._nobody, *self._counters = counters
        self._deployment = deployment
        # By name: a target is made anew where its provider's key is another.
        self._by_name = {
            target.called: one
            for target, one in zip(deployment.targets, self._counters, strict=True)
        }
        self._connections = connections

    def over(self, dialect: Dialect, happened: Happened) -> float:
        """A request is over.

        Returns:
            Seconds of the longest gap in its stream; NaN where there was none.
        """
        operation = OPERATIONS[dialect]
        target = happened.target
        counter = self._nobody if target is None else self._by_name.get(target.called, self._nobody)
        if operation is None or counter is None:
            return nan
        return counter.observe(operation, _record(happened), happened.stamps)

    def mark(self, now: float) -> None:
        """Tells how every upstream is. Called twice a second."""
        targets, health = self._deployment.targets, self._deployment.pool.health(now)
        for counter, target, one in zip(self._counters, targets, health, strict=True):
            if counter is not None:
                counter.sent(one.asked, one.failed, one.limited)
                counter.stands(self._stands(target, one))

    def leave(self, now: float) -> None:
        """The deployment has answered its last request."""
        self.mark(now)
        for counter in (self._nobody, *self._counters):
            if counter is not None:
                counter.leave()

    def _stands(self, target: Target, one: Health) -> upstreams.Health:
        opened, idle = self._connections.connections(target.origin)
        return upstreams.Health(
            breaker=upstreams.LEFT_OUT if one.lacks else one.state,
            ready_in_s=one.ready_in_s,
            in_flight=one.in_flight,
            first_byte_s=one.first_byte_s,
            connections=opened,
            idle=idle,
            trouble=one.lacks or one.why,
        )


def counters(
    arena: Arena, worker: int, name: str, version: int, settings: Settings
) -> list[UpstreamCounter | None]:
    """What a version counts with: nobody's, then each upstream's."""
    found: list[UpstreamCounter | None] = []
    for one in called(name, version, settings):
        offset = arena.find(layout.UPSTREAM, one.key)
        if offset is None:  # control has said why
            log.warning("model '%s': upstream '%s' is not counted", name, one.upstream)
        found.append(None if offset is None else UpstreamCounter(arena, offset, worker))
    return found


def _record(happened: Happened) -> tuple[float, ...]:
    """The words of `kernels.generations`' record."""
    usage, cost = happened.usage, happened.cost
    tokens = _NO_TOKENS
    if usage is not None:
        tokens = (
            usage.input,
            usage.output,
            usage.cache_read,
            usage.cache_write + usage.cache_write_1h,
            usage.reasoning,
            -1.0 if cost is None else cost,
            happened.estimated,
        )
    return (
        _RESULTS[happened.result],
        happened.retries,
        happened.fallbacks,
        *tokens,
        happened.call.stream,
        # A copy waits for nobody: what it copies was answered before it began.
        happened.asked_at if happened.copy else happened.arrived,
        happened.asked_at,
        happened.content_at,
        happened.last_byte_at,
        happened.ended_at,
    )
