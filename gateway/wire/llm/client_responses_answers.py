"""Tells what an upstream that speaks chat answers, to a client of OpenAI's responses.

Knows both shapes of an answer. Knows nothing of requests beyond what an answer repeats of them;
streams are in `client_responses_stream`.
"""

from __future__ import annotations

from typing import Any

from gateway.wire.llm.asked import Asked
from gateway.wire.llm.calls import calls_of
from gateway.wire.llm.chat import only_choice, thought_of, words_of
from gateway.wire.llm.fields import Values, mapping, text
from gateway.wire.llm.usage import usage_of
from gateway.wire.llm.words import Dialect, Usage

Item = dict[str, Any]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
REPEATED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""What an answer repeats of its request, and says where that said nothing."""


def answer(values: Values, asked: Asked) -> dict[str, Any]:
    """A whole answer of chat as one of responses.

    Raises:
        UpstreamFailed: it has no choice.
    """
    choice = only_choice(values)
    message = mapping(choice, "message")
    output: list[Item] = []
    if thought := thought_of(message):
        output.append(reasoning_item(asked, len(output), thought))
    told = {"output_text": words_of(message), "refusal": text(message, "refusal")}
    for kind, words in told.items():
        if words:
            output.append(message_item(asked, len(output), [part(kind, words)]))
    for call in calls_of(message):
        function = mapping(call, "function")
        arguments = text(function, "arguments")
        item = call_item(asked, len(output), text(call, "id"), text(function, "name"), arguments)
        output.append(item)
    finish = text(choice, "finish_reason")
    return response(asked, output, finish, usage_of(Dialect.CHAT, values))


def response(asked: Asked, output: list[Item], finish: str, usage: Usage | None) -> dict[str, Any]:
    """An answer of responses that has ended.

    Args:
        asked: what it answers.
        output: its items.
        finish: chat's word for why it ended.
        usage: what it took, where that is known.
    """
    why = _INCOMPLETE.get(finish)
    return {
        **begun(asked),
        "status": "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "output": output,
        "usage": None if usage is None else usage_told(usage),
    }


def begun(asked: Asked) -> dict[str, Any]:
    """An answer of responses that says nothing yet."""
    repeated = {
        name: default if asked.request.get(name) is None else asked.request[name]
        for name, default in REPEATED.items()
    }
    return {
        "id": f"resp_{asked.id}",
        "object": "response",
        "created_at": asked.created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": asked.model,
        "output": [],
        **repeated,
        "store": False,  # whatever was asked: nobody keeps it
        "usage": None,
    }


def usage_told(usage: Usage) -> dict[str, Any]:
    """A count as responses tell it."""
    stored = usage.cache_write + usage.cache_write_1h
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": stored},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def part(kind: str, words: str) -> dict[str, Any]:
    """A part of a message: `output_text` or `refusal`."""
    if kind == "refusal":
        return {"type": "refusal", "refusal": words}
    return {"type": "output_text", "text": words, "annotations": [], "logprobs": []}


def message_item(
    asked: Asked, place: int, parts: list[dict[str, Any]], status: str = "completed"
) -> Item:
    """What the model says, at this place of the output."""
    return {
        "id": f"msg_{asked.id}_{place}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": parts,
    }


def call_item(
    asked: Asked, place: int, call: str, name: str, arguments: str, status: str = "completed"
) -> Item:
    """A call of a tool; `call` is its id in chat, by which its result is sent back."""
    return {
        "id": f"fc_{asked.id}_{place}",
        "type": "function_call",
        "status": status,
        "call_id": call or f"call_{asked.id}_{place}",
        "name": name,
        "arguments": arguments,
    }


def reasoning_item(asked: Asked, place: int, thought: str) -> Item:
    """What the model thought; an empty one is only begun."""
    summary = [{"type": "summary_text", "text": thought}] if thought else []
    return {"id": f"rs_{asked.id}_{place}", "type": "reasoning", "summary": summary}
