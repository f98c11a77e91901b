"""However an answer's bytes are split on their way, the same is told of it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.llm.upstream.connection import Connection
from gateway.llm.upstream.pool import Pool
from gateway.llm.upstream.sending import Request
from gateway.llm.upstream.words import Counters, Limits, Origin
from tests.llm.scripted import CHUNKED, LAST_CHUNK, Told, chunk, ok
from tests.llm.test_upstream_hostile import BROKEN, CUT_SHORT
from tests.llm.upstream_rig import TIMEOUTS

# Requests of it wait until they are given a connection by hand.
NOWHERE = Origin("http", "127.0.0.1", 1, max_connections=0)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"


class Wire:
    """A transport whose other end is the test."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return self._sock if name == "socket" else None

    def write(self, data: bytes) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Turns:
    """A loop that takes its turns when it is told to."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def call_soon(self, call: Callable[..., None], *arguments: Any) -> None:
        self._calls.append((call, arguments))

    def run(self) -> None:
        while self._calls:
            call, arguments = self._calls.pop(0)
            call(*arguments)


@contextmanager
def connected(turns: Turns | None = None) -> Iterator[tuple[Told, Connection, Wire]]:
    """A request that has just been sent."""
    loop: Any = turns  # no connection is made; most ask nothing of it
    pool = Pool(NOWHERE, Limits(), Counters(), loop, lambda *_: pytest.fail("connects"), lambda: 0)
    told = Told()
    pool.begin(Request(pool, b"head", b"body", told, TIMEOUTS, 0.0))
    here, there = socket.socketpair()
    with here, there:
        connection, wire = Connection(pool), Wire(here)
        transport: Any = wire
        connection.connection_made(transport)
        yield told, connection, wire


def told_of(pieces: Sequence[bytes]) -> tuple[Any, ...]:
    """What is told of an answer that comes in these pieces, after which the upstream closes."""
    with connected() as (told, connection, wire):
        for piece in pieces:
            if not wire.closed:
                connection.data_received(piece)
        connection.connection_lost(None)
        error = (str(told.error), told.sent, told.answered) if told.error else None
        order = [call for call in told.calls if call != "data"]
        return order, told.status, tuple(told.headers), told.body, error


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    starts = [0, *ends]
    return [data[a:b] for a, b in zip(starts, ends, strict=False) if a < b]


GOOD = [
    ok(b"body", b"a: b"),
    CHUNKED + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
    CHUNKED + b"5;x=y\r\nhello\r\n0\r\ntrailer: 1\r\n\r\n",
    b"HTTP/1.1 103 Early\r\na: b\r\n\r\n" + ok(b"body"),
    ok(b"body") + ok(b"forged"),
    ok(b"body") + b"garbage",
    UNTIL_CLOSE + b"anything\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 500 Oh\r\ncontent-length: 2\r\n\r\nno",
]
# What is split is another thing where all of it is nothing.
KNOWN = [*GOOD, *BROKEN.values(), *filter(None, CUT_SHORT.values())]


@given(st.sampled_from(KNOWN), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_an_answer_tells_the_same(answer, cuts):
    assert told_of(split(answer, cuts)) == told_of([answer])


@pytest.mark.parametrize("answer", KNOWN)
def test_an_answer_that_comes_byte_by_byte_tells_the_same(answer):
    assert told_of([answer[at : at + 1] for at in range(len(answer))]) == told_of([answer])


NAMES = st.from_regex(rb"x-[a-zA-Z0-9_-]{1,20}", fullmatch=True)
VALUES = st.from_regex(rb"([!-~\x80-\xff]([ -~\x80-\xff]{0,30}[!-~\x80-\xff])?)?", fullmatch=True)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=10)
STATUSES = st.integers(200, 599).filter(lambda status: status not in (204, 304))


@given(
    STATUSES,
    HEADERS,
    st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    st.sampled_from(["length", "chunked", "close"]),
    st.lists(st.integers(0, 5000), max_size=12),
)
def test_what_an_upstream_means_is_what_is_told(status, headers, pieces, framing, cuts):
    body = b"".join(pieces)
    given_headers = list(headers)
    sent = body
    if framing == "length":
        given_headers.append((b"content-length", b"%d" % len(body)))
    elif framing == "chunked":
        given_headers.append((b"transfer-encoding", b"chunked"))
        sent = b"".join(map(chunk, pieces)) + b"0\r\n\r\n"
    lines = b"".join(b"%s: %s\r\n" % header for header in given_headers)
    answer = b"HTTP/1.1 %d X\r\n%s\r\n%s" % (status, lines, sent)
    told = tuple((name.lower(), value) for name, value in given_headers)
    assert told_of(split(answer, cuts)) == (["head", "end"], status, told, body, None)


FRAMINGS = st.sampled_from([b"%x\r\n", b"%X\r\n", b"0%x\r\n", b"%x;a=b\r\n", b"%x \r\n", b"%x\n"])
# Among them what looks like the end of a chunk, or the beginning of another.
INSIDE = st.one_of(
    st.sampled_from([b"\r\n", b"a\r\n", b"1\r\na\r\n", b"x" * 300, b"0\r\n\r\n"]),
    st.binary(min_size=1, max_size=20),
)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Chunks that are framed in any way, and where they are cut: mostly where each ends."""
    sent, cuts = CHUNKED, [len(CHUNKED)]
    for data in draw(st.lists(INSIDE, min_size=2, max_size=8)):
        size = draw(FRAMINGS) % (len(data) + draw(st.sampled_from([0] * 8 + [-1, 1])))
        sent += size + data + b"\r\n"
        cuts.append(len(sent) + draw(st.sampled_from([0] * 6 + [-3, -2, -1, 1, 2, 3])))
    return sent + LAST_CHUNK, cuts


