"""Asks an upstream that speaks chat for a client that speaks Anthropic's messages.

Knows both shapes of a request. Knows nothing of answers; see `client_messages_answers`. Marks for
a cache are left out: such upstreams cache by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from gateway.wire.llm.asked import Asked, leave_out, picked, unsupported
from gateway.wire.llm.fields import Values, mapping, mappings, text, written
from gateway.wire.llm.media import part_of_block
from gateway.wire.llm.thinking import effort_of

Message = dict[str, Any]

MAX_USER_CHARS = 64
"""A longer name of a user is refused by OpenAI."""

_AS_THEY_ARE = ("model", "stream", "temperature", "top_p")
_TRANSLATED = (
    *("messages", "system", "max_tokens", "stop_sequences", "tools", "tool_choice", "metadata"),
    *("thinking", "output_config"),
)
_WITHOUT_EFFECT = ("cache_control", "service_tier", "inference_geo")
_KNOWN = frozenset({*_AS_THEY_ARE, *_TRANSLATED, *_WITHOUT_EFFECT})
# What the provider did itself, and what the model thought: chat has no place for either.
_LEFT_OUT = frozenset({"thinking", "redacted_thinking"})


def request(values: Values, asked: Asked) -> dict[str, Any]:
    """A request of messages as one of chat.

    Raises:
        InvalidParameter: what it says cannot be said, and must not be left out.
    """
    leave_out(values, _KNOWN, asked)
    sent = {
        **picked(values, *_AS_THEY_ARE),
        "messages": list(_conversation(values, asked)),
        # Zero would have only warmed the cache.
        asked.limit_field: max(1, values.get("max_tokens") or 0),
        **_tools(values, asked),
    }
    if stops := values.get("stop_sequences"):
        sent["stop"] = stops
    if user := text(mapping(values, "metadata"), "user_id"):
        sent["user"] = _short(user)
    if effort := effort_of(values, asked):
        sent["reasoning_effort"] = effort
    form = mapping(mapping(values, "output_config"), "format")
    if form.get("type") == "json_schema":
        schema = {"name": "answer", "schema": form.get("schema"), "strict": True}
        sent["response_format"] = {"type": "json_schema", "json_schema": schema}
    return sent


def _short(user: str) -> str:
    if len(user) <= MAX_USER_CHARS:
        return user
    return hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()


def _conversation(values: Values, asked: Asked) -> Iterator[Message]:
    if system := _words(values, "system"):
        yield {"role": "system", "content": system}
    for number, message in enumerate(mappings(values, "messages")):
        where = f"messages[{number}].content"
        role = text(message, "role")
        if role == "assistant":
            yield _assistant(message, where, asked)
        elif role == "system":
            yield {"role": "system", "content": _words(message, "content")}
        else:
            yield from _user(message, where)


def _words(values: Values, key: str) -> str:
    """A text, or the texts of blocks."""
    content = values.get(key)
    if type(content) is str:
        return content
    return "\n\n".join(text(block, "text") for block in mappings(values, key))


def _blocks(message: Values) -> list[dict[str, Any]]:
    content = message.get("content")
    if type(content) is str:
        return [{"type": "text", "text": content}]
    return mappings(message, "content")


def _assistant(message: Values, where: str, asked: Asked) -> Message:
    words, calls = [], []
    for number, block in enumerate(_blocks(message)):
        kind = text(block, "type")
        if kind == "text":
            words.append(text(block, "text"))
        elif kind == "tool_use":
            function = {"name": text(block, "name"), "arguments": written(block.get("input") or {})}
            calls.append({"id": text(block, "id"), "type": "function", "function": function})
        elif kind not in _LEFT_OUT:
            unsupported(f"{where}[{number}]", asked)
    told: Message = {"role": "assistant", "content": "".join(words) if words or not calls else None}
    return {**told, "tool_calls": calls} if calls else told


def _user(message: Values, where: str) -> Iterator[Message]:
    """Results of tools are messages of their own, before what the user says beside them."""
    parts: list[dict[str, Any]] = []
    for number, block in enumerate(_blocks(message)):
        place = f"{where}[{number}]"
        if block.get("type") == "tool_result":
            words, pictures = _result(block, place)
            if block.get("is_error") is True:
                words = _failed(words)
            yield {"role": "tool", "tool_call_id": text(block, "tool_use_id"), "content": words}
            parts += pictures
        else:
            parts.append(part_of_block(block, place))
    if parts:
        yield {"role": "user", "content": _plain(parts)}


def _result(block: Values, where: str) -> tuple[str, list[dict[str, Any]]]:
    """The words of a tool's result, and its pictures, which only a user may send in chat."""
    parts = [
        part_of_block(one, f"{where}.content[{number}]")
        for number, one in enumerate(_blocks(block))
    ]
    words = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return words, [part for part in parts if part["type"] != "text"]


def _failed(words: str) -> str:
    """What a tool says that has failed: in chat nothing but its words can tell."""
    return words if words.lower().startswith("error") else f"Error: {words}"


def _plain(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and parts[0]["type"] == "text":
        words: str = parts[0]["text"]
        return words
    return parts


def _tools(values: Values, asked: Asked) -> dict[str, Any]:
    tools = list(_functions(values, asked))
    if not tools:
        return {}
    sent: dict[str, Any] = {"tools": tools}
    choice = mapping(values, "tool_choice")
    kind = text(choice, "type")
    if kind == "tool":
        function = {"name": text(choice, "name")}
        sent["tool_choice"] = {"type": "function", "function": function}
    elif kind:
        sent["tool_choice"] = {"any": "required"}.get(kind, kind)
    if choice.get("disable_parallel_tool_use") is True:
        sent["parallel_tool_calls"] = False
    return sent


def _functions(values: Values, asked: Asked) -> Iterator[dict[str, Any]]:
    for number, tool in enumerate(mappings(values, "tools")):
        if text(tool, "type") not in ("", "custom"):
            unsupported(f"tools[{number}]", asked)  # one that Anthropic runs, or has learnt
            continue
        function = picked(tool, "name", "description", "strict")
        function["parameters"] = tool.get("input_schema") or {"type": "object", "properties": {}}
        yield {"type": "function", "function": function}
