"""Answers and streams in one dialect, and what they become in another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.errors import UpstreamFailed, UpstreamTimedOut
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.reading import Called, Reading, read_answer, read_stream
from gateway.wire.llm.sse import Frames, event_of
from gateway.wire.llm.translate import PAIRS, StreamTranslator, Translation
from gateway.wire.llm.words import Dialect
from tests.wire.llm_streams import (
    CHAT_USAGE,
    MESSAGE_USAGE,
    SHAPES,
    THINKING,
    THINKING_BLOCK,
    Shape,
    call,
    chat_events,
    choice,
    chunk,
    completion,
    delta,
    message,
    message_end,
    message_start,
    named,
    piece,
    split,
    text_block,
    tool_block,
)

ASKED = Asked("assistant", "7", 1700000000, include_usage=True)
CHAT_OF_MESSAGES = PAIRS[Dialect.CHAT, Dialect.MESSAGES]
MESSAGES_OF_CHAT = PAIRS[Dialect.MESSAGES, Dialect.CHAT]
CASES = [
    pytest.param(pair, shape, id=f"{pair.client}-of-{shape.name}")
    for pair in PAIRS.values()
    for shape in SHAPES
    if shape.dialect is pair.upstream
]
each = pytest.mark.parametrize(("pair", "shape"), CASES)


def told(pair: Translation, events: list[tuple[bytes, bytes]], asked: Asked = ASKED) -> bytes:
    stream = pair.stream(asked)
    return b"".join(stream.feed(event, data) for event, data in events) + stream.end()


def events_of(sent: bytes) -> list[Any]:
    found = [event_of(one) for one in Frames().feed(sent)]
    assert all(not event or orjson.loads(data)["type"].encode() == event for event, data in found)
    return [orjson.loads(data) if data != b"[DONE]" else "[DONE]" for _, data in found]


def comparable(reading: Reading) -> Reading:
    """Arguments as values: white space may differ."""
    calls = tuple(
        Called(one.name, orjson.dumps(orjson.loads(one.arguments)).decode())
        for one in reading.calls
    )
    return replace(reading, calls=calls)


@each
def test_a_stream_tells_what_a_whole_answer_tells(pair: Translation, shape: Shape) -> None:
    stream, ended = read_stream(pair.client, told(pair, list(shape.events)))
    whole = read_answer(pair.client, pair.answer(shape.answer, ASKED))
    assert comparable(stream) == comparable(whole)
    assert ended


@each
def test_what_is_told_is_what_the_upstream_said(pair: Translation, shape: Shape) -> None:
    said = read_answer(shape.dialect, shape.answer)
    heard = read_answer(pair.client, pair.answer(shape.answer, ASKED))
    assert heard.texts == said.texts[:1]  # of several choices the first
    assert [one.name for one in heard.calls] == [one.name for one in said.calls]
    assert (heard.reasoning_chars, heard.refused) == (said.reasoning_chars, said.refused)
    assert (heard.model, heard.failure) == ("assistant", "")
    if said.usage is not None:
        one_life = said.usage.cache_write + said.usage.cache_write_1h
        assert heard.usage == replace(said.usage, cache_write=one_life, cache_write_1h=0)


@each
@pytest.mark.parametrize("seed", range(3))
def test_a_stream_may_come_in_any_pieces(pair: Translation, shape: Shape, seed: int) -> None:
    stream, frames, sent = pair.stream(ASKED), Frames(), b""
    for part in split(shape.stream.replace(b"\n", b"\r\n"), seed):
        for one in frames.feed(part):
            sent += stream.feed(*event_of(one))
    assert sent + stream.end() == told(pair, list(shape.events))


@each
def test_a_stream_that_is_cut_ends_in_an_error(pair: Translation, shape: Shape) -> None:
    for at in range(len(shape.events)):
        sent = told(pair, list(shape.events[:at]))
        reading, ended = read_stream(pair.client, sent)
        assert reading.failure == "" if ended else reading.failure
        assert b"[DONE]" not in sent or ended


GOLDEN_CHAT = {
    "id": "chatcmpl-7",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "assistant",
}


def golden(finish: str | None = None, **said: Any) -> dict[str, Any]:
    one = {"index": 0, "delta": said, "logprobs": None, "finish_reason": finish}
    return {**GOLDEN_CHAT, "choices": [one], "usage": None}


GOLDEN_USAGE = {
    "prompt_tokens": 60,
    "completion_tokens": 25,
    "total_tokens": 85,
    "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 7, "audio_tokens": 0},
}


def test_chunks_of_messages_are_these() -> None:
    events = named(
        message_start(),
        {"type": "ping"},
        *THINKING_BLOCK,
        *text_block(1, "Look", "ing."),
        *tool_block(2, "toolu_1", "weather", "", '{"city": ', '"Paris"}'),
        *tool_block(4, "toolu_2", "time", ""),
        *message_end("tool_use"),
    )
    assert events_of(told(CHAT_OF_MESSAGES, events)) == [
        golden(role="assistant", content="", refusal=None),
        golden(reasoning_content="Hm, "),
        golden(reasoning_content="two cities."),
        golden(thinking_blocks=[{"index": 0, **THINKING}]),
        golden(content="Look"),
        golden(content="ing."),
        golden(tool_calls=[call("toolu_1", "weather", "", index=0)]),
        golden(tool_calls=[piece(0, '{"city": ')]),
        golden(tool_calls=[piece(0, '"Paris"}')]),
        golden(tool_calls=[call("toolu_2", "time", "", index=1)]),
        golden(tool_calls=[piece(1, "{}")]),
        golden("tool_calls"),
        {**GOLDEN_CHAT, "choices": [], "usage": GOLDEN_USAGE},
        "[DONE]",
    ]


def test_usage_is_told_only_to_those_who_asked() -> None:
    events = named(message_start(), *text_block(0, "Hi"), *message_end())
    quiet = replace(ASKED, include_usage=False)
    sent = events_of(told(CHAT_OF_MESSAGES, events, quiet))
    assert len(sent) == 4
    assert not any("usage" in one for one in sent[:-1])


def test_an_answer_of_messages_as_chat() -> None:
    given = message(
        THINKING,
        {"type": "text", "text": "Look"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": "ing."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
        stop="tool_use",
    )
    expected = {
        "role": "assistant",
        "content": "Looking.",
        "refusal": None,
        "reasoning_content": "Hm, two cities.",
        "thinking_blocks": [THINKING],
        "tool_calls": [call("toolu_1", "weather", '{"city":"Paris"}')],
    }
    assert CHAT_OF_MESSAGES.answer(given, ASKED) == {
        **GOLDEN_CHAT,
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": expected, "logprobs": None, "finish_reason": "tool_calls"}
        ],
        "usage": GOLDEN_USAGE,
    }


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_why_messages_end_in_chats_words(stop: str, finish: str) -> None:
    answer = CHAT_OF_MESSAGES.answer(message(stop=stop), ASKED)
    assert answer["choices"][0]["finish_reason"] == finish
    sent = told(CHAT_OF_MESSAGES, named(message_start(), *message_end(stop)))
    assert read_stream(Dialect.CHAT, sent)[0].finish == finish


def test_a_refusal_tells_its_reason() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "It may harm."}
    answer = CHAT_OF_MESSAGES.answer(message(stop="refusal", stop_details=details), ASKED)
    assert answer["choices"][0]["message"]["refusal"] == "It may harm."
    end = message_end("refusal")
    end[0]["delta"]["stop_details"] = details
    reading, _ = read_stream(Dialect.CHAT, told(CHAT_OF_MESSAGES, named(message_start(), *end)))
    assert (reading.refused, reading.texts) == (True, ("It may harm.",))


def test_several_last_counts_are_one_end() -> None:
    last, stop = message_end()
    middle = {**last, "usage": {"output_tokens": 3}}
    bare = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 0}}
    events = named(message_start(), *text_block(0, "Hi"), middle, last, bare, stop)
    reading, _ = read_stream(Dialect.CHAT, told(CHAT_OF_MESSAGES, events))
    assert reading.usage is not None
    assert (reading.usage.output, reading.finish) == (25, "stop")
    assert events_of(told(CHAT_OF_MESSAGES, events)).count(golden("stop")) == 1


def opened(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def added(index: int, kind: str, **said: str) -> dict[str, Any]:
    delta = {"type": kind, **said}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def closed(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


EMPTY_USAGE = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
    "output_tokens_details": {"thinking_tokens": 0},
}
GOLDEN_START = {
    "type": "message_start",
    "message": {
        "id": "msg_7",
        "type": "message",
        "role": "assistant",
        "model": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": EMPTY_USAGE,
    },
}


def golden_end(reason: str, usage: dict[str, Any] = EMPTY_USAGE) -> list[dict[str, Any]]:
    changed = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": changed, "usage": usage},
        {"type": "message_stop"},
    ]


def test_events_of_chat_are_these() -> None:
    usage = {**CHAT_USAGE, "prompt_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 4}}
    events = chat_events(
        chunk(delta(role="assistant", content="", refusal=None), usage=None),
        chunk(delta(reasoning_content="Hm"), usage=None),
        chunk(delta(content="Look"), usage=None),
        chunk(delta(content="ing."), usage=None),
        chunk(delta(tool_calls=[call("call_1", "weather", "", index=0)])),
        chunk(delta(tool_calls=[piece(0, '{"city":')])),
        chunk(delta(tool_calls=[call("call_2", "time", "{", index=1)])),
        chunk(delta(tool_calls=[piece(0, '"Paris"}'), piece(1, "}")])),
        chunk(delta(finish="tool_calls")),
        chunk(usage=usage),
    )
    weather = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}
    time = {"type": "tool_use", "id": "call_2", "name": "time", "input": {}}
    assert events_of(told(MESSAGES_OF_CHAT, events)) == [
        GOLDEN_START,
        opened(0, {"type": "thinking", "thinking": "", "signature": ""}),
        added(0, "thinking_delta", thinking="Hm"),
        closed(0),
        opened(1, {"type": "text", "text": ""}),
        added(1, "text_delta", text="Look"),
        added(1, "text_delta", text="ing."),
        closed(1),
        opened(2, weather),
        added(2, "input_json_delta", partial_json='{"city":'),
        added(2, "input_json_delta", partial_json='"Paris"}'),
        closed(2),
        opened(3, time),
        added(3, "input_json_delta", partial_json="{}"),
        closed(3),
        *golden_end(
            "tool_use",
            {
                "input_tokens": 10,
                "cache_creation_input_tokens": 4,
                "cache_read_input_tokens": 16,
                "output_tokens": 12,
                "output_tokens_details": {"thinking_tokens": 4},
            },
        ),
    ]


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param(({"index": 0}, {"index": 0}), id="every-index-zero"),
        pytest.param(({}, {}), id="no-index"),
        pytest.param(({"index": 3}, {"index": 9}), id="gaps"),
    ],
)
def test_calls_are_told_apart_whatever_their_index(ids: tuple[dict[str, int], ...]) -> None:
    first, second = ids
    events = chat_events(
        chunk(delta(tool_calls=[call("a", "f", '{"x":1}', **first)])),
        chunk(delta(tool_calls=[call("b", "g", '{"y":2}', **second)])),
        chunk(delta(finish="stop")),
    )
    reading, _ = read_stream(Dialect.MESSAGES, told(MESSAGES_OF_CHAT, events))
    assert reading.calls == (Called("f", '{"x":1}'), Called("g", '{"y":2}'))
    assert reading.finish == "tool_use"


def test_a_call_that_is_gone_on_with_after_its_end_is_a_failure() -> None:
    stream = MESSAGES_OF_CHAT.stream(ASKED)
    for one in (
        chunk(delta(tool_calls=[call("a", "f", "{", index=0)])),
        chunk(delta(content="Hm")),
    ):
        stream.feed(b"", orjson.dumps(one))
    with pytest.raises(UpstreamFailed, match="had left"):
        stream.feed(b"", orjson.dumps(chunk(delta(tool_calls=[piece(0, "}")]))))


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("something_new", "end_turn"),
    ],
)
def test_why_chat_ends_in_the_words_of_messages(finish: str, stop: str) -> None:
    answer = MESSAGES_OF_CHAT.answer(completion(choice(finish, content="Hi")), ASKED)
    assert answer["stop_reason"] == stop
    events = chat_events(chunk(delta(content="Hi")), chunk(delta(finish=finish)))
    assert events_of(told(MESSAGES_OF_CHAT, events))[-2:] == golden_end(stop)


def test_an_answer_of_chat_as_messages() -> None:
    given = completion(
        choice(
            "tool_calls",
            reasoning_content="Hm",
            content="Looking.",
            tool_calls=[
                call("call_1", "weather", '{"city":"Paris"}'),
                call("", "time", ""),
                call("call_3", "broken", '{"city":'),
            ],
        )
    )
    assert MESSAGES_OF_CHAT.answer(given, ASKED) == {
        **GOLDEN_START["message"],  # type: ignore[dict-item]
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": ""},
            {"type": "text", "text": "Looking.", "citations": None},
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "toolu_7_1", "name": "time", "input": {}},
            {
                "type": "tool_use",
                "id": "call_3",
                "name": "broken",
                "input": {"unparsed": '{"city":'},
            },
        ],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": 14,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 16,
            "output_tokens": 12,
            "output_tokens_details": {"thinking_tokens": 4},
        },
    }


def test_a_stream_without_its_last_word_is_whole_if_it_told_why_it_ended() -> None:
    events = chat_events(chunk(delta(content="Hi")), chunk(delta(finish="stop")), done=False)
    assert read_stream(Dialect.MESSAGES, told(MESSAGES_OF_CHAT, events))[1]


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}
QUOTA = {"error": {"message": "Spent", "type": "insufficient_quota", "code": "insufficient_quota"}}


def test_an_error_in_a_stream_of_messages_as_chat() -> None:
    sent = told(CHAT_OF_MESSAGES, named(message_start(), *text_block(0, "Hi"), OVERLOADED))
    error = {"message": "Busy", "type": "server_error", "param": None, "code": "overloaded_error"}
    assert events_of(sent)[-1] == {"error": error}
    assert b"[DONE]" not in sent


def test_an_error_in_a_stream_of_chat_as_messages() -> None:
    sent = told(MESSAGES_OF_CHAT, chat_events(chunk(delta(content="Hi")), QUOTA))
    assert events_of(sent)[-1] == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Spent"},
        "request_id": None,
    }


@pytest.mark.parametrize(
    "pair", PAIRS.values(), ids=lambda pair: f"{pair.client}-of-{pair.upstream}"
)
def test_a_failure_of_ours_ends_a_stream_well(pair: Translation) -> None:
    stream: StreamTranslator = pair.stream(ASKED)
    sent = stream.fail(UpstreamTimedOut("silent for 10 s"))
    assert read_stream(pair.client, sent)[0].failure
    assert stream.end() == stream.feed(b"", b"{}") == stream.fail(UpstreamFailed("again")) == b""


@pytest.mark.parametrize(
    "pair", PAIRS.values(), ids=lambda pair: f"{pair.client}-of-{pair.upstream}"
)
@pytest.mark.parametrize("data", [b"{", b"[]", b"garbage", b'"x"'])
def test_what_is_no_event_is_a_failure(pair: Translation, data: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        pair.stream(ASKED).feed(b"", data)


@pytest.mark.parametrize(
    ("pair", "status", "given", "expected"),
    [
        (
            CHAT_OF_MESSAGES,
            529,
            OVERLOADED,
            (
                503,
                {
                    "error": {
                        "message": "Busy",
                        "type": "server_error",
                        "param": None,
                        "code": "overloaded_error",
                    }
                },
            ),
        ),
        (
            CHAT_OF_MESSAGES,
            400,
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "prompt is too long: 9 tokens > 8 maximum",
                },
            },
            (
                400,
                {
                    "error": {
                        "message": "prompt is too long: 9 tokens > 8 maximum",
                        "type": "invalid_request_error",
                        "param": None,
                        "code": "context_length_exceeded",
                    }
                },
            ),
        ),
        (
            MESSAGES_OF_CHAT,
            400,
            {"error": {"message": "9 over 8", "code": "context_length_exceeded"}},
            (
                400,
                {
                    "type": "error",
                    "error": {
                        "type": "invalid_request_error",
                        "message": "prompt is too long: 9 over 8",
                    },
                    "request_id": None,
                },
            ),
        ),
        (
            MESSAGES_OF_CHAT,
            500,
            None,
            (
                500,
                {
                    "type": "error",
                    "error": {
                        "type": "api_error",
                        "message": "the upstream refused the request",
                    },
                    "request_id": None,
                },
            ),
        ),
    ],
)
def test_errors_are_told_in_the_clients_words(
    pair: Translation, status: int, given: Any, expected: tuple[int, dict[str, Any]]
) -> None:
    assert pair.error(status, given) == expected


@pytest.mark.parametrize(
    ("pair", "given"),
    [
        (CHAT_OF_MESSAGES, {"id": "x"}),
        (CHAT_OF_MESSAGES, completion(choice("stop"))),
        (MESSAGES_OF_CHAT, {"id": "x"}),
        (MESSAGES_OF_CHAT, message()),
    ],
)
def test_an_answer_of_another_kind_is_a_failure(pair: Translation, given: dict[str, Any]) -> None:
    with pytest.raises(UpstreamFailed):
        pair.answer(given, ASKED)


def test_an_hours_cache_is_told_as_one_count() -> None:
    usage = CHAT_OF_MESSAGES.answer(message(usage=MESSAGE_USAGE), ASKED)["usage"]
    assert usage == GOLDEN_USAGE
