"""Anthropic's messages: reads a request, writes an answer, whole or in pieces.

It refuses what Anthropic refuses and a translation may get wrong: unknown fields, no `max_tokens`,
a temperature above 1, calls of tools whose results do not follow at once. Knows the dialect. Knows
nothing of connections, of time, or of why an answer is what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.llm.fake.content import CHARS_PER_TOKEN, Content, Counted, ToolCall, Wanted
from gateway.llm.fake.errors import Kind, anthropic_body
from gateway.llm.fake.frames import Piece, framed
from gateway.llm.fake.script import Script
from gateway.llm.fake.texts import chars_in, last_text

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_FIELDS = frozenset(
    {"model", "max_tokens", "messages", "system", "temperature", "top_p", "top_k", "stream"}
    | {"stop_sequences", "tools", "tool_choice", "thinking", "output_config", "metadata"}
    | {"service_tier", "cache_control", "container", "inference_geo", "context_management"}
)
_SIGNATURE = "c2lnbmF0dXJl"


def read(values: Mapping[str, Any]) -> Wanted:
    """What a request asks for.

    Raises:
        ValueError: Anthropic would refuse it.
    """
    _check(values)
    choice = values.get("tool_choice") or {}
    tools = [tool for tool in values.get("tools") or () if "input_schema" in tool]
    if choice.get("type") == "tool":
        tools = [tool for tool in tools if tool["name"] == choice["name"]]
    form = (values.get("output_config") or {}).get("format") or {}
    return Wanted(
        model=values["model"],
        stream=bool(values.get("stream")),
        prompt_chars=prompt_chars(values),
        last_text=last_text(values["messages"]),
        max_tokens=values["max_tokens"],
        tools=[(tool["name"], tool["input_schema"]) for tool in tools]
        if choice.get("type") != "none"
        else (),
        must_call=choice.get("type") in ("any", "tool"),
        schema=form.get("schema"),
        tells_usage=True,
    )


def prompt_chars(values: Mapping[str, Any]) -> int:
    """Characters of what is to be read."""
    return chars_in(values["messages"]) + chars_in(values.get("system"))


def count(values: Mapping[str, Any], script: Script) -> tuple[dict[str, Any], None]:
    """The answer of `count_tokens`."""
    told = script.input if script.input >= 0 else -(-prompt_chars(values) // CHARS_PER_TOKEN)
    return {"input_tokens": told}, None


def whole(
    content: Content, wanted: Wanted, script: Script, number: int, created: int
) -> dict[str, Any]:
    """A whole answer."""
    message = _message(wanted, script, number)
    message |= {"content": [_block(block) for block in _blocks(content)]} | _stopped(content)
    del message["usage"]
    told = {} if script.usage == "absent" else {"usage": usage(content.counted)}
    return message | told


def pieces(
    content: Content, wanted: Wanted, script: Script, number: int, created: int
) -> Iterator[Piece]:
    """The events of a streamed answer."""
    told = usage(content.counted)
    message = _message(wanted, script, number)
    if script.usage == "absent":
        del message["usage"]
    else:
        message["usage"] = told | {"output_tokens": 1, "output_tokens_details": None}
    yield _event("message_start", message=message)
    for index, block in enumerate(_blocks(content)):
        yield from _streamed(index, block)
    if script.usage == "every":  # cumulative, in several
        yield _event("message_delta", delta={}, usage={"output_tokens": 1})
    end: dict[str, Any] = {"output_tokens": told["output_tokens"]}
    if content.counted.reasoning:
        end["output_tokens_details"] = told["output_tokens_details"]
    if script.usage == "always":  # with what message_start said, as newer answers have it
        end = told
    stopped: dict[str, Any] = {"delta": _stopped(content)}
    if script.usage != "absent":
        stopped["usage"] = end
    yield _event("message_delta", **stopped)
    if script.usage == "null_after":
        yield _event("message_delta", delta={}, usage=None)
    yield _event("message_stop")


def failed(kind: Kind, message: str, number: int) -> bytes:
    """The event of an error within a stream."""
    return framed(orjson.dumps(anthropic_body(kind, message, number)), "error")


def usage(counted: Counted) -> dict[str, Any]:
    """`usage` of an answer; its `input_tokens` are those that no cache had to do with."""
    written = counted.cache_write + counted.cache_write_1h
    return {
        "input_tokens": counted.input - counted.cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": counted.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counted.cache_write,
            "ephemeral_1h_input_tokens": counted.cache_write_1h,
        },
        "output_tokens": counted.output,
        "output_tokens_details": {"thinking_tokens": counted.reasoning},
        "service_tier": "standard",
    }


def _message(wanted: Wanted, script: Script, number: int) -> dict[str, Any]:
    return {
        "id": f"msg_fake{number}",
        "type": "message",
        "role": "assistant",
        "model": script.model or wanted.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": None,
    }


def _stopped(content: Content) -> dict[str, Any]:
    reason = _STOP.get(content.finish, content.finish)
    stopped: dict[str, Any] = {"stop_reason": reason, "stop_sequence": None}
    if reason == "refusal":
        stopped["stop_details"] = {"type": "refusal", "category": "general_harms"}
    return stopped


Block = tuple[str, tuple[str, ...], ToolCall | None]


def _blocks(content: Content) -> Iterator[Block]:
    """Kind, tokens and, of a call of a tool, the call."""
    if content.reasoning:
        yield "thinking", content.reasoning, None
    if content.text:
        yield "text", content.text, None
    for call in content.calls:
        yield "tool_use", call.arguments, call


def _block(block: Block) -> dict[str, Any]:
    kind, tokens, call = block
    text = "".join(tokens)
    if call is not None:
        try:
            values = orjson.loads(text)
        except orjson.JSONDecodeError:
            values = {}  # there is no way to say it: `input` is an object
        return {"type": kind, "id": call.id, "name": call.name, "input": values}
    signed = {"signature": _SIGNATURE} if kind == "thinking" else {}
    return {"type": kind, kind: text, **signed}


def _streamed(index: int, block: Block) -> Iterator[Piece]:
    kind, tokens, call = block
    if call is not None:
        start: dict[str, Any] = {"type": kind, "id": call.id, "name": call.name, "input": {}}
        delta, word = "input_json_delta", "partial_json"
    else:
        start = {"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
        delta, word = f"{kind}_delta", kind
    yield _event("content_block_start", token=call is not None, index=index, content_block=start)
    for token in tokens:
        part = {"type": delta, word: token}
        yield _event("content_block_delta", token=True, index=index, delta=part)
    if kind == "thinking":
        signed = {"type": "signature_delta", "signature": _SIGNATURE}
        yield _event("content_block_delta", index=index, delta=signed)
    yield _event("content_block_stop", index=index)


def _event(kind: str, token: bool = False, **values: Any) -> Piece:
    return Piece(framed(orjson.dumps({"type": kind, **values}), kind), token)


def _check(values: Mapping[str, Any]) -> None:
    strange = sorted(values.keys() - _FIELDS)
    if strange:
        raise ValueError(f"{strange[0]}: Extra inputs are not permitted")
    if "max_tokens" not in values:
        raise ValueError("max_tokens: Field required")
    if not 0 <= (values.get("temperature") or 0) <= 1:
        raise ValueError("temperature: range: 0..1")
    messages = values["messages"]
    for message in messages:
        if message["role"] not in ("user", "assistant", "system"):
            raise ValueError(f"messages: Unexpected role '{message['role']}'")
    for message, after in zip(messages, [*messages[1:], {"content": []}], strict=True):
        called = {block["id"] for block in _parts(message) if block["type"] == "tool_use"}
        told = {
            block["tool_use_id"] for block in _parts(after) if block.get("type") == "tool_result"
        }
        if called - told:
            raise ValueError(
                "`tool_use` ids were found without `tool_result` blocks immediately after"
            )
        if told - called:
            raise ValueError("unexpected `tool_use_id` found in `tool_result` blocks")


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return content if isinstance(content, list) else []
