"""Event streams: cut anywhere, ended by any line end, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamFailed
from gateway.wire.llm.sse import Frames, event_of, frame, telling

EVENTS = [
    (b"", b'{"a":1}'),
    (b"ping", b"{}"),
    (b"", b""),  # a comment
    (b"", b"one\ntwo"),
    (b"", b"[DONE]"),
]
LINES = [
    [b'data: {"a":1}'],
    [b"event: ping", b"data: {}"],
    [b": keep-alive"],
    [b"data: one", b"data:two", b"id: 7", b"retry"],
    [b"data: [DONE]"],
]


def written(end: bytes) -> bytes:
    return b"".join(end.join([*lines, b"", b""]) for lines in LINES)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
def test_a_stream_is_read_alike_wherever_it_is_cut(end: bytes, mark: bytes) -> None:
    stream = mark + written(end)
    for at in range(len(stream) + 1):
        frames = Frames()
        found = [*frames.feed(stream[:at]), *frames.feed(stream[at:])]
        assert [event_of(one) for one in found] == EVENTS, at
        assert frames.rest == b""


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b"y", b": c"]), max_size=30),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_line_ends_may_be_mixed_and_cut(pieces: list[bytes], first: int, second: int) -> None:
    stream = b"".join(pieces)
    first, second = sorted((first, second))
    whole, cut = Frames(), Frames()
    found = [*whole.feed(stream), *whole.feed(b"")]
    parts = [stream[:first], stream[first:second], stream[second:]]
    in_parts = [one for part in parts for one in cut.feed(part)]
    # Blank lines alone are no events, and where they fall between two does not matter.
    told = [[event for one in each if (event := event_of(one))[1]] for each in (found, in_parts)]
    assert told[0] == told[1]
    assert event_of(whole.rest) == event_of(cut.rest)


def test_frames_are_the_bytes_that_came() -> None:
    stream = written(b"\n") + b"data: rest"
    frames = Frames()
    assert b"".join(frames.feed(stream)) + frames.rest == stream


def test_a_stream_byte_by_byte_gives_the_same_frames() -> None:
    frames = Frames()
    found = [one for byte in written(b"\r\n") for one in frames.feed(bytes([byte]))]
    assert [event_of(one) for one in found] == EVENTS


def test_of_what_says_nothing_none_has_to_be_read() -> None:
    frames = Frames().feed(b": x\n\n\n\n" + written(b"\n") + b"event: ping\n\n: data\n\n")
    kept = [event_of(one) for one in telling(frames)]
    assert [one for one in kept if one[1]] == [one for one in EVENTS if one[1]]
    assert len(kept) == 5  # the last may say something, for all that is known before it is read


def test_a_frame_that_does_not_end_is_refused_at_its_bound() -> None:
    frames = Frames(max_frame_bytes=100)
    assert frames.feed(b"data: " + b"x" * 94) == []
    with pytest.raises(UpstreamFailed, match="longer than 100 bytes"):
        frames.feed(b"x")


def test_a_whole_frame_over_the_bound_is_refused_too() -> None:
    with pytest.raises(UpstreamFailed):
        Frames(max_frame_bytes=10).feed(b"data: 123456\n\n")


@pytest.mark.parametrize(("event", "data"), [(b"", b"{}"), (b"message_stop", b'{"type":1}')])
def test_what_is_written_is_what_is_read(event: bytes, data: bytes) -> None:
    assert Frames().feed(frame(data, event)) == [frame(data, event)]
    assert event_of(frame(data, event)) == (event, data)
