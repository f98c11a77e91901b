"""Answers are read to the same, streamed or whole, whatever shape their provider gives them."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.llm.events import Kind, kind_of
from gateway.wire.llm.reading import Called, Reading, StreamReading, read_answer, read_stream
from gateway.wire.llm.sse import Frames, event_of
from gateway.wire.llm.taking import MAX_KEPT_CHARS, MAX_KEPT_PARTS
from gateway.wire.llm.usage import usage_of
from gateway.wire.llm.words import Dialect, Usage
from tests.wire.llm_streams import (
    CHAT_USAGE,
    SHAPES,
    Shape,
    chat_events,
    chunk,
    delta,
    message_end,
    message_start,
    named,
    split,
    text_block,
)

by_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def read(dialect: Dialect, events: list[tuple[bytes, bytes]]) -> Reading:
    stream = StreamReading(dialect)
    for _, data in events:
        stream.read(data)
    return stream.reading()


@by_shape
def test_a_stream_and_a_whole_answer_read_alike(shape: Shape) -> None:
    assert read(shape.dialect, list(shape.events)) == read_answer(shape.dialect, shape.answer)


def test_of_an_answer_without_end_the_first_is_kept_and_all_is_counted() -> None:
    piece, pieces = "word " * 50_000, 2 * MAX_KEPT_CHARS // 250_000
    function = {"name": "look", "arguments": piece}
    stream = StreamReading(Dialect.CHAT)
    for number in range(pieces):
        stream.take({"choices": [{"index": 0, "delta": {"content": piece}}]})
        called = {"index": number, "function": function}
        stream.take({"choices": [{"index": 0, "delta": {"tool_calls": [called]}}]})
    reading = stream.reading()
    assert reading.text_chars == pieces * len(piece)
    assert reading.call_chars == pieces * (len(piece) + len("look"))
    assert not reading.complete
    assert reading.kept_chars == MAX_KEPT_CHARS
    assert (piece * pieces).startswith(reading.texts[0])
    assert len(reading.calls) == pieces


def test_of_choices_and_calls_without_end_the_first_are_kept_and_the_others_counted() -> None:
    more = 2 * MAX_KEPT_PARTS
    choices = [{"text": "ab", "finish_reason": "stop"}] * more
    calls = [{"function": {"name": "look"}}, {}] * MAX_KEPT_PARTS
    answer = {"choices": [*choices, {"message": {"tool_calls": calls}}]}
    reading = read_answer(Dialect.CHAT, answer)
    assert (len(reading.texts), reading.text_chars) == (MAX_KEPT_PARTS, 2 * more)
    assert len(reading.calls) == MAX_KEPT_PARTS
    assert reading.call_chars >= len("look") * MAX_KEPT_PARTS
    assert not reading.complete


@by_shape
def test_an_answer_is_complete_that_is_wholly_kept(shape: Shape) -> None:
    reading = read_answer(shape.dialect, shape.answer)
    assert reading.complete
    assert reading.kept_chars == reading.text_chars + reading.call_chars


def test_a_long_answer_reads_alike_streamed_and_whole() -> None:
    words = "word " * (MAX_KEPT_CHARS // 5 + 1)
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": words}}]}
    whole = read_answer(Dialect.CHAT, answer, Usage(1, 2))
    stream = StreamReading(Dialect.CHAT)
    stream.take({"choices": [{"index": 0, "delta": {"content": words}}]})
    assert whole == replace(stream.reading(), usage=Usage(1, 2))
    assert whole.unkept_texts == len(words) - MAX_KEPT_CHARS > 0


@by_shape
def test_a_stream_read_at_once_reads_as_event_by_event(shape: Shape) -> None:
    expected = (read_answer(shape.dialect, shape.answer), True)
    assert read_stream(shape.dialect, shape.stream) == expected
    with_returns = shape.stream.replace(b"\n", b"\r\n")
    assert read_stream(shape.dialect, b": ping\r\n\r\n" + with_returns) == expected


@by_shape
@pytest.mark.parametrize("seed", range(5))
def test_a_stream_in_pieces_reads_alike(shape: Shape, seed: int) -> None:
    frames, stream = Frames(), StreamReading(shape.dialect)
    for part in split(shape.stream, seed):
        for one in frames.feed(part):
            stream.read(event_of(one)[1])
    assert stream.ended
    assert stream.reading() == read_answer(shape.dialect, shape.answer)


@by_shape
def test_a_stream_cut_anywhere_is_read_as_far_as_it_came(shape: Shape) -> None:
    whole = read_answer(shape.dialect, shape.answer)
    for at in range(0, len(shape.stream) - 2, 7):
        reading, ended = read_stream(shape.dialect, shape.stream[:at])
        assert not ended or at > len(shape.stream) - 40, at
        assert reading.text_chars <= whole.text_chars


@pytest.mark.parametrize(
    ("dialect", "usage", "expected"),
    [
        pytest.param(
            Dialect.CHAT,
            CHAT_USAGE,
            Usage(30, 12, cache_read=16, reasoning=4),
            id="chat",
        ),
        pytest.param(
            Dialect.CHAT,
            {
                "prompt_tokens": 50,
                "completion_tokens": 5,
                "total_tokens": 55,
                "prompt_tokens_details": {
                    "cached_tokens": 10,
                    "cache_write_tokens": 20,
                    "audio_tokens": 6,
                },
                "completion_tokens_details": {"audio_tokens": 3},
            },
            Usage(50, 5, cache_read=10, cache_write=20, audio_input=6, audio_output=3),
            id="chat-writes-and-audio",
        ),
        pytest.param(
            Dialect.CHAT,
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 105, reasoning=100),
            id="reasoning-beside-the-completion",
        ),
        pytest.param(
            Dialect.CHAT,
            {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 800},
            Usage(8, 792),
            id="reasoning-in-the-total-alone",
        ),
        pytest.param(
            Dialect.CHAT,
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "prompt_tokens_details": {"cached_tokens": 100},
            },
            Usage(110, 5, cache_read=100),
            id="cached-beside-the-prompt",
        ),
        pytest.param(
            Dialect.CHAT,
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 6},
            Usage(10, 5, cache_read=6),
            id="deepseek",
        ),
        pytest.param(
            Dialect.MESSAGES,
            {
                "input_tokens": 10,
                "cache_creation_input_tokens": 20,
                "cache_read_input_tokens": 30,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 5,
                    "ephemeral_1h_input_tokens": 15,
                },
                "output_tokens": 25,
            },
            Usage(60, 25, cache_read=30, cache_write=5, cache_write_1h=15),
            id="messages",
        ),
        pytest.param(
            Dialect.MESSAGES,
            {"input_tokens": 10, "cache_creation_input_tokens": 20, "output_tokens": 2},
            Usage(30, 2, cache_write=20),
            id="messages-writes-of-untold-life",
        ),
        pytest.param(
            Dialect.RESPONSES,
            {
                "input_tokens": 30,
                "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 2},
                "output_tokens": 12,
                "output_tokens_details": {"reasoning_tokens": 4},
                "total_tokens": 42,
            },
            Usage(30, 12, cache_read=16, cache_write=2, reasoning=4),
            id="responses",
        ),
        pytest.param(
            Dialect.EMBEDDINGS,
            {"prompt_tokens": 7, "total_tokens": 7},
            Usage(7, 0),
            id="embeddings",
        ),
        pytest.param(Dialect.COUNT, {"input_tokens": 7}, None, id="counting-costs-nothing"),
        pytest.param(Dialect.CHAT, {}, None, id="empty"),
        pytest.param(Dialect.CHAT, {"prompt_tokens": None}, None, id="nulls"),
        pytest.param(
            Dialect.CHAT,
            {"prompt_tokens": -5, "completion_tokens": True, "total_tokens": 1e300},
            None,
            id="nonsense",
        ),
        pytest.param(
            Dialect.CHAT,
            {"prompt_tokens": 7, "completion_tokens": -1, "total_tokens": 1e300},
            None,
            id="half-of-it-nonsense",
        ),
        pytest.param(
            Dialect.MESSAGES,
            {"input_tokens": 2**31, "output_tokens": 3},
            None,
            id="more-than-anybody-counts",
        ),
    ],
)
def test_usage_is_told_alike_whoever_tells_it(
    dialect: Dialect, usage: dict[str, object], expected: Usage | None
) -> None:
    assert usage_of(dialect, {"usage": usage}) == expected


def test_a_later_count_takes_nothing_back() -> None:
    last = message_end()[0]
    bare = {**last, "usage": {"output_tokens": 0}}
    events = [message_start(), *text_block(0, "Hi"), last, bare, {"type": "message_stop"}]
    usage = read(Dialect.MESSAGES, named(*events)).usage
    assert usage == Usage(60, 25, cache_read=30, cache_write=5, cache_write_1h=15, reasoning=7)


def test_a_null_usage_after_the_count_does_not_erase_it() -> None:
    events = chat_events(chunk(usage=CHAT_USAGE), chunk(delta(finish="stop"), usage=None))
    assert read(Dialect.CHAT, events).usage == Usage(30, 12, cache_read=16, reasoning=4)


def test_calls_are_put_together_by_their_index() -> None:
    shape = next(shape for shape in SHAPES if shape.name == "chat parallel tools")
    calls = read(shape.dialect, list(shape.events)).calls
    assert calls == (Called("weather", '{"city":"Paris"}'), Called("time", "{}"))


def test_arguments_that_are_no_json_are_kept_as_they_came() -> None:
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    events = [
        {"type": "content_block_start", "index": 0, "content_block": start},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": '{"a": '},
        },
    ]
    assert read(Dialect.MESSAGES, named(*events)).calls == (Called("f", '{"a": '),)


@pytest.mark.parametrize(
    ("dialect", "event", "failure"),
    [
        (Dialect.CHAT, {"error": {"message": "m", "type": "t", "code": "c"}}, "c"),
        (Dialect.CHAT, {"error": {"message": "m", "type": "t", "code": None}}, "t"),
        (Dialect.CHAT, {"error": {"message": "m", "code": 503}}, "503"),
        (Dialect.CHAT, {"error": "down"}, "error"),
        (Dialect.CHAT, {"error": [1]}, "error"),
        (
            Dialect.MESSAGES,
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            "overloaded_error",
        ),
        (
            Dialect.RESPONSES,
            {"type": "error", "code": "server_error", "message": "m"},
            "server_error",
        ),
        (
            Dialect.RESPONSES,
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": {"code": "quota", "message": "m"}},
            },
            "quota",
        ),
    ],
)
def test_an_error_within_a_stream_is_seen(
    dialect: Dialect, event: dict[str, object], failure: str
) -> None:
    data = orjson.dumps(event)
    assert read(dialect, [(b"", data)]).failure == failure
    assert kind_of(dialect, data) is Kind.ERROR


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[]", b"1", b"null", b'"text"'])
def test_what_is_no_event_of_any_dialect_is_an_error(data: bytes) -> None:
    assert {kind_of(dialect, data) for dialect in Dialect} == {Kind.ERROR}


@by_shape
def test_an_answer_begins_with_its_first_content(shape: Shape) -> None:
    kinds = [kind_of(shape.dialect, data) for _, data in shape.events]
    assert kinds[-1] is Kind.END
    assert Kind.ERROR not in kinds
    first = kinds.index(Kind.CONTENT) if Kind.CONTENT in kinds else len(kinds) - 1
    before = StreamReading(shape.dialect)
    for _, data in shape.events[:first]:
        before.read(data)
    seen = before.reading()
    assert replace(seen, usage=None, id="", model="", fingerprint="", service="") == Reading()


KEYS = [
    *("choices", "delta", "message", "content", "usage", "type", "index", "tool_calls"),
    *("function", "output", "error", "response", "content_block", "input", "summary"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(json_values, st.sampled_from(Dialect))
def test_reading_does_not_fail_whatever_an_upstream_sends(values: object, dialect: Dialect) -> None:
    stream = StreamReading(dialect)
    stream.take(values)
    types = ["message_start", "content_block_start", "message_delta", "response.completed"]
    for kind in types:
        stream.take({"type": kind, "message": values, "content_block": values, "usage": values})
        stream.take({"type": kind, "response": values, "delta": values, "index": values})
    stream.reading()
    read_answer(dialect, values)


@pytest.mark.parametrize("dialect", Dialect)
def test_deep_nesting_is_no_failure(dialect: Dialect) -> None:
    deep = b'{"type":"message_start","message":' + b'{"usage":' * 900 + b"1" + b"}" * 901
    assert read_stream(dialect, b"data: " + deep + b"\n\n")[0].usage is None
    bad = b'{"type":"content_block_start","content_block":{"type":"tool_use","input":'
    deep = bad + b"[" * 900 + b"]" * 900 + b"}}"
    read_stream(dialect, b"data: " + deep + b"\n\n")


ODD = st.sampled_from([None, "", "x", 0, 1, True, [], {}, ["x"], {"a": 1}, [{"type": "text"}]])


def oddly(**usual: object) -> st.SearchStrategy[dict[str, object]]:
    """An object that has most of these fields as they usually are, and the others in any way."""
    usually = {key: st.just(value) | ODD for key, value in usual.items()}
    return st.fixed_dictionaries({}, optional=usually)


messages = oddly(
    role="assistant", content="hi", refusal=None, tool_calls=[], reasoning_content="", audio=None
)
choices = st.fixed_dictionaries(
    {"message": messages | ODD},
    optional={
        "index": ODD,
        "finish_reason": st.sampled_from(["stop", "content_filter", None, 7]),
        "text": ODD,
        "delta": messages | ODD,
    },
)
chats = st.fixed_dictionaries(
    {"choices": st.lists(choices, min_size=1, max_size=2) | ODD},
    optional={
        "id": ODD,
        "model": ODD,
        "system_fingerprint": ODD,
        "error": ODD,
        "type": st.sampled_from(["error", "other"]),
    },
)


@given(chats)
def test_the_short_way_through_an_answer_tells_what_the_long_one_does(
    chat: dict[str, object],
) -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 3}
    known = Usage(2, 3)
    told = read_answer(Dialect.CHAT, {**chat, "usage": usage})
    assert read_answer(Dialect.CHAT, chat, known) == replace(told, usage=known)
