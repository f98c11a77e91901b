"""Bytes of a stream that need no translation are passed on as they are, however they come."""

from __future__ import annotations

from math import inf
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange import Stream
from gateway.llm.relay import Spoken
from gateway.llm.streamed import Streamed
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.sse import Frames, event_of, telling
from gateway.wire.llm.translate import translation
from gateway.wire.llm.words import Dialect

CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


class Kept(Stream):
    """A client's end that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    @property
    def gone(self) -> bool:
        return False

    def write(self, data: bytes) -> bool:
        self.written.append(data)
        return True

    def on_drain(self, callback) -> None:
        callback()

    def end(self) -> None:
        pass


def relayed(pieces) -> list[bytes]:
    kept = Kept()
    relay = Streamed(Spoken(Dialect.CHAT, Dialect.CHAT, None), lambda: kept, 1 << 26)
    for piece in pieces:
        relay.data(piece)
    relay.end()
    return kept.written


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@given(st.lists(st.integers(1, 40), min_size=1))
def test_every_byte_is_passed_on_at_ends_of_events_wherever_the_stream_is_cut(end, sizes):
    stream = end.join([CONTENT] * 5 + [LAST, b"data: [DONE]", b""])
    pieces: list[bytes] = []
    at = 0
    while at < len(stream):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stream[at : at + size])
        at += size
    written = [one for one in relayed(pieces) if one]
    assert b"".join(written) == stream
    assert all(one.endswith((end, end + b"\n")) for one in written[:-1])


ANSWERED = [
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}',
    CONTENT,
    LAST,
    b"data: [DONE]",
]


@pytest.mark.parametrize("client", [Dialect.CHAT, Dialect.MESSAGES])
@pytest.mark.parametrize("hides", [False, True], ids=["usage-shown", "usage-hidden"])
@pytest.mark.parametrize("events", [1, 3, 4], ids=["first", "finish", "done"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
def test_a_last_event_without_its_blank_line_is_whole_all_the_same(client, hides, events, end):
    said = ANSWERED[:events]
    if events == 1:  # all of the answer is its last event
        said = [*said, CONTENT.replace(b'"delta"', b'"finish_reason":"stop","delta"')]

    def passed(last: bytes) -> list[tuple[bytes, bytes]]:
        between = translation(client, Dialect.CHAT)
        asked = Asked("m", "r-1", 1, {}, False, 100)
        spoken = Spoken(client, Dialect.CHAT, between, asked, hides_usage=hides)
        kept = Kept()
        relay = Streamed(spoken, lambda: kept, 1 << 26)
        for one in (b"\n\n".join(said) + last).partition(b"assistant"):
            relay.data(one)
        relay.end()
        return [event_of(one) for one in telling(Frames().feed(b"".join(kept.written)))]

    assert passed(end) == passed(b"\n\n")


@pytest.mark.parametrize("last", [b'data: {"choi', b": a comment", b"data: 7"])
def test_what_is_no_event_behind_a_whole_answer_takes_nothing_from_it(last):
    written = b"".join(relayed([b"\n\n".join([CONTENT, LAST, last])]))
    assert written.startswith(b"\n\n".join([CONTENT, LAST, b""]))
    assert written.endswith(b"\n\ndata: [DONE]\n\n")


def test_an_event_that_comes_byte_by_byte_takes_time_in_proportion_to_its_length():
    def took(size: int) -> float:
        event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}' % (b"x" * size)
        stream = b"\n\n".join([CONTENT, event, LAST, b"data: [DONE]", b""])
        began = process_time()
        relayed([stream[at : at + 1] for at in range(len(stream))])
        return process_time() - began

    short = long = inf
    for _ in range(12):  # a busy machine adds to a time, and takes nothing away
        short, long = min(short, took(10_000)), min(long, took(40_000))
        if long < 8 * short:  # a square: sixteen times
            return
    pytest.fail(f"{long} s, against {short} s for a quarter")
