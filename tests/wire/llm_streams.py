"""Answers in the shapes of their providers, each whole and as the events of a stream."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.wire.llm.sse import frame
from gateway.wire.llm.words import Dialect

CHAT_HEAD = {"id": "chatcmpl-1", "created": 1700000000, "model": "gpt-4o-mini-2024-07-18"}
CHAT_USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 12,
    "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
}
MESSAGE_USAGE: dict[str, Any] = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
    "output_tokens": 25,
    "output_tokens_details": {"thinking_tokens": 7},
    "service_tier": "standard",
}


@dataclass(frozen=True)
class Shape:
    """One answer of one provider, told both ways."""

    name: str
    dialect: Dialect
    answer: dict[str, Any]
    events: Sequence[tuple[bytes, bytes]]

    @property
    def stream(self) -> bytes:
        return b"".join(frame(data, event) for event, data in self.events)


def chunk(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {**CHAT_HEAD, "object": "chat.completion.chunk", "system_fingerprint": "fp_1"}
    return {**head, "choices": list(choices), **more}


def delta(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def chat_events(*chunks: dict[str, Any], done: bool = True) -> list[tuple[bytes, bytes]]:
    events = [(b"", orjson.dumps(one)) for one in chunks]
    return [*events, (b"", b"[DONE]")] if done else events


def completion(*choices: dict[str, Any], usage: Any = CHAT_USAGE) -> dict[str, Any]:
    head = {**CHAT_HEAD, "object": "chat.completion", "system_fingerprint": "fp_1"}
    return {**head, "choices": list(choices), "usage": usage}


def choice(finish: str, index: int = 0, **message: Any) -> dict[str, Any]:
    whole = {"role": "assistant", "content": None, "refusal": None, **message}
    return {"index": index, "message": whole, "logprobs": None, "finish_reason": finish}


def named(*events: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    return [(event["type"].encode(), orjson.dumps(event)) for event in events]


def call(identifier: str, name: str, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {**more, "id": identifier, "type": "function", "function": function}


def piece(index: int, arguments: str) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments}}


def message(*content: dict[str, Any], stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": MESSAGE_USAGE,
        **more,
    }


def message_start(**usage: Any) -> dict[str, Any]:
    told = {**MESSAGE_USAGE, "output_tokens": 1, "output_tokens_details": None, **usage}
    return {"type": "message_start", "message": {**message(), "stop_reason": None, "usage": told}}


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": one} for one in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(index: int, *pieces: str) -> list[dict[str, Any]]:
    deltas = [{"type": "text_delta", "text": one} for one in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def tool_block(index: int, identifier: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    start = {"type": "tool_use", "id": identifier, "name": name, "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": one} for one in pieces]
    return block(index, start, *deltas)


def message_end(stop: str = "end_turn", **usage: Any) -> list[dict[str, Any]]:
    told = {
        "output_tokens": MESSAGE_USAGE["output_tokens"],
        "output_tokens_details": MESSAGE_USAGE["output_tokens_details"],
        **usage,
    }
    changed = {"stop_reason": stop, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": changed, "usage": told},
        {"type": "message_stop"},
    ]


THINKING = {"type": "thinking", "thinking": "Hm, two cities.", "signature": "c2lnbmVk"}
THINKING_BLOCK = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "Hm, "},
    {"type": "thinking_delta", "thinking": "two cities."},
    {"type": "signature_delta", "signature": "c2lnbmVk"},
)


def response(*output: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "gpt-4o-mini-2024-07-18",
        "output": list(output),
        "usage": {
            "input_tokens": 30,
            "input_tokens_details": {"cached_tokens": 16},
            "output_tokens": 12,
            "output_tokens_details": {"reasoning_tokens": 4},
            "total_tokens": 42,
        },
        **more,
    }


def said(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


WHOLE_RESPONSE = response(
    said("Hello you"),
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city":"Paris"}',
        "status": "completed",
    },
)

SHAPES = [
    Shape(
        "chat text",
        Dialect.CHAT,
        completion(choice("stop", content="Héllo wörld")),
        chat_events(
            chunk(delta(role="assistant", content="", refusal=None), usage=None),
            chunk(delta(content="Héllo "), usage=None, obfuscation="xyz"),
            chunk(delta(content="wörld"), usage=None),
            chunk(delta(finish="stop"), usage=None),
            chunk(usage=CHAT_USAGE),
        ),
    ),
    Shape(
        "chat usage on the last content, and two choices",
        Dialect.CHAT,
        completion(choice("stop", content="one"), choice("length", 1, content="two")),
        chat_events(
            chunk(delta(role="assistant", content="o")),
            chunk(delta(1, role="assistant", content="t")),
            chunk(delta(1, content="wo")),
            chunk(delta(0, content="ne")),
            chunk(delta(1, finish="length")),
            chunk(delta(0, finish="stop"), usage=CHAT_USAGE),
        ),
    ),
    Shape(
        "chat usage on an empty choice",
        Dialect.CHAT,
        completion(choice("stop", content="one")),
        chat_events(
            chunk(delta(role="assistant", content="one")),
            chunk(delta(finish="stop")),
            chunk(delta(), usage=CHAT_USAGE),
        ),
    ),
    Shape(
        "chat without usage",
        Dialect.CHAT,
        completion(choice("stop", content="one"), usage=None),
        chat_events(
            chunk(delta(role="assistant", content="one"), usage=None),
            chunk(delta(finish="stop")),
        ),
    ),
    Shape(
        "chat parallel tools",
        Dialect.CHAT,
        completion(
            choice(
                "tool_calls",
                tool_calls=[
                    call("call_1", "weather", '{"city":"Paris"}'),
                    call("call_2", "time", "{}"),
                ],
            )
        ),
        chat_events(
            chunk(delta(role="assistant", content=None)),
            chunk(delta(tool_calls=[call("call_1", "weather", "", index=0)])),
            chunk(delta(tool_calls=[piece(0, '{"city":')])),
            chunk(delta(tool_calls=[call("call_2", "time", "", index=1)])),
            chunk(delta(tool_calls=[piece(1, "{}"), piece(0, '"Paris"}')])),
            chunk(delta(finish="tool_calls")),
            chunk(usage=CHAT_USAGE),
        ),
    ),
    Shape(
        "chat refusal",
        Dialect.CHAT,
        completion(choice("stop", refusal="I will not.")),
        chat_events(
            chunk(delta(role="assistant", content=None, refusal="")),
            chunk(delta(refusal="I will ")),
            chunk(delta(refusal="not.")),
            chunk(delta(finish="stop")),
            chunk(usage=CHAT_USAGE),
        ),
    ),
    Shape(
        "chat reasoning",
        Dialect.CHAT,
        completion(choice("stop", reasoning_content="Let me see.", content="42")),
        chat_events(
            chunk(delta(role="assistant", content="")),
            chunk(delta(reasoning_content="Let me ")),
            chunk(delta(reasoning_content="see.")),
            chunk(delta(content="42")),
            chunk(delta(finish="stop")),
            chunk(usage=CHAT_USAGE),
        ),
    ),
    Shape(
        "chat in parts",
        Dialect.CHAT,
        completion(
            choice(
                "stop",
                content=[
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                    {"type": "text", "text": "42"},
                ],
            )
        ),
        chat_events(
            chunk(delta(role="assistant", content="")),
            chunk(delta(content=[{"type": "thinking", "thinking": []}])),
            chunk(delta(content=[{"type": "text", "text": "4"}])),
            chunk(delta(content="2")),
            chunk(delta(finish="stop")),
            chunk(usage=CHAT_USAGE),
        ),
    ),
    Shape(
        "completions",
        Dialect.COMPLETIONS,
        {
            **CHAT_HEAD,
            "object": "text_completion",
            "choices": [{"index": 0, "text": "a b", "finish_reason": "length", "logprobs": None}],
            "usage": CHAT_USAGE,
        },
        chat_events(
            {**CHAT_HEAD, "choices": [{"index": 0, "text": "a ", "finish_reason": None}]},
            {**CHAT_HEAD, "choices": [{"index": 0, "text": "b", "finish_reason": "length"}]},
            {**CHAT_HEAD, "choices": [], "usage": CHAT_USAGE},
        ),
    ),
    Shape(
        "messages text",
        Dialect.MESSAGES,
        message({"type": "text", "text": "Hello wörld"}),
        named(
            message_start(),
            {"type": "ping"},
            *text_block(0, "Hello ", "wörld"),
            *message_end(),
        ),
    ),
    Shape(
        "messages thinking and tools",
        Dialect.MESSAGES,
        message(
            THINKING,
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
            stop="tool_use",
        ),
        named(
            message_start(),
            *THINKING_BLOCK,
            *text_block(1, "Looking."),
            *tool_block(2, "toolu_1", "weather", "", '{"city": ', '"Paris"}'),
            *tool_block(3, "toolu_2", "time", ""),
            *message_end("tool_use"),
        ),
    ),
    Shape(
        "messages refusal, and a last count without input",
        Dialect.MESSAGES,
        message(stop="refusal"),
        named(
            message_start(),
            *message_end("refusal", input_tokens=0, cache_read_input_tokens=None)[:1],
            *message_end("refusal"),
        ),
    ),
    Shape(
        "messages whose counts come last",
        Dialect.MESSAGES,
        message({"type": "text", "text": "Hi"}),
        named(
            message_start(input_tokens=0, cache_creation_input_tokens=0, cache_creation=None),
            *text_block(0, "Hi"),
            *message_end(**MESSAGE_USAGE),
        ),
    ),
    Shape(
        "responses text and a call",
        Dialect.RESPONSES,
        WHOLE_RESPONSE,
        named(
            {"type": "response.created", "response": response(status="in_progress")},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hello "},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "you"},
            {"type": "response.completed", "response": WHOLE_RESPONSE},
        ),
    ),
    Shape(
        "responses cut by their limit",
        Dialect.RESPONSES,
        response(
            said("Hel"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}
        ),
        named(
            {"type": "response.created", "response": response(status="in_progress")},
            {
                "type": "response.incomplete",
                "response": response(
                    said("Hel"),
                    status="incomplete",
                    incomplete_details={"reason": "max_output_tokens"},
                ),
            },
        ),
    ),
]


def split(data: bytes, seed: int) -> Iterable[bytes]:
    """The same bytes in pieces of 1 to 40."""
    rng = random.Random(seed)
    at = 0
    while at < len(data):
        size = rng.randint(1, 40)
        yield data[at : at + size]
        at += size
