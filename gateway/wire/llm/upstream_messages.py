"""Asks an upstream that speaks Anthropic's messages for a client that speaks chat.

Knows both shapes of a request. Knows nothing of answers; see `upstream_messages_answers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from gateway.wire.llm.asked import Asked, cache_mark, cannot, leave_out, picked, unsupported
from gateway.wire.llm.fields import Values, mapping, mappings, text
from gateway.wire.llm.media import block_of_part
from gateway.wire.llm.thinking import thinking_of

Block = dict[str, Any]

_AS_THEY_ARE = ("model", "stream", "top_p", "top_k", "cache_control", "container", "inference_geo")
_TRANSLATED = (
    *("messages", "max_completion_tokens", "max_tokens", "temperature", "stop", "tools"),
    *("tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "thinking"),
    *("user", "safety_identifier"),
)
# They ask for nothing that an answer would show.
_WITHOUT_EFFECT = (
    *("stream_options", "metadata", "store", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "service_tier"),
)
_KNOWN = frozenset({*_AS_THEY_ARE, *_TRANSLATED, *_WITHOUT_EFFECT})
_NOT_IN_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_ANY_OBJECT = {"type": "object", "properties": {}}


def request(values: Values, asked: Asked) -> dict[str, Any]:
    """A request of chat as one of messages.

    Raises:
        InvalidParameter: what it says cannot be said, and must not be left out.
    """
    if values.get("functions"):
        raise cannot("functions", "the model's provider knows `tools` alone")
    leave_out(values, _KNOWN, asked)
    system, messages = _conversation(mappings(values, "messages"))
    sent = {
        **picked(values, *_AS_THEY_ARE),
        "max_tokens": _limit(values, asked),
        "messages": messages,
        **_tools(values, asked),
    }
    if system:
        sent["system"] = system
    if values.get("temperature") is not None:
        sent["temperature"] = _temperature(values, asked)
    if stops := _stops(values):
        sent["stop_sequences"] = stops
    if user := text(values, "safety_identifier") or text(values, "user"):
        sent["metadata"] = {"user_id": user}
    if form := _format(values, asked):
        sent["output_config"] = {"format": form}
    return thinking_of(values, sent, asked)


def _limit(values: Values, asked: Asked) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        limit = values.get(name)
        if type(limit) is int:
            return limit
    return asked.max_output_tokens


def _temperature(values: Values, asked: Asked) -> float:
    """Anthropic's ends at 1."""
    temperature = values["temperature"]
    if type(temperature) not in (int, float):
        raise cannot("temperature", "expected a number")
    if temperature > 1:
        unsupported(
            "temperature",
            asked,
            f"expected 0 to 1, which is Anthropic's range, got {temperature:g}",
        )
    return min(float(temperature), 1.0)


def _stops(values: Values) -> list[str]:
    stop = values.get("stop")
    stops = stop if type(stop) is list else [stop]
    # One of white space alone is refused.
    return [one for one in stops if type(one) is str and one.strip()]


def _format(values: Values, asked: Asked) -> dict[str, Any] | None:
    wanted = mapping(values, "response_format")
    kind = wanted.get("type")
    if kind == "json_schema":
        return {"type": "json_schema", "schema": mapping(wanted, "json_schema").get("schema", {})}
    if kind == "json_object":
        unsupported("response_format", asked)  # its prompt must ask for JSON anyway
    return None


def _conversation(given: list[dict[str, Any]]) -> tuple[list[Block], list[dict[str, Any]]]:
    """System prompts apart, whatever their place; neighbours of one role in one message."""
    system: list[Block] = []
    turns: list[tuple[str, list[Block]]] = []
    for number, message in enumerate(given):
        role, where = text(message, "role"), f"messages[{number}]"
        blocks = list(_blocks(role, message, where))
        if role in ("system", "developer"):
            system += blocks
            continue
        speaker = "assistant" if role == "assistant" else "user"
        if turns and turns[-1][0] == speaker:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((speaker, blocks))
    return system, [{"role": role, "content": _plain(blocks)} for role, blocks in turns]


def _plain(blocks: list[Block]) -> str | list[Block]:
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        words: str = blocks[0]["text"]
        return words
    return blocks


