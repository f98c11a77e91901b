"""OpenAI's responses, answered by upstreams that know nothing of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.errors import InvalidParameter, UpstreamFailed
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.sse import Frames, event_of
from gateway.wire.llm.translate import PAIRS, Translation
from gateway.wire.llm.words import Dialect
from tests.wire.llm_streams import (
    CHAT_USAGE,
    THINKING_BLOCK,
    call,
    chat_events,
    choice,
    chunk,
    completion,
    delta,
    message_end,
    message_start,
    named,
    piece,
    text_block,
    tool_block,
)

ASKED = Asked("assistant", "7", 1700000000, max_output_tokens=1000)
TO_CHAT = PAIRS[Dialect.RESPONSES, Dialect.CHAT]
TO_MESSAGES = PAIRS[Dialect.RESPONSES, Dialect.MESSAGES]
PARAMETERS = {"type": "object", "properties": {}}
FUNCTION = {"type": "function", "name": "f", "parameters": PARAMETERS, "strict": True}
CHAT_FUNCTION = {
    "type": "function",
    "function": {"name": "f", "parameters": PARAMETERS, "strict": True},
}
HELLO = {"role": "user", "content": "Hello"}


def result(name: str, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": name, "output": output}


def called(name: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"input": "Hello"}, {"messages": [HELLO]}, id="a-text"),
        pytest.param(
            {
                "instructions": "Be brief.",
                "input": [
                    {"role": "developer", "content": "And kind."},
                    {
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": "Hello"}],
                    },
                    {
                        "type": "message",
                        "role": "assistant",
                        "content": [
                            {"type": "output_text", "text": "Hi"},
                            {"type": "refusal", "refusal": "!"},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "Look"},
                            {"type": "input_image", "image_url": "https://e/a", "detail": "low"},
                            {"type": "input_file", "filename": "a.pdf", "file_data": "BBBB"},
                        ],
                    },
                ],
            },
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "system", "content": "And kind."},
                    HELLO,
                    {"role": "assistant", "content": "Hi!"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "Look"},
                            {
                                "type": "image_url",
                                "image_url": {"url": "https://e/a", "detail": "low"},
                            },
                            {"type": "file", "file": {"filename": "a.pdf", "file_data": "BBBB"}},
                        ],
                    },
                ]
            },
            id="messages-of-every-role",
        ),
        pytest.param(
            {
                "input": [
                    HELLO,
                    {"type": "reasoning", "id": "rs_1", "summary": []},
                    {"role": "assistant", "content": "Looking."},
                    called("a"),
                    called("b"),
                    result("a", [{"type": "input_image", "image_url": "https://e/a"}]),
                    result("b", "42"),
                    called("c"),
                    result("c", [{"type": "input_text", "text": "1"}]),
                ]
            },
            {
                "messages": [
                    HELLO,
                    {
                        "role": "assistant",
                        "content": "Looking.",
                        "tool_calls": [call("a", "f", "{}"), call("b", "f", "{}")],
                    },
                    {"role": "tool", "tool_call_id": "a", "content": ""},
                    {"role": "tool", "tool_call_id": "b", "content": "42"},
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://e/a"}}],
                    },
                    {"role": "assistant", "content": None, "tool_calls": [call("c", "f", "{}")]},
                    {"role": "tool", "tool_call_id": "c", "content": "1"},
                ]
            },
            id="the-calls-of-a-turn-in-one-message",
        ),
        pytest.param(
            {
                "input": "Hello",
                "stream": True,
                "temperature": 0.3,
                "top_p": 0.9,
                "max_output_tokens": 50,
                "parallel_tool_calls": False,
                "reasoning": {"effort": "low", "summary": "auto"},
                "text": {
                    "verbosity": "low",
                    "format": {"type": "json_schema", "name": "x", "schema": {}, "strict": True},
                },
                "tools": [FUNCTION, {"type": "web_search"}],
                "tool_choice": {"type": "function", "name": "f"},
                "metadata": {"a": "b"},
                "store": True,
                "user": "ada",
                "service_tier": "flex",
                "prompt_cache_key": "k",
                "prompt_cache_retention": "24h",
            },
            {
                "messages": [HELLO],
                "stream": True,
                "temperature": 0.3,
                "top_p": 0.9,
                "max_completion_tokens": 50,
                "parallel_tool_calls": False,
                "reasoning_effort": "low",
                "verbosity": "low",
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {}, "strict": True},
                },
                "tools": [CHAT_FUNCTION],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "metadata": {"a": "b"},
                "store": True,
                "user": "ada",
                "service_tier": "flex",
                "prompt_cache_key": "k",
                "prompt_cache_retention": "24h",
            },
            id="what-fits-and-what-is-left-out",
        ),
        pytest.param(
            {
                "input": "Hello",
                "text": {"format": {"type": "json_object"}},
                "tools": [FUNCTION],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "f"}],
                },
            },
            {
                "messages": [HELLO],
                "response_format": {"type": "json_object"},
                "tools": [CHAT_FUNCTION],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [{"type": "function", "function": {"name": "f"}}],
                    },
                },
            },
            id="allowed-tools",
        ),
        pytest.param(
            {"input": "Hello", "metadata": {"a": "b"}, "truncation": "disabled"},
            {"messages": [HELLO]},
            id="no-metadata-of-what-is-not-stored",
        ),
        pytest.param(
            {"input": "Hello", "tools": [{"type": "web_search"}], "tool_choice": "required"},
            {"messages": [HELLO]},
            id="no-choice-without-tools",
        ),
    ],
)
def test_responses_for_an_upstream_of_chat(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert TO_CHAT.request({"model": "m", **given}, ASKED) == {"model": "m", **expected}


def test_responses_for_an_upstream_of_messages() -> None:
    given = {
        "model": "m",
        "instructions": "Be brief.",
        "input": [HELLO, called("a"), result("a", "42")],
        "tools": [FUNCTION],
        "tool_choice": "required",
    }
    assert TO_MESSAGES.request(given, ASKED) == {
        "model": "m",
        "max_tokens": 1000,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            HELLO,
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "a", "content": "42"}],
            },
        ],
        "tools": [{"name": "f", "strict": True, "input_schema": PARAMETERS}],
        "tool_choice": {"type": "any"},
    }


@pytest.mark.parametrize(
    "pair", [TO_CHAT, TO_MESSAGES], ids=lambda pair: f"{pair.client}-of-{pair.upstream}"
)
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
            "input[0].content[0]",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]},
            "input[0].content[0]",
        ),
    ],
)
def test_what_nobody_keeps_is_refused(pair: Translation, given: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        pair.request({"model": "m", "input": "Hello", **given}, ASKED)
    assert str(refused.value).startswith(f"parameter '{name}': ")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0]"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"truncation": "auto"}, "truncation"),
    ],
)
def test_what_cannot_be_said_is_refused_where_that_is_asked_for(
    given: dict[str, Any], name: str
) -> None:
    values = {"model": "m", "input": "Hello", **given}
    with pytest.raises(InvalidParameter) as refused:
        TO_CHAT.request(values, replace(ASKED, refuse_unsupported=True))
    assert str(refused.value).startswith(f"parameter '{name}': ")
    TO_CHAT.request(values, ASKED)


def events_of(pair: Translation, events: list[tuple[bytes, bytes]], asked: Asked) -> list[Any]:
    stream = pair.stream(asked)
    sent = b"".join(stream.feed(event, data) for event, data in events) + stream.end()
    found = [event_of(one) for one in Frames().feed(sent)]
    values = [orjson.loads(data) for _, data in found]
    assert [event.decode() for event, _ in found] == [one["type"] for one in values]
    assert [one.pop("sequence_number") for one in values] == list(range(len(values)))
    return values


BEGUN = {
    "id": "resp_7",
    "object": "response",
    "created_at": 1700000000,
    "status": "in_progress",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "model": "assistant",
    "output": [],
    "instructions": "Be brief.",
    "max_output_tokens": None,
    "metadata": {"a": "b"},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": 0.3,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
    "store": False,
    "usage": None,
}
ASKED_SO = replace(
    ASKED, request={"instructions": "Be brief.", "temperature": 0.3, "metadata": {"a": "b"}}
)
USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 42,
}


def spoken(place: int, words: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": words, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_7_{place}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def function(place: int, name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": f"fc_7_{place}",
        "type": "function_call",
        "status": "completed",
        "call_id": name,
        "name": "f",
        "arguments": arguments,
    }


def item(what: str, place: int, whole: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"response.output_item.{what}", "output_index": place, "item": whole}


def test_events_of_words_are_these() -> None:
    events = chat_events(
        chunk(delta(role="assistant", content="")),
        chunk(delta(content="Hel")),
        chunk(delta(content="lo")),
        chunk(delta(finish="stop")),
        chunk(usage=CHAT_USAGE),
    )
    at = {"item_id": "msg_7_0", "output_index": 0, "content_index": 0}
    whole = spoken(0, "Hello")
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert events_of(TO_CHAT, events, ASKED_SO) == [
        {"type": "response.created", "response": BEGUN},
        {"type": "response.in_progress", "response": BEGUN},
        item("added", 0, {**whole, "status": "in_progress", "content": []}),
        {"type": "response.content_part.added", **at, "part": empty},
        {"type": "response.output_text.delta", **at, "delta": "Hel", "logprobs": []},
        {"type": "response.output_text.delta", **at, "delta": "lo", "logprobs": []},
        {"type": "response.output_text.done", **at, "text": "Hello", "logprobs": []},
        {"type": "response.content_part.done", **at, "part": whole["content"][0]},
        item("done", 0, whole),
        {
            "type": "response.completed",
            "response": {**BEGUN, "status": "completed", "output": [whole], "usage": USAGE},
        },
    ]


def test_events_of_thoughts_and_interleaved_calls_are_these() -> None:
    events = chat_events(
        chunk(delta(reasoning_content="Hm")),
        chunk(delta(tool_calls=[call("a", "f", "", index=0)])),
        chunk(delta(tool_calls=[call("b", "f", "{", index=1)])),
        chunk(delta(tool_calls=[piece(0, "{}"), piece(1, "}")])),
        chunk(delta(finish="tool_calls")),
    )
    at = {"item_id": "rs_7_0", "output_index": 0, "summary_index": 0}
    thought = {"id": "rs_7_0", "type": "reasoning", "summary": []}
    summary = {"type": "summary_text", "text": "Hm"}
    first = {"item_id": "fc_7_1", "output_index": 1}
    second = {"item_id": "fc_7_2", "output_index": 2}
    more, done = (f"response.function_call_arguments.{what}" for what in ("delta", "done"))
    output = [{**thought, "summary": [summary]}, function(1, "a", "{}"), function(2, "b", "{}")]
    begun = {"status": "in_progress", "arguments": ""}
    assert events_of(TO_CHAT, events, ASKED_SO)[2:] == [
        item("added", 0, thought),
        {
            "type": "response.reasoning_summary_part.added",
            **at,
            "part": {"type": "summary_text", "text": ""},
        },
        {"type": "response.reasoning_summary_text.delta", **at, "delta": "Hm"},
        {"type": "response.reasoning_summary_text.done", **at, "text": "Hm"},
        {"type": "response.reasoning_summary_part.done", **at, "part": summary},
        item("done", 0, output[0]),
        item("added", 1, {**output[1], **begun}),
        item("added", 2, {**output[2], **begun}),
        {"type": more, **second, "delta": "{"},
        {"type": more, **first, "delta": "{}"},
        {"type": more, **second, "delta": "}"},
        {"type": done, **first, "name": "f", "arguments": "{}"},
        item("done", 1, output[1]),
        {"type": done, **second, "name": "f", "arguments": "{}"},
        item("done", 2, output[2]),
        {
            "type": "response.completed",
            "response": {**BEGUN, "status": "completed", "output": output},
        },
    ]


def test_a_refusal_is_a_part_of_its_own() -> None:
    events = chat_events(chunk(delta(refusal="No.")), chunk(delta(finish="stop")))
    kinds = [one["type"] for one in events_of(TO_CHAT, events, ASKED)]
    assert kinds[2:] == [
        "response.output_item.added",
        "response.content_part.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_cut_short_is_incomplete(finish: str, reason: str) -> None:
    whole = TO_CHAT.answer(completion(choice(finish, content="Hel")), ASKED)
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": reason})
    events = chat_events(chunk(delta(content="Hel")), chunk(delta(finish=finish)))
    last = events_of(TO_CHAT, events, ASKED)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"] == {**whole, "usage": None}


def test_claude_answers_responses_too() -> None:
    events = named(
        message_start(),
        *THINKING_BLOCK,
        *text_block(1, "Looking."),
        *tool_block(2, "toolu_1", "f", '{"x":', "1}"),
        *message_end("tool_use"),
    )
    last = events_of(TO_MESSAGES, events, ASKED)[-1]["response"]
    summary = [{"type": "summary_text", "text": "Hm, two cities."}]
    assert last["output"] == [
        {"id": "rs_7_0", "type": "reasoning", "summary": summary},
        spoken(1, "Looking."),
        {**function(2, "toolu_1", '{"x":1}')},
    ]
    assert last["usage"] == {
        "input_tokens": 60,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
        "output_tokens": 25,
        "output_tokens_details": {"reasoning_tokens": 7},
        "total_tokens": 85,
    }


def test_an_error_in_the_stream_goes_on_counting() -> None:
    stream = TO_CHAT.stream(ASKED)
    stream.feed(b"", orjson.dumps(chunk(delta(role="assistant"))))
    (one,) = Frames().feed(stream.fail(UpstreamFailed("cut")))
    assert orjson.loads(event_of(one)[1]) == {
        "type": "error",
        "sequence_number": 2,
        "code": "upstream_failed",
        "message": "cut",
        "param": None,
    }
