"""The attributes of a span that tells of a generation.

Knows names of OpenTelemetry's conventions for generative AI, and OpenInference's. Knows nothing of
spans. No name of content is among them.

Sources: OpenTelemetry semantic conventions 1.41, gen-ai spans; OpenInference's semantic
conventions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from gateway.spans import Generation

Attribute = tuple[str, str | int | float | bool | list[str]]

_TOKENS: Final = {
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "cache_read": "gen_ai.usage.cache_read.input_tokens",
    "cache_write": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
}
# Ours of a request; others are whole numbers.
_REAL: Final = frozenset({"temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty"})
_NO_ERRORS: Final = frozenset({"ok", "left", "filtered"})
_ALWAYS: Final = frozenset({"input", "output"})
_OPENINFERENCE_TOKENS: Final = {
    "input": "llm.token_count.prompt",
    "output": "llm.token_count.completion",
    "cache_read": "llm.token_count.prompt_details.cache_read",
    "cache_write": "llm.token_count.prompt_details.cache_write",
    "reasoning": "llm.token_count.completion_details.reasoning",
}


def attributes(one: Generation, openinference: bool = False) -> Iterator[Attribute]:
    """Of the span of one generation; `openinference`: by those names, too."""
    yield "gen_ai.operation.name", one["operation"]
    yield "gen_ai.provider.name", one["system"]
    if one["api"]:
        yield from _openais(one)
    yield "gen_ai.request.model", one["request_model"]
    yield "gen_ai.request.stream", one["stream"]
    yield "server.address", one["address"]
    yield "server.port", one["port"]
    yield "penstock.upstream", one["upstream"]
    yield "penstock.attempts", one["attempts"]
    yield "penstock.result", one["result"]
    if one["max_tokens"] is not None:
        yield "gen_ai.request.max_tokens", one["max_tokens"]
    for name, given in one["parameters"].items():
        if isinstance(given, list):
            yield f"gen_ai.request.{name}", given
        elif name != "choice.count" or given != 1:
            yield f"gen_ai.request.{name}", float(given) if name in _REAL else given
    if one["finish"]:
        yield "gen_ai.response.finish_reasons", [one["finish"]]
    for name, value in (
        ("gen_ai.response.model", one["response_model"]),
        ("gen_ai.response.id", one["response_id"]),
        ("openai.response.system_fingerprint", one["fingerprint"]),
    ):
        if value:
            yield name, value
    asked, content, _ = one["ages_ns"]
    if one["stream"] and asked is not None and content is not None:
        yield "gen_ai.response.time_to_first_chunk", (asked - content) / 1e9
    yield from _counted(one, _TOKENS)
    if one["cost_usd"] is not None:
        yield "penstock.cost_usd", one["cost_usd"]
    if is_error(one):
        yield "error.type", one["result"]
    if openinference:
        yield from _openinference(one)


def is_error(one: Generation) -> bool:
    """Whether it came to nothing that anybody could use."""
    return one["result"] not in _NO_ERRORS


def _openais(one: Generation) -> Iterator[Attribute]:
    """What the conventions say of OpenAI's APIs alone, whoever serves them."""
    yield "openai.api.type", one["api"]
    if one["service_tier"] not in ("", "auto"):  # as if nobody had said it
        yield "openai.request.service_tier", one["service_tier"]
    if one["served_tier"]:
        yield "openai.response.service_tier", one["served_tier"]


def _counted(one: Generation, names: dict[str, str]) -> Iterator[Attribute]:
    tokens = one["tokens"] or {}
    for kind, name in names.items():
        if tokens.get(kind) or (kind in _ALWAYS and kind in tokens):
            yield name, tokens[kind]


def _openinference(one: Generation) -> Iterator[Attribute]:
    embeds = one["operation"] == "embeddings"
    yield "openinference.span.kind", "EMBEDDING" if embeds else "LLM"
    yield "llm.system", one["system"]
    yield "llm.provider", one["system"]
    yield "llm.model_name", one["response_model"] or one["request_model"]
    said = one["parameters"] | {"max_tokens": one["max_tokens"], "stream": one["stream"]}
    said = {name: given for name, given in said.items() if given is not None}
    yield "llm.invocation_parameters", json.dumps(said, sort_keys=True)
    if one["finish"]:
        yield "llm.finish_reason", one["finish"]
    yield from _counted(one, _OPENINFERENCE_TOKENS)
    if one["tokens"] is not None:
        yield "llm.token_count.total", one["tokens"]["input"] + one["tokens"]["output"]
    if one["cost_usd"] is not None:
        yield "llm.cost.total", one["cost_usd"]
