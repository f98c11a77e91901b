"""Translating what nobody should send: refused or told as a failure, never an error of ours."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from math import inf
from time import process_time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.calls import MAX_CALLS
from gateway.wire.llm.client_responses_stream import MAX_ITEMS
from gateway.wire.llm.crowds import MAX_ANSWERED
from gateway.wire.llm.events import Kind, kind_of
from gateway.wire.llm.requests import prepared, read_call
from gateway.wire.llm.translate import PAIRS, Translation
from gateway.wire.llm.words import Dialect

ASKED = Asked("assistant", "7", 1700000000)
each_pair = pytest.mark.parametrize(
    "pair", PAIRS.values(), ids=lambda pair: f"{pair.client}-of-{pair.upstream}"
)

KEYS = [
    *("content", "type", "text", "role", "tool_calls", "function", "name", "arguments", "id"),
    *("image_url", "url", "file", "file_data", "source", "input", "output", "call_id", "index"),
    *("tool_call_id", "cache_control", "delta", "message", "content_block", "usage", "choices"),
    *("thinking", "signature", "thinking_blocks", "refusal", "stop_reason", "finish_reason"),
]
WORDS = [
    *("text", "image", "image_url", "file", "document", "tool_use", "tool_result", "thinking"),
    *("user", "assistant", "system", "tool", "base64", "content", "url", "function", "message"),
    *("function_call", "function_call_output", "input_text", "input_image", "{}", "{", "stop"),
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
    *("message_delta", "message_stop", "text_delta", "input_json_delta", "signature_delta"),
    *("data:image/png;base64,AAAA", "data:text/plain;base64,!", "https://e/a", "enabled", "error"),
]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(0, 2) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=12,
)
FIELDS = {
    Dialect.CHAT: ["messages", "tools", "tool_choice", "response_format", "stop", "temperature"],
    Dialect.MESSAGES: ["messages", "system", "tools", "tool_choice", "thinking", "output_config"],
    Dialect.RESPONSES: ["input", "instructions", "tools", "tool_choice", "text", "reasoning"],
}


@each_pair
@given(st.data())
def test_a_request_is_translated_or_refused(pair: Translation, data: st.DataObject) -> None:
    fields = data.draw(st.dictionaries(st.sampled_from(FIELDS[pair.client]), values))
    request = {"model": "m", "max_tokens": 5, **fields}
    with suppress(InvalidRequest):
        read_call(pair.client, request)
        prepared(pair.upstream, pair.request(request, ASKED), "other")


@each_pair
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=4), max_size=4))
def test_a_stream_is_translated_or_fails(pair: Translation, events: list[dict[str, Any]]) -> None:
    stream = pair.stream(ASKED)
    try:
        for event in events:
            stream.feed(b"", orjson.dumps(event))
    except UpstreamFailed as error:
        stream.fail(error)
    stream.end()
    assert stream.end() == b""


@each_pair
@given(st.dictionaries(st.sampled_from([*KEYS, "object"]), values, max_size=8))
def test_an_answer_is_translated_or_fails(pair: Translation, answer: dict[str, Any]) -> None:
    for given_so in (answer, {**answer, "type": "message"}, {**answer, "choices": [answer]}):
        with suppress(UpstreamFailed):
            orjson.dumps(pair.answer(given_so, ASKED))


DEEP = b"[" * 600 + b"]" * 600


def deep(text: bytes) -> Any:
    return orjson.loads(text.replace(b"DEEP", DEEP))


def test_what_a_claude_nests_too_deep_is_left_out() -> None:
    pair = PAIRS[Dialect.CHAT, Dialect.MESSAGES]
    answer = deep(
        b'{"type":"message","content":[{"type":"tool_use","id":"t","name":"f","input":{"x":DEEP}},'
        b'{"type":"thinking","thinking":"hm","more":DEEP}]}'
    )
    orjson.dumps(pair.answer(answer, ASKED))
    stream = pair.stream(ASKED)
    for block in answer["content"]:
        start = {"type": "content_block_start", "index": 0}
        for event in (start, {"type": "content_block_stop", "index": 0}):
            assert all(stream._source.take({**event, "content_block": block}))


def test_arguments_nested_too_deep_are_told_as_their_words() -> None:
    arguments = b'{"x":' + DEEP + b"}"
    call = {"id": "a", "function": {"name": "f", "arguments": arguments.decode()}}
    answer = {"choices": [{"message": {"tool_calls": [call]}}]}
    told = PAIRS[Dialect.MESSAGES, Dialect.CHAT].answer(answer, ASKED)
    assert told["content"][0]["input"] == {"unparsed": arguments.decode()}
    orjson.dumps(told)


def test_what_an_answer_repeats_must_be_writable() -> None:
    request = deep(b'{"model":"m","input":"x","metadata":{"a":DEEP}}')
    with pytest.raises(InvalidRequest, match="'metadata'"):
        PAIRS[Dialect.RESPONSES, Dialect.CHAT].request(request, ASKED)


@each_pair
def test_a_deep_request_is_refused(pair: Translation) -> None:
    request = deep(b'{"model":"m","max_tokens":5,"tools":[{"name":"f","parameters":{"a":DEEP}}]}')
    (tool,) = request["tools"]
    if pair.client is Dialect.MESSAGES:
        tool["input_schema"] = tool.pop("parameters")
    else:
        tool |= {"type": "function", "function": dict(tool)}
    with pytest.raises(InvalidRequest):
        prepared(pair.upstream, pair.request(request, ASKED), "other")


@pytest.mark.parametrize("client", [Dialect.MESSAGES, Dialect.RESPONSES])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_answer_that_calls_tools_without_end_is_ended(client: Dialect, at_once: bool) -> None:
    stream = PAIRS[client, Dialect.CHAT].stream(ASKED)
    calls = [{"index": number} for number in range(MAX_CALLS + 1)]
    pieces = [calls] if at_once else [[one] for one in calls]
    told = [orjson.dumps({"choices": [{"delta": {"tool_calls": some}}]}) for some in pieces]
    with pytest.raises(UpstreamFailed, match=str(MAX_CALLS)):
        deque((stream.feed(b"", one) for one in told), 0)


@each_pair
def test_a_whole_answer_that_calls_tools_without_end_is_none(pair: Translation) -> None:
    many = MAX_CALLS + 1
    if pair.upstream is Dialect.MESSAGES:
        answer: dict[str, Any] = {"type": "message", "content": [{"type": "tool_use"}] * many}
    else:
        answer = {"choices": [{"message": {"tool_calls": [{}] * many}}]}
    with pytest.raises(UpstreamFailed, match=str(MAX_CALLS)):
        pair.answer(answer, ASKED)


def test_an_answer_of_words_and_thoughts_in_turn_is_ended_that_has_no_end() -> None:
    stream = PAIRS[Dialect.RESPONSES, Dialect.CHAT].stream(ASKED)
    turns = [
        orjson.dumps({"choices": [{"delta": {name: "x"}}]}) for name in ("reasoning", "content")
    ]
    with pytest.raises(UpstreamFailed, match=str(MAX_ITEMS)):
        deque((stream.feed(b"", one) for one in turns * MAX_ITEMS), 0)


def test_the_end_of_four_times_as_many_calls_takes_four_times_as_long() -> None:
    def end(calls: int) -> float:
        stream = PAIRS[Dialect.RESPONSES, Dialect.CHAT].stream(ASKED)
        choice = {"delta": {"tool_calls": [{}] * calls}, "finish_reason": "stop"}
        stream.feed(b"", orjson.dumps({"choices": [choice]}))
        began = process_time()
        stream.end()
        return process_time() - began

    few = many = inf
    for _ in range(12):  # a busy machine adds to a time, and takes nothing away
        few, many = min(few, end(MAX_CALLS // 4)), min(many, end(MAX_CALLS))
        if many < 8 * few:  # a square: sixteen times
            return
    pytest.fail(f"{many} s, against {few} s for a quarter")


@pytest.mark.parametrize("upstream", [Dialect.CHAT, Dialect.MESSAGES])
def test_one_event_holds_no_more_values_than_anybody_says(upstream: Dialect) -> None:
    stream = PAIRS[Dialect.RESPONSES, upstream].stream(ASKED)
    crowd = b'{"choices":[%b{}]}' % (b"{}," * MAX_ANSWERED)
    with pytest.raises(UpstreamFailed, match="objects and lists"):
        stream.feed(b"", crowd)
    assert kind_of(upstream, crowd) is Kind.ERROR
