"""However bytes arrive, the same requests are found in them."""

from __future__ import annotations

import sys
import tracemalloc
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BodyTooLarge, GatewayError, MalformedHttp, Overloaded
from gateway.wire.head import Head, Known
from gateway.wire.intake import BodySink, Intake
from tests.test_inference import new_services


class Taken:
    """Keeps what was found; a path that is not an endpoint's has a sink."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self.heads: dict[Known, Head] = {}
        self.full = False

    def head_arrived(self, head: Head) -> BodySink | None:
        return Sink(self, head.path) if head.path == b"/sink" else None

    def remember(self, known: Known, head: Head) -> None:
        self.heads[known] = head

    def recall(self, known: Known) -> Head | None:
        return self.heads.get(known)

    def request_arrived(self, head: Head, body: bytes, arrived: float) -> None:
        assert type(body) is bytes
        self.found.append((head.path, body))


class Sink:
    def __init__(self, taken: Taken, path: bytes) -> None:
        self.taken, self.path, self.pieces = taken, path, [b""]

    def feed(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def complete(self) -> None:
        self.taken.found.append((self.path, b"".join(self.pieces)))


def request(path: bytes, body: bytes, *, chunked: bool = False) -> bytes:
    if chunked:
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        return b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%b" % (
            path,
            framed,
        )
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path, len(body))
    return head + body


@pytest.fixture
def world() -> tuple[Intake, Taken, Any]:
    services, taken = new_services(), Taken()
    services.endpoints[b"/lane"] = lambda exchange: None
    return Intake(services, taken), taken, services


sizes = st.sampled_from([0, 1, 5000, 40_000, 150_000])
messages = st.tuples(st.sampled_from([b"/lane", b"/sink"]), sizes, st.booleans())


@pytest.mark.parametrize("known", [(), (b"/lane",)], ids=["no-head-is-known", "heads-are-known"])
@given(asked=st.lists(messages, min_size=1, max_size=5), data=st.data())
def test_requests_are_found_wherever_the_bytes_are_cut(known, asked, data):
    services, taken = new_services(), Taken()
    services.endpoints = dict.fromkeys(known, lambda exchange: None)
    intake = Intake(services, taken)
    bodies = [bytes([65 + n]) * size for n, (_, size, _) in enumerate(asked)]
    each = [
        request(path, body, chunked=chunked)
        for (path, _, chunked), body in zip(asked, bodies, strict=True)
    ]
    stream, ends = b"".join(each), list(accumulate(map(len, each)))
    # Where a request ends or begins more goes on than in the middle of its body.
    near = st.builds(int.__add__, st.sampled_from(ends), st.integers(-20_000, 20_000))
    cuts = sorted(min(max(0, cut), len(stream)) for cut in data.draw(st.lists(near, max_size=6)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if start < end:
            assert (intake.feed if intake.begun else intake.feed_whole)(stream[start:end]) == b""
    assert taken.found == [(path, body) for (path, _, _), body in zip(asked, bodies, strict=True)]
    assert not intake.begun
    held = sum(len(body) for path, body in taken.found if path == b"/lane")
    assert services.buffered_bytes == held  # until each was answered


def receive(intake: Intake, *pieces: bytes) -> None:
    for piece in pieces:
        assert (intake.feed if intake.begun else intake.feed_whole)(piece) == b""


@pytest.mark.parametrize("size", [10, 5000, 150_000])
@pytest.mark.parametrize("cut", [-5, 0, 5], ids=["in-the-head", "after-the-head", "in-the-body"])
def test_a_head_that_was_seen_before_is_known_however_much_of_its_body_comes_with_it(
    world, size, cut
):
    intake, taken, services = world
    whole = request(b"/lane", b"x" * size)
    at = whole.index(b"x" * size) + cut
    receive(intake, whole)
    known = dict(taken.heads)
    receive(intake, whole[:at], whole[at:], whole, whole[:at], whole[at:])
    assert taken.found == [(b"/lane", b"x" * size)] * 4
    if cut >= 0:  # nothing but its bytes was looked at: it is the same head still
        assert taken.heads == known
        assert intake.head in known.values()
    assert services.buffered_bytes == 4 * size


def test_a_head_is_remembered_before_its_body_is_whole(world):
    intake, taken, _ = world
    whole = request(b"/lane", b"x" * 150_000)
    intake.feed_whole(whole[:100_000])
    assert whole[: whole.index(b"\r\n\r\n")] in taken.heads


def test_a_head_is_known_whatever_length_it_names(world):
    intake, taken, _ = world
    heads = []
    for size in (70_000, 5, 150_000, 5):
        receive(intake, request(b"/lane", b"x" * size))
        heads.append(intake.head)
    assert [len(body) for _, body in taken.found] == [70_000, 5, 150_000, 5]
    assert [head.length for head in heads] == [70_000, 5, 150_000, 5]
    assert [head.first(b"content-length") for head in heads] == [b"70000", b"5", b"150000", b"5"]
    assert heads[1] is heads[3]
    first = heads[0]
    assert all(head.first(b"host") is first.first(b"host") for head in heads)  # not parsed again


@pytest.mark.parametrize(
    "line",
    [
        b"content-length: ",
        b"content-length: -5",
        b"content-length: +5",
        b"content-length: 5x",
        b"content-length: 5, 5",
        b"content-length: 5\r\ncontent-length: 6",
        b"content-length: 5\r\ntransfer-encoding: chunked",
        b"content-length: 5\r\n : 6",
        b"content-length: 99999999999999999999999",
    ],
)
def test_a_head_that_differs_in_more_than_a_length_is_for_the_parser_to_judge(world, line):
    intake, taken, _ = world
    head = request(b"/lane", b"x" * 7)
    receive(intake, head)
    with pytest.raises(GatewayError):
        intake.feed_whole(head.replace(b"content-length: 7", line))
    assert len(taken.found) == 1


def test_no_head_that_is_known_lets_more_in_than_may_come(world):
    intake, _, services = world
    receive(intake, request(b"/lane", b"x" * 7))
    with pytest.raises(BodyTooLarge):
        intake.feed_whole(request(b"/lane", b"")[:-5] + b"%d\r\n\r\n" % (1 << 40))
    assert services.buffered_bytes == 7


def test_what_follows_a_request_with_a_known_head_is_its_own(world):
    intake, taken, _ = world
    whole = request(b"/lane", b"x" * 5000)
    receive(intake, whole, whole + request(b"/lane", b"next"), whole[:100])
    receive(intake, whole[100:] + request(b"/lane", b"last"))
    assert [len(body) for _, body in taken.found] == [5000, 5000, 4, 5000, 4]


def test_a_body_with_a_known_head_is_refused_where_it_finds_no_room(world):
    intake, _, services = world
    whole = request(b"/lane", b"x" * 150_000)
    receive(intake, whole)
    services.buffered_bytes = services.limits.max_buffered_bytes - 100_000
    with pytest.raises(Overloaded):
        intake.feed_whole(whole[:50_000])
    assert (intake.ended, services.buffered_bytes) == (
        True,
        services.limits.max_buffered_bytes - 100_000,
    )


def test_what_came_of_a_large_body_is_not_taken_for_headers_of_the_next_request(world):
    intake, taken, _ = world
    chunks = request(b"/lane", b"y" * 5000, chunked=True)
    intake.feed(request(b"/lane", b"x" * 150_000) + chunks[:1])
    intake.feed(chunks[1:3000])
    intake.feed(chunks[3000:])
    assert taken.found == [(b"/lane", b"x" * 150_000), (b"/lane", b"y" * 5000)]


@pytest.mark.parametrize("left", [1, 4000, 10_000])
def test_the_end_of_a_large_body_may_come_by_itself(world, left):
    intake, taken, _ = world
    large = request(b"/lane", b"x" * 100_000)
    intake.feed(large[:-left])
    intake.feed(large[-left:] + request(b"/lane", b"next"))
    assert taken.found == [(b"/lane", b"x" * 100_000), (b"/lane", b"next")]


def test_what_follows_a_large_body_is_parsed_as_ever(world):
    intake, taken, _ = world
    large = request(b"/lane", b"x" * 100_000)
    intake.feed(large[:50_000])
    with pytest.raises(MalformedHttp):
        intake.feed(large[50_000:] + b"no request\r\n\r\n")
    assert taken.found == [(b"/lane", b"x" * 100_000)]


def test_what_is_held_of_a_large_body_is_counted_and_given_back(world):
    intake, _, services = world
    intake.feed(request(b"/lane", b"x" * 200_000)[:150_000])
    assert 149_000 < services.buffered_bytes < 150_000
    intake.release()
    assert services.buffered_bytes == 0


def test_a_large_body_is_refused_once_too_many_bytes_are_held(world):
    intake, _, services = world
    large = request(b"/lane", b"x" * 200_000)
    intake.feed(large[:100_000])
    services.buffered_bytes = services.limits.max_buffered_bytes - 10
    with pytest.raises(Overloaded) as refused:
        intake.feed(large[100_000:])
    assert isinstance(refused.value, GatewayError)


def test_few_bytes_of_a_body_do_not_keep_those_that_came_with_them(world):
    intake, taken, _ = world
    many = b"".join(request(b"/lane", b"%05d" % n) for n in range(3000))
    received = many + request(b"/lane", b"x" * 100_000)[:-90_000]
    before = sys.getrefcount(received)
    intake.feed(received)
    assert len(taken.found) == 3000
    assert sys.getrefcount(received) == before


def test_a_body_that_comes_in_crumbs_takes_little_more_memory_for_each(world):
    intake, _, _ = world
    intake.feed(request(b"/lane", b"x" * 100_000)[:-80_000])
    tracemalloc.start()
    try:
        for _ in range(20_000):
            intake.feed(bytes(bytearray(2)))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 20_000 * 60  # the bytes themselves, and their place in a list


def test_a_large_body_that_is_the_last_of_its_connection_ends_it(world):
    intake, taken, _ = world
    last = request(b"/lane", b"x" * 100_000).replace(b"host", b"connection: close\r\nhost")
    intake.feed(last + b"whatever")
    assert intake.ended
    assert taken.found == [(b"/lane", b"x" * 100_000)]


def test_whoever_is_full_gets_what_follows_a_large_body_later(world):
    intake, taken, _ = world
    stream = request(b"/lane", b"x" * 100_000) + request(b"/lane", b"y" * 100_000)
    taken.full = True
    rest = intake.feed(stream)
    taken.full = False
    assert intake.feed(rest) == b""
    assert [body[:1] for _, body in taken.found] == [b"x", b"y"]
