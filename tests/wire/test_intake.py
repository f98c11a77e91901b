"""However bytes arrive, the same requests are found in them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.wire.head import Head
from gateway.wire.intake import BodySink, Intake
from tests.test_inference import new_services


class Taken:
    """Keeps what was found; a path that is not an endpoint's has a sink."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self.full = False

    def head_arrived(self, head: Head) -> BodySink | None:
        return Sink(self, head.path) if head.path == b"/sink" else None

    def remember(self, raw: bytes, head: Head) -> None:
        pass

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
    return Intake(services, taken), taken, services


def test_what_came_of_a_large_body_is_not_taken_for_headers_of_the_next_request(world):
    intake, taken, _ = world
    chunks = request(b"/lane", b"y" * 5000, chunked=True)
    intake.feed(request(b"/lane", b"x" * 150_000) + chunks[:1])
    intake.feed(chunks[1:3000])
    intake.feed(chunks[3000:])
    assert taken.found == [(b"/lane", b"x" * 150_000), (b"/lane", b"y" * 5000)]
