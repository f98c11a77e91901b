"""A server whose every byte the test writes, and a sink that keeps what it is told."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme

from gateway.errors import GatewayError
from gateway.exchange import Header
from gateway.llm.upstream.words import Origin

PATIENCE_S = 30.0


def ok(body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """The body of the next request; its head is checked for the length only."""
        head = await self.head()
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readexactly(length)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, data: bytes) -> bytes:
        """Reads a request, writes this, and tells the request's body."""
        body = await self.request()
        self.send(data)
        return body

    async def left(self) -> bytes:
        """Waits until the client is gone; what it still sent."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        self.writer.close()

    def stop_reading(self) -> None:
        transport: Any = self.writer.transport
        transport.pause_reading()

    def at_once(self, data: bytes = b"") -> None:
        """Sends this, or the end, before the loop turns: nobody can have read it yet."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as sock:
            if data:
                sock.send(data)
            else:
                sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Scripted:
    """Listens; every connection waits until the test accepts it."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[Peer] = []
        self._new: asyncio.Queue[Peer] = asyncio.Queue()

    def origin(self, **other: Any) -> Origin:
        given: dict[str, Any] = {
            "scheme": "http",
            "host": "127.0.0.1",
            "allow_private": True,
        } | other
        return Origin(port=self.port, **given)

    async def accept(self) -> Peer:
        async with asyncio.timeout(PATIENCE_S):
            return await self._new.get()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self._new.put_nowait(peer)


def showing(leaf: trustme.LeafCert) -> ssl.SSLContext:
    """What a server needs that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@asynccontextmanager
async def scripted(context: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    server = Scripted()
    listener = await asyncio.start_server(server._connected, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        for peer in server.peers:
            peer.writer.transport.abort()
        listener.close()


@dataclass
class Told:
    """A sink: what it was told, in order."""

    status: int = 0
    headers: Sequence[Header] = ()
    pieces: list[bytes] = field(default_factory=list)
    length: int = 0
    error: GatewayError | None = None
    sent: bool | None = None
    answered: bool | None = None
    calls: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_head(self, status: int, headers: Sequence[Header]) -> None:
        self.status, self.headers = status, list(headers)
        self._note("head")

    def on_data(self, data: bytes) -> None:
        self.pieces.append(data)
        self.length += len(data)
        self._note("data")

    def on_end(self) -> None:
        self._note("end")

    def on_failure(self, error: GatewayError, *, sent: bool, answered: bool) -> None:
        self.error, self.sent, self.answered = error, sent, answered
        self._note("failure")

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.changed.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def over(self) -> bool:
        return bool(self.calls) and self.calls[-1] in ("end", "failure")

    async def until(self, call: str) -> None:
        """Waits until it was told this."""
        async with asyncio.timeout(PATIENCE_S):
            while call not in self.calls:
                assert not self.over, (self.calls, self.error)
                self.changed.clear()
                await self.changed.wait()

    async def until_body(self, length: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.length < length:
                assert not self.over, (self.calls, self.error)
                self.changed.clear()
                await self.changed.wait()


async def eventually(condition: Any) -> None:
    """Turns the loop until a condition holds, which other ends of sockets decide."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # the kernel decides, and sets no event
            await asyncio.sleep(0.001)
