"""Tells what an upstream that speaks chat answers, to a client of Anthropic's messages.

Knows both shapes of an answer. Knows nothing of requests; streams are in `client_messages_stream`.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.wire.llm.asked import Asked
from gateway.wire.llm.calls import calls_of
from gateway.wire.llm.chat import only_choice, thought_of, words_of
from gateway.wire.llm.fields import Values, mapping, text, written
from gateway.wire.llm.usage import usage_of
from gateway.wire.llm.words import Dialect, Usage

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def answer(values: Values, asked: Asked) -> dict[str, Any]:
    """A whole answer of chat as one of messages.

    Raises:
        UpstreamFailed: it has no choice.
    """
    choice = only_choice(values)
    message = mapping(choice, "message")
    refusal = text(message, "refusal")
    content: list[dict[str, Any]] = []
    thought = thought_of(message)
    if thought:
        content.append({"type": "thinking", "thinking": thought, "signature": ""})
    if words := words_of(message) + refusal:
        content.append({"type": "text", "text": words, "citations": None})
    calls = calls_of(message)
    content += [_tool_use(call, f"toolu_{asked.id}_{at}") for at, call in enumerate(calls)]
    stop = stop_reason(text(choice, "finish_reason"), bool(calls), bool(refusal))
    usage = usage_of(Dialect.CHAT, values) or Usage(0, 0)
    return {**head(asked), "content": content, "stop_reason": stop, "usage": usage_told(usage)}


def head(asked: Asked) -> dict[str, Any]:
    """A message that says nothing yet, and has not ended."""
    return {
        "id": f"msg_{asked.id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_told(Usage(0, 0)),
    }


def stop_reason(finish: str, called: bool, refused: bool) -> str:
    """Anthropic's word for why an answer ended; some servers call tools and say `stop`."""
    if refused:
        return "refusal"
    if called and finish == "stop":
        return "tool_use"
    return STOP_REASONS.get(finish, "end_turn")


def usage_told(usage: Usage) -> dict[str, Any]:
    """A count as messages tell it: what came from a cache, or went into one, is told apart."""
    stored = usage.cache_write + usage.cache_write_1h
    return {
        "input_tokens": usage.input - usage.cache_read - stored,
        "cache_creation_input_tokens": stored,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


def _tool_use(call: Values, name: str) -> dict[str, Any]:
    function = mapping(call, "function")
    return {
        "type": "tool_use",
        "id": text(call, "id") or name,
        "name": text(function, "name"),
        "input": arguments_of(text(function, "arguments")),
    }


def arguments_of(told: str) -> Values:
    """The object that arguments are; where they are none, or too deep, their words, named."""
    try:
        arguments = orjson.loads(told or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if type(arguments) is dict and written(arguments):
        return arguments
    return {"unparsed": told} if told.strip() not in ("", "null") else {}
