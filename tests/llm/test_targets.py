"""What the document says of a provider is where its requests go, and how long they may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.llm import LlmProvider, LlmTimeouts, LlmUpstream
from gateway.errors import ModelRefused
from gateway.llm.targets import Target, origin_of, target_of
from gateway.llm.upstream.words import Origin, Proxy, Timeouts
from gateway.wire.llm.words import Dialect


def provider(**said: Any) -> LlmProvider:
    return LlmProvider(**{"base_url": "https://api.example:8443/v1", **said})


def target(one: LlmProvider, model: str = "gpt-4o") -> Target:
    upstream = LlmUpstream(provider="one", model=model)
    return target_of(upstream, one, origin_of(one, {}), b"sk-1", None)


def path_of(head: bytes) -> str:
    return head.split(b" ")[1].decode()


def test_connections_go_where_the_document_and_the_environment_say():
    one = provider(ca_file="ca.pem", allow_private=True, max_connections=7)
    proxies = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "inner.example"}
    known = Origin("https", "api.example", 8443, Path("ca.pem"), True, None, 7)
    assert origin_of(one, {}) == known
    assert origin_of(one, proxies).proxy == Proxy("proxy.example", 3128)
    assert origin_of(provider(base_url="https://inner.example"), proxies).proxy is None


def test_without_a_word_of_it_no_private_address_is_asked_and_the_machine_says_whom_to_trust():
    found = origin_of(provider(), {})
    assert (found.allow_private, found.ca_file, found.max_connections) == (False, None, 1000)


def test_a_proxy_that_cannot_be_used_refuses_the_version():
    with pytest.raises(ModelRefused, match=r"https://api\.example:8443/v1: "):
        origin_of(provider(), {"HTTPS_PROXY": "socks5://proxy.example"})


def test_each_may_take_as_long_as_its_provider_may():
    said = LlmTimeouts(connect_s=1, first_byte_s=2, idle_s=3, total_s=4)
    assert target(provider(timeouts=said)).timeouts == Timeouts(1, 2, 3, 4)
    assert target(provider()).timeouts == Timeouts(5, 600, 60, 600)  # as docs/llm.md says


@pytest.mark.parametrize(
    ("said", "dialect", "path"),
    [
        ({}, Dialect.CHAT, "/v1/chat/completions"),
        (
            {"base_url": "https://x.example/v1beta/openai"},
            Dialect.CHAT,
            "/v1beta/openai/chat/completions",
        ),
        ({"kind": "anthropic", "base_url": "https://x.example"}, Dialect.MESSAGES, "/v1/messages"),
        ({"kind": "anthropic"}, Dialect.MESSAGES, "/v1/messages"),
        ({"kind": "anthropic"}, Dialect.COUNT, "/v1/messages/count_tokens"),
        (
            {"kind": "azure", "base_url": "https://x.openai.azure.com"},
            Dialect.CHAT,
            "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
        ),
        (
            {
                "kind": "azure",
                "base_url": "https://x.openai.azure.com",
                "api_version": "2025-01-01",
            },
            Dialect.EMBEDDINGS,
            "/openai/deployments/my%20gpt/embeddings?api-version=2025-01-01",
        ),
    ],
)
def test_each_kind_of_provider_is_asked_at_its_own_paths(said, dialect, path):
    assert path_of(target(provider(**said), "my gpt").heads[dialect]) == path


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("openai", b"authorization: Bearer sk-1\r\n"),
        ("anthropic", b"x-api-key: sk-1\r\n"),
        ("azure", b"api-key: sk-1\r\n"),
    ],
)
def test_each_kind_of_provider_gets_its_key_where_it_looks_for_one(kind, line):
    for head in target(provider(kind=kind)).heads.values():
        assert line in head
        assert head.count(b"sk-1") == 1
        assert (b"anthropic-version: 2023-06-01\r\n" in head) == (kind == "anthropic")
