"""An upstream that streams, and clients that read what a server in between makes of it.

    python -m loadtest.streams PORT     # the upstream alone

Each answer is an event stream of 200 chunks, sent one by one: all answers under way get their next
chunk every few milliseconds, each by a write of its own.

Knows chunked framing. Knows nothing of what stands between the two.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvloop

CHUNKS = 200
EVERY_S = 0.005
REQUEST = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"%s"}]}' % (b"x" * 230)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DELTA: dict[str, Any] = {
    "id": "chatcmpl-BqZ8J2hT0",
    "object": "chat.completion.chunk",
    "created": 1751800000,
    "model": "m-2026-01-01",
    "system_fingerprint": "fp_0a1b2c3d4e",
    "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}],
}
EVENT = b"data: " + json.dumps(DELTA, separators=(",", ":")).encode() + b"\n\n"
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
LAST_CHUNK = b"0\r\n\r\n"


class Source(asyncio.Protocol):
    """Answers every request with a stream; requests come one after the other."""

    under_way: dict[Source, int]

    def __init__(self, under_way: dict[Source, int]) -> None:
        self.under_way = under_way
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length or 0):
            self.received = b""
            self.transport.write(HEAD)
            self.under_way[self] = CHUNKS

    def connection_lost(self, exc: Exception | None) -> None:
        self.under_way.pop(self, None)


async def serve(port: int, every_s: float = EVERY_S) -> None:
    loop = asyncio.get_running_loop()
    under_way: dict[Source, int] = {}
    server = await loop.create_server(lambda: Source(under_way), "127.0.0.1", port)
    async with server:
        while True:
            began = loop.time()
            _send_next(under_way)
            await asyncio.sleep(max(0.0, began + every_s - loop.time()))


def _send_next(under_way: dict[Source, int]) -> None:
    for source, left in list(under_way.items()):
        if left:
            source.transport.write(CHUNK)
            under_way[source] = left - 1
        else:
            source.transport.write(LAST_CHUNK)
            del under_way[source]


@dataclass
class Tally:
    """What clients have read.

    Attributes:
        answers: whole ones.
        faults: answers that held anything but the 200 events.
    """

    answers: int = 0
    faults: int = 0
    until: float = 0.0
    open: int = 0


class Reader(asyncio.Protocol):
    """Sends the next request as soon as an answer is over."""

    def __init__(self, tally: Tally, request: bytes, over: asyncio.Event) -> None:
        self.tally, self.request, self.over = tally, request, over
        self.events = self.length = 0
        self.tail = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.tally.open += 1
        self._ask()

    def _ask(self) -> None:
        self.events = self.length = 0
        self.tail = b""
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b"data: {")
        self.tail = (self.tail + data)[-5:]
        if self.tail != LAST_CHUNK:
            return
        self.tally.answers += 1
        self.tally.faults += self.events != CHUNKS
        if time.perf_counter() < self.tally.until:
            self._ask()
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.tally.open -= 1
        if not self.tally.open:
            self.over.set()


async def reading(port: int, seconds: float, clients: int) -> Tally:
    """Reads streams for so long, and then to the end of those that are under way."""
    body = b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
    request = body + b"content-length: %d\r\n\r\n%s" % (len(REQUEST), REQUEST)
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    tally = Tally(until=time.perf_counter() + seconds)
    for number in range(clients):
        await loop.create_connection(lambda: Reader(tally, request, over), "127.0.0.1", port)
        # So that not all answers begin and end in the same turns of the loop.
        await asyncio.sleep(0.5 / clients if number else 0)
    await over.wait()
    return tally


def read(port: int, seconds: float, clients: int) -> Tally:
    """As `reading`, on a loop of its own."""
    return uvloop.run(reading(port, seconds, clients))


def main() -> None:
    uvloop.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
