"""A stream whose chunks are put together says what it said chunk by chunk."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.llm.reading import Reading, StreamReading, read_stream
from gateway.wire.llm.runs import joined
from gateway.wire.llm.sse import Frames, event_of
from gateway.wire.llm.words import Dialect

BEFORE = b'data: {"id":"c-1","model":"m","choices":[{"index":0,"delta":{"content":"'
AFTER = b'"},"finish_reason":null}]}\n\n'
ROLE = b'data: {"id":"c-1","model":"m","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
THOUGHT = b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def said(*pieces: bytes) -> bytes:
    return b"".join(BEFORE + piece + AFTER for piece in pieces)


def event_by_event(data: bytes) -> tuple[Reading, bool]:
    stream, frames = StreamReading(Dialect.CHAT), Frames()
    for one in [*frames.feed(data), frames.rest]:
        stream.read(event_of(one)[1])
    return stream.reading(), stream.ended


def test_chunks_that_are_alike_but_for_their_words_become_one():
    chunks = [ROLE, said(b"the"), said(b" mill"), said(b" turns"), STOP]
    data = [event_of(one)[1] for one in chunks]
    assert joined(data) == [data[0], event_of(said(b"the mill turns"))[1], data[-1]]


UNLIKE = {
    "one-chunk": ROLE + said(b"a") + STOP,
    "no-words": ROLE + STOP + DONE,
    "nothing": b"",
    "no-beginning": said(b"a", b"b"),
    "no-end": ROLE + said(b"a") + BEFORE,
    "cut-words": ROLE + BEFORE + b"a",
    "cut-within-its-end": ROLE + said(b"a", b"00")[:-3],
    "cut-within-a-later-end": ROLE + said(b"a", b"b", b"00")[:-3],
    "other-chunks-between": ROLE + said(b"a") + THOUGHT + said(b"b", b"c"),
    "other-chunks-later": ROLE + said(b"a", b"b") + THOUGHT + said(b"c", b"d") + STOP,
    "comments-between": ROLE + said(b"a", b"b") + b": ping\n\n" + said(b"c"),
    "an-end-within-an-escape": ROLE + said(b"a", b"b\\", b"c", b"d") + STOP,
    "half-a-character": ROLE + said(b"a", b"\\ud83d", b"\\ude00", b"c") + STOP,
    "more-than-words": ROLE + said(b"a", b'b","role":"x', b"c") + STOP,
    "words-twice": ROLE
    + said(b"a", b"b", b"c").replace(AFTER, b'","content":"z"' + AFTER[1:])
    + STOP,
    "each-with-a-reason": ROLE + said(b"a", b"b", b"c").replace(b"null", b'"stop"'),
    "each-with-usage": ROLE
    + said(b"a", b"b", b"c").replace(b"}]}", b'}],"usage":{"completion_tokens":1}}')
    + STOP,
    "each-an-error": ROLE + said(b"a", b"b", b"c").replace(b"}]}", b'}],"error":"x"}') + STOP,
    "another-choice": ROLE + said(b"a", b"b", b"c").replace(b'"index":0', b'"index":1') + STOP,
    "of-no-model": said(b"a", b"b", b"c").replace(b'"model":"m",', b""),
    "no-json": ROLE + said(b"a", b"b", b"c").replace(b"]}", b"]]"),
}


@pytest.mark.parametrize("data", UNLIKE.values(), ids=UNLIKE)
def test_chunks_that_say_more_or_are_told_apart_read_the_same(data):
    assert read_stream(Dialect.CHAT, data) == event_by_event(data)


WORDS = st.lists(st.text(max_size=5).map(lambda text: orjson.dumps(text)[1:-1]), max_size=8)
# What may go wrong where words are cut: quotes, escapes and halves of characters.
PIECES = st.text('"\\,:[]{}uad830e\n ', max_size=6).map(str.encode)
EVENTS = st.sampled_from([ROLE, STOP, THOUGHT, DONE, b": ping\n\n"])


@given(st.lists(WORDS.map(lambda words: said(*words)) | EVENTS, max_size=6))
def test_whatever_words_there_are_they_read_the_same(parts):
    data = ROLE + b"".join(parts)
    assert read_stream(Dialect.CHAT, data) == event_by_event(data)


@given(st.lists(PIECES, max_size=6), st.integers(0, 800))
def test_whatever_stands_in_place_of_words_it_reads_the_same(pieces, cut):
    data = (ROLE + said(b"a", *pieces) + STOP + DONE)[: -cut or None]
    assert read_stream(Dialect.CHAT, data) == event_by_event(data)