def _blocks(role: str, message: Values, where: str) -> Iterator[Block]:
    if role in ("system", "developer", "user"):
        yield from _content(message, where)
    elif role == "assistant":
        yield from _thoughts(message)
        yield from _content(message, where)
        if refusal := text(message, "refusal"):
            yield {"type": "text", "text": refusal}
        for number, call in enumerate(mappings(message, "tool_calls")):
            yield _tool_use(call, f"{where}.tool_calls[{number}]")
    elif role == "tool":
        content = list(_content(message, where))
        mark = content[-1].pop("cache_control", None) if content else None
        result = {"type": "tool_result", "tool_use_id": tool_id(text(message, "tool_call_id"))}
        yield {
            **result,
            "content": _plain(content) if content else "",
            **({"cache_control": mark} if mark else {}),
        }
    else:
        raise cannot(f"{where}.role", f"the model's provider has no role {role!r}")


def _thoughts(message: Values) -> Iterator[Block]:
    """What an earlier answer thought, as far as it is signed: without, it is refused."""
    for block in mappings(message, "thinking_blocks"):
        if block.get("signature") or block.get("data"):
            yield {key: value for key, value in block.items() if key != "index"}


def _content(message: Values, where: str) -> Iterator[Block]:
    """Without empty texts, which are refused; a mark on the message is put on its last block."""
    content = message.get("content")
    parts: Iterable[Values] = (
        [{"type": "text", "text": content}]
        if type(content) is str
        else mappings(message, "content")
    )
    blocks = [
        block_of_part(part, f"{where}.content[{number}]") for number, part in enumerate(parts)
    ]
    blocks = [block for block in blocks if block.get("text") != ""]
    if blocks:
        blocks[-1].update(cache_mark(message))
    return iter(blocks)


def tool_id(identifier: str) -> str:
    """The name of a call in the characters that Anthropic takes."""
    return _NOT_IN_AN_ID.sub("_", identifier) or "_"


def _tool_use(call: Values, where: str) -> Block:
    function = mapping(call, "function")
    try:
        arguments = orjson.loads(text(function, "arguments") or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if type(arguments) is not dict:
        raise cannot(f"{where}.function.arguments", "expected a JSON object as text")
    return {
        "type": "tool_use",
        "id": tool_id(text(call, "id")),
        "name": text(function, "name"),
        "input": arguments,
    }


def _tools(values: Values, asked: Asked) -> dict[str, Any]:
    choice, allowed = _tool_choice(values.get("tool_choice"))
    tools = [
        _tool(tool, f"tools[{number}]") for number, tool in enumerate(mappings(values, "tools"))
    ]
    if allowed is not None:
        tools = [tool for tool in tools if tool.get("name") in allowed]
    if not tools:
        return {}
    if values.get("parallel_tool_calls") is False:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    return {"tools": tools} | ({"tool_choice": choice} if choice else {})


def _tool(tool: Values, where: str) -> dict[str, Any]:
    kind = text(tool, "type")
    if kind == "custom":
        raise cannot(where, "the model's provider takes no tool of type 'custom'")
    if kind != "function":
        return dict(tool)  # one of Anthropic's own
    function = mapping(tool, "function")
    schema = mapping(function, "parameters") or _ANY_OBJECT
    return {
        "name": text(function, "name"),
        **picked(function, "description", "strict"),
        "input_schema": schema if "type" in schema else {"type": "object", **schema},
        **cache_mark(tool),
    }


def _tool_choice(choice: Any) -> tuple[dict[str, Any] | None, set[str] | None]:
    """The choice, and the names that it is limited to where it is."""
    if choice is None:
        return None, None
    if type(choice) is str:
        kind = {"auto": "auto", "required": "any", "none": "none"}.get(choice)
        if kind:
            return {"type": kind}, None
    elif type(choice) is dict and choice.get("type") == "function":
        return {"type": "tool", "name": text(mapping(choice, "function"), "name")}, None
    elif type(choice) is dict and choice.get("type") == "allowed_tools":
        allowed = mapping(choice, "allowed_tools")
        names = {text(mapping(one, "function"), "name") for one in mappings(allowed, "tools")}
        return {"type": "any" if allowed.get("mode") == "required" else "auto"}, names
    raise cannot("tool_choice", "the model's provider has no such choice")