@given(chunked())
def test_chunks_that_come_one_by_one_tell_what_they_tell_together(sent):
    answer, cuts = sent
    assert told_of(split(answer, cuts)) == told_of([answer])


def test_a_chunk_that_ends_in_no_line_end_is_refused_where_it_comes_alone():
    reads = [CHUNKED, chunk(b"ab"), chunk(b"cd"), b"2\r\nefgh"]
    assert told_of(reads) == told_of([b"".join(reads)])
    assert told_of(reads)[-1] is not None


@given(st.lists(st.integers(1, 8186), min_size=3, max_size=5))
def test_chunks_of_any_length_are_told_one_by_one(sizes):
    with connected() as (told, connection, _):
        connection.data_received(CHUNKED)
        for count, size in enumerate(sizes, 1):
            connection.data_received(chunk(b"x" * size))
            assert len(told.body) == sum(sizes[:count])
        connection.data_received(LAST_CHUNK)
        assert told.calls == ["head", *["data"] * len(sizes), "end"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An answer of which some bytes are others, are gone, or are there twice."""
    data = draw(st.sampled_from(KNOWN))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = at + draw(st.integers(0, 3))
        kind = draw(st.sampled_from(["other", "gone", "twice"]))
        middle = data[at:end] * 2 if kind == "twice" else b""
        data = data[:at] + (draw(st.binary(max_size=3)) if kind == "other" else middle) + data[end:]
    return data


@given(st.one_of(damaged(), st.binary(max_size=200)), st.lists(st.integers(0, 1000), max_size=6))
def test_whatever_comes_a_caller_is_told_one_end(data, cuts):
    with connected() as (told, connection, wire):
        for piece in split(data, cuts):
            if not wire.closed:
                connection.data_received(piece)
        connection.connection_lost(None)
        assert sum(call in ("end", "failure") for call in told.calls) == 1
        assert told.over
        assert connection.request is None


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
EVENTS = b"".join(b"data: %d\n\n" % number for number in range(5000))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(CHUNKED + chunk(EVENTS) + LAST_CHUNK, id="chunks"),
        pytest.param(UNTIL_CLOSE + EVENTS, id="until-it-closes"),
    ],
)
def test_what_was_read_is_told_whole_where_its_connection_ends_before_the_next_turn(answer):
    turns = Turns()
    with connected(turns) as (told, connection, _):
        connection.data_received(answer)
        assert 0 < len(told.body) < len(EVENTS), "the rest is for later turns"
        connection.connection_lost(None)
        assert told.body == EVENTS
        assert told.calls[-1] == "end"
        turns.run()
        assert told.calls.count("end") == 1


def test_what_comes_before_the_rest_of_a_large_read_was_told_is_told_behind_it():
    turns = Turns()
    first = bytes(range(256)) * 100
    with connected(turns) as (told, connection, _):
        connection.data_received(CHUNKED + chunk(first))
        connection.data_received(chunk(b"more"))  # an encrypted transport may have read it already
        connection.data_received(LAST_CHUNK)
        assert not told.over
        turns.run()
        assert told.body == first + b"more"
        assert told.calls[-1] == "end"
