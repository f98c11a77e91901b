"""Chunks that are alike but for their words go the short way, and nobody can tell."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamFailed
from gateway.llm.alike import MAX_LOOKS, Alike
from gateway.llm.relay import AnswerTooLarge, Spoken
from gateway.llm.streamed import Streamed
from gateway.llm.unread import MAX_UNREAD_BYTES
from gateway.wire.llm.reading import Reading
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import Opened

BEFORE = b'data: {"id":"c-1","model":"m","choices":[{"index":0,"delta":{"content":"'
AFTER = b'"},"finish_reason":null}]'
NULL = b',"usage":null'
END = b"}\n\n"
ROLE = b'data: {"id":"c-1","model":"m","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
THOUGHT = b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
KEY = b"sk-secret"


def said(words: bytes, more: bytes = b"") -> bytes:
    return BEFORE + words + AFTER + more + END


class Long:
    """The long way, and how often it was gone."""

    def __init__(self, relay: Streamed) -> None:
        self.relay = relay
        self.gone: list[bytes] = []
        self.slow = 0

    def on_head(self, status: int, headers: Any) -> None:
        raise AssertionError("it has one")

    def on_data(self, data: bytes) -> None:
        self.gone.append(data)
        self.relay.data(data.replace(KEY, b"[key]"))

    def client_is_slow(self) -> None:
        self.slow += 1

    def on_end(self) -> None:
        self.relay.end()

    def on_failure(self, error: Any, *, sent: bool, answered: bool) -> None:
        self.relay.fail(error)


def begun(*, hides: bool = False, most: int = 1 << 30) -> tuple[Alike, Long, Opened, list[float]]:
    """A stream of which the client has the first event."""
    client: Any = Opened(SimpleNamespace(gone=False))
    relay = Streamed(
        Spoken(Dialect.CHAT, Dialect.CHAT, None, hides_usage=hides), lambda: client, most
    )
    relay.data(said(b"first", NULL if hides else b""))
    long = Long(relay)
    stamps: list[float] = []
    stream: Any = relay.plain_stream
    return Alike(long, relay, stream, KEY, stamps, lambda: 1.0), long, client, stamps


def both(pieces: Sequence[bytes], hides: bool) -> tuple[list[tuple[bytes, Reading, int]], int]:
    """What a client has and what was read, either way; how many pieces went the long one."""
    found = []
    gone = 0
    for short in (True, False):
        alike, long, client, _ = begun(hides=hides)
        for piece in pieces:
            (alike if short else long).on_data(piece)
        alike.on_end()
        found.append((client.data, long.relay.reading, long.relay.came))
        gone = gone or len(long.gone)
    return found, gone


@pytest.mark.parametrize("hides", [False, True], ids=["usage-shown", "usage-hidden"])
def test_of_chunks_alike_only_the_first_is_looked_at(hides):
    more = NULL if hides else b""
    words = [b"the ", b"mill", " weiß 水".encode(), b" turns."]
    (short, long), gone = both([*(said(one, more) for one in words), STOP, USAGE, DONE], hides)
    assert short == long
    assert short[1].texts == ("firstthe mill weiß 水 turns.",)
    assert gone == 4  # the first, and what is none of them


OTHERS = {
    "an-escape": said(b"a\\nb"),
    "a-quote": said(b'a\\"b'),
    "an-end-within-an-escape": said(b"b\\"),
    "half-a-pair": said(b"\\ud83d"),
    "half-a-character": said(b"\xe6\xb0"),
    "its-other-half": said(b"\xb4"),
    "a-control-character": said(b"a\tb"),
    "no-words": said(b""),
    "more-than-words": said(b'b","role":"x'),
    "two-at-once": said(b"a") + said(b"b"),
    "an-event-inside": said(b'a"}}]}\n\ndata: {"choices":[{"index":0,"delta":{"content":"b'),
    "a-bare-line-end": said(b"a\n\nb"),
    "a-thought": THOUGHT,
    "a-comment": b": ping\n\n",
    "the-key": said(b"it is " + KEY),
    "usage": USAGE,
    "usage-with-words": said(b"a", b',"usage":{"completion_tokens":9}'),
    "a-null": said(b"a", NULL),
    "a-null-with-blanks": said(b"a", b', "usage": null'),
    "a-filling": said(b"a", b',"obfuscation":"xyz"'),
    "shorter-than-what-stands-around": BEFORE[:-9] + AFTER[9:] + END,
    "carriage-returns": said(b"a").replace(b"\n", b"\r\n"),
    "one-quote-for-two": BEFORE + AFTER[1:] + END,
    "a-carriage-return-inside": said(b"a").replace(b',"model"', b',\r"model"'),
    "the-beginning-alone": BEFORE + b"a",
    "the-end-alone": AFTER + END,
    "nonsense": b"\xff\x00\n\n",
    "a-byte-order-mark": b"\xef\xbb\xbf",
}
ERROR = b'data: {"error":{"message":"no","code":"oh"}}\n\n'
WORDS = st.sampled_from(
    [b"a", b" mill", "ß".encode(), b"[1,2]", b"{}", b"data: x", b"'", b"x" * 999]
)
PIECES = st.one_of(WORDS.map(said), st.sampled_from([*OTHERS.values()]))


@pytest.mark.parametrize("hides", [False, True], ids=["usage-shown", "usage-hidden"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_is_not_alike_goes_the_long_way(other, hides):
    more = NULL if hides else b""
    alike = [said(b"a", more), said(b"b", more)]
    pieces = [*alike, other, *alike, other, other, *alike]
    (short, long), gone = both([*pieces, STOP, DONE], hides)
    assert short == long
    assert gone < len(pieces) + 2


@given(st.lists(PIECES, max_size=20), st.booleans())
def test_whatever_comes_the_short_way_tells_what_the_long_one_tells(pieces, hides):
    (short, long), _ = both([*pieces, b"\n\n", STOP, DONE], hides)
    assert short == long


def test_an_error_behind_such_chunks_is_the_answers():
    alike, long, client, _ = begun()
    for piece in (said(b"a"), said(b"b"), ERROR):
        alike.on_data(piece)
    with pytest.raises(UpstreamFailed, match="oh"):
        alike.on_end()
    assert client.data == said(b"first") + said(b"a") + said(b"b") + ERROR
    assert long.relay.reading.texts == ("firstab",)


def test_a_failure_behind_such_chunks_is_told():
    alike, _, client, _ = begun()
    for piece in (said(b"a"), said(b"b")):
        alike.on_data(piece)
    alike.on_failure(UpstreamFailed("gone"), sent=True, answered=True)
    assert client.data.startswith(said(b"first") + said(b"a") + said(b"b") + b"data: {")
    assert client.ended


def test_when_each_chunk_came_is_noted():
    alike, long, _, stamps = begun()
    for _ in range(5):
        alike.on_data(said(b"a"))
    assert len(stamps) == 5 - len(long.gone)


def test_a_client_that_reads_slowly_is_told_of():
    alike, long, client, _ = begun()
    alike.on_data(said(b"a"))
    client.slow = True
    alike.on_data(said(b"b"))
    assert long.slow == 1


def test_chunks_that_differ_each_time_are_not_looked_at_for_ever():
    alike, _, _, _ = begun()
    for number in range(2 * MAX_LOOKS):
        alike.on_data(said(b"a", b',"n":%d' % number))
    assert alike._looks == 0


def test_an_answer_without_an_end_is_not_taken():
    alike, _, _, _ = begun(most=2000)
    fits = (2000 - len(said(b"first"))) // len(said(b"a"))
    for _ in range(fits):
        alike.on_data(said(b"a"))
    with pytest.raises(AnswerTooLarge):
        alike.on_data(said(b"a"))


def test_a_long_answer_is_read_whole():
    alike, long, _, _ = begun()
    count = 3 * MAX_UNREAD_BYTES // len(said(b"a")) + 10
    for _ in range(count):
        alike.on_data(said(b"a"))
    for piece in (STOP, USAGE, DONE):
        alike.on_data(piece)
    alike.on_end()
    assert long.relay.reading.texts == ("first" + count * "a",)
    assert long.relay.usage is not None
