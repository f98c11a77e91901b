"""What is sent where to have one upstream asked in one dialect.

Knows the paths and headers of providers' APIs. Knows nothing of connections, bodies, or of which
upstream is asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.config.llm import LlmProvider, LlmUpstream
from gateway.errors import ModelRefused
from gateway.llm.pricing import Price
from gateway.llm.upstream.origins import origin_at
from gateway.llm.upstream.request import request_head
from gateway.llm.upstream.words import Origin, Timeouts
from gateway.wire.llm.words import Dialect

MEDIA_TOKENS: Final = 8192
# 2,833 for an image, and 5,667 for each of its tiles, of which there are at most eight.
_DEAR_MEDIA: Final = {"gpt-4o-mini": 50_000}

ANTHROPIC_VERSION = "2023-06-01"
AZURE_VERSION = "2024-10-21"

_OPENAI_PATHS = {
    Dialect.CHAT: "/chat/completions",
    Dialect.COMPLETIONS: "/completions",
    Dialect.EMBEDDINGS: "/embeddings",
    Dialect.RESPONSES: "/responses",
}
_ANTHROPIC_PATHS = {
    Dialect.MESSAGES: "/v1/messages",
    Dialect.COUNT: "/v1/messages/count_tokens",
}
# What an upstream is asked in for a client's dialect, where it has no such API.
_INSTEAD = {
    "anthropic": {Dialect.CHAT: Dialect.MESSAGES, Dialect.RESPONSES: Dialect.MESSAGES},
    "openai": {Dialect.MESSAGES: Dialect.CHAT, Dialect.RESPONSES: Dialect.CHAT},
}


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream, ready to be asked.

    Attributes:
        called: in metrics and logs.
        kind: of its provider.
        model: the provider's name of the model.
        origin: where connections go.
        heads: what requests begin with, by the dialect that they are asked in; they hold the key.
        speaks: by the dialect of a client, the dialect that it is asked in.
        timeouts: of one request.
        price: None: nobody knows.
        limit_field: what its chat calls the limit of an answer.
        thinks_by: how its models are told how long to think, as `Asked` has it.
        forward_headers: of clients, that are passed on.
        key: of the provider.
        media_tokens: that it reads one medium as which is named by its address, at most.
        lacks: why it cannot be asked; empty: it can.
    """

    called: str
    kind: str
    model: str
    origin: Origin
    heads: Mapping[Dialect, bytes] = field(repr=False)
    speaks: Mapping[Dialect, Dialect]
    timeouts: Timeouts
    price: Price | None
    limit_field: str
    thinks_by: str
    forward_headers: frozenset[bytes] = field(default=frozenset())
    key: bytes | None = field(default=None, repr=False)
    media_tokens: int = MEDIA_TOKENS
    lacks: str = ""

    @property
    def writes(self) -> int | None:
        """Tokens of the longest answer that its model can write; None: nobody knows."""
        return None if self.price is None else self.price.max_output_tokens

    def longest(self, most: int) -> int:
        """Tokens of its longest answer, of so many that are allowed."""
        return min(most, self.writes or most)

    def without_key(self, said: bytes) -> bytes:
        """What the upstream said, less the key that it was asked with: some repeat it in errors."""
        return said if self.key is None else said.replace(self.key, b"[key]")


def target_of(
    upstream: LlmUpstream,
    provider: LlmProvider,
    origin: Origin,
    key: bytes | None,
    price: Price | None,
    lacks: str = "",
) -> Target:
    """Makes an upstream ready.

    Args:
        upstream: what the document says of it.
        provider: its provider.
        origin: of the provider.
        key: of the provider; None: it asks for none.
        price: of what it answers; None: nobody knows.
        lacks: why it cannot be asked; empty: it can.
    """
    paths = _paths(provider, upstream.model)
    headers = _headers(provider, key)
    kind = "anthropic" if provider.kind == "anthropic" else "openai"
    speaks = {dialect: dialect for dialect in paths}
    for asked, instead in _INSTEAD[kind].items():
        if asked not in speaks and instead in speaks:
            speaks[asked] = instead
    limits = provider.timeouts
    return Target(
        called=upstream.called,
        kind=provider.kind,
        model=upstream.model,
        origin=origin,
        heads={dialect: request_head(origin, path, headers) for dialect, path in paths.items()},
        speaks=speaks,
        timeouts=Timeouts(limits.connect_s, limits.first_byte_s, limits.idle_s, limits.total_s),
        price=price,
        limit_field=provider.output_limit_field,
        thinks_by=provider.thinks_by,
        forward_headers=frozenset(name.encode() for name in provider.forward_headers),
        key=key,
        media_tokens=_media_tokens(upstream),
        lacks=lacks,
    )


def _media_tokens(upstream: LlmUpstream) -> int:
    if upstream.media_tokens is not None:
        return upstream.media_tokens
    dear = (tokens for name, tokens in _DEAR_MEDIA.items() if name in upstream.model)
    return next(dear, MEDIA_TOKENS)


def origin_of(provider: LlmProvider, environ: Mapping[str, str] = os.environ) -> Origin:
    """Where a provider's connections go.

    Raises:
        ModelRefused: the environment names a proxy that cannot be used.
    """
    try:
        origin, _ = origin_at(
            provider.base_url,
            environ,
            ca_file=provider.ca_file,
            allow_private=provider.allow_private,
            max_connections=provider.max_connections,
        )
    except ValueError as error:
        raise ModelRefused(f"{provider.base_url}: {error}") from error
    return origin


def listing_head(provider: LlmProvider, origin: Origin, key: bytes | None) -> bytes:
    """What asks a provider for its models, which costs nothing, and shows that it takes the key."""
    base, path = urlsplit(provider.base_url).path, "/models"
    if provider.kind == "anthropic":
        path = "/v1/models?limit=1000"  # else it tells of twenty
        base = base.removesuffix("/v1")
    elif provider.kind == "azure":
        version = quote(provider.api_version or AZURE_VERSION, safe="")
        path = f"/openai/models?api-version={version}"
    return request_head(origin, base + path, _headers(provider, key), "GET")


def _paths(provider: LlmProvider, model: str) -> dict[Dialect, str]:
    base = urlsplit(provider.base_url).path
    if provider.kind == "anthropic":
        base = base.removesuffix("/v1")  # both ways of writing it are common
        return {dialect: base + path for dialect, path in _ANTHROPIC_PATHS.items()}
    if provider.kind == "azure":
        version = quote(provider.api_version or AZURE_VERSION, safe="")
        base = f"{base}/openai/deployments/{quote(model, safe='')}"
        return {
            dialect: f"{base}{path}?api-version={version}"
            for dialect, path in _OPENAI_PATHS.items()
            if dialect in provider.apis and dialect != Dialect.RESPONSES
        }
    return {
        dialect: base + path for dialect, path in _OPENAI_PATHS.items() if dialect in provider.apis
    }


def _headers(provider: LlmProvider, key: bytes | None) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", b"application/json")]
    if provider.kind == "anthropic":
        version = provider.api_version or ANTHROPIC_VERSION
        headers.append((b"anthropic-version", version.encode()))
    if key is not None:
        name = {"anthropic": b"x-api-key", "azure": b"api-key"}.get(provider.kind)
        headers.append((name, key) if name else (b"authorization", b"Bearer " + key))
    headers += [(name.encode(), value.encode()) for name, value in provider.headers.items()]
    return headers
