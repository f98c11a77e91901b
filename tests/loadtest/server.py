"""A small HTTP server, in a thread, whose answers a test decides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Self

import httptools

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\npenstock-request-id: host-0-1-%x\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


class _Connection(asyncio.Protocol):
    def __init__(self, server: SmallServer) -> None:
        self.server = server
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.connections += 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        number, body, self.body = len(self.server.bodies), self.body, b""
        self.server.bodies.append(body)
        answer = self.server.answer(number)
        if answer is None:
            self.transport.abort()
        elif answer:
            self.transport.write(answer)
            if b"connection: close" in answer:
                self.transport.close()


class SmallServer:
    """Answers the n-th request with `answer(n)`: bytes, b"" for silence, None to hang up."""

    def __init__(self, answer: Callable[[int], bytes | None] = lambda n: OK % n) -> None:
        self.answer = answer
        self.bodies: list[bytes] = []
        self.connections = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        listening = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        listening.close()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
