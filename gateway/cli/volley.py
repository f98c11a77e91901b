"""Sends prepared HTTP requests over a few keep-alive connections as fast as they are answered.

Knows just enough HTTP to tell where an answer ends. Knows nothing of what is asked: it is there so
that `penstock demo` measures the server rather than a client. Closed loop: a connection sends its
next request when the last was answered (`loadtest/` holds the open-loop generator).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import uvloop

from gateway.errors import Unavailable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\npenstock-request-id: *([!-~]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, how long it took, and what outcomes know it by."""

    status: int
    body: bytes
    seconds: float
    id: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came back: answers in the order of the requests, and the time for all of them."""

    answers: list[Answer]
    seconds: float


def fire(
    host: str, port: int, requests: Sequence[bytes], connections: int, timeout_s: float
) -> Result:
    """Sends all requests and waits for all answers.

    Raises:
        Unavailable: the server closed a connection, or the time is over.
    """
    return uvloop.run(_fire(host, port, requests, connections, timeout_s))


async def _fire(
    host: str, port: int, requests: Sequence[bytes], connections: int, timeout_s: float
) -> Result:
    loop = asyncio.get_running_loop()
    volley = _Volley(requests, loop.create_future())
    start = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_s):
            for _ in range(min(connections, len(requests))):
                await loop.create_connection(lambda: _Connection(volley), host, port)
            await volley.done
    except OSError as error:  # TimeoutError is one
        why = str(error) or f"nothing more within {timeout_s:.0f} s"
        given = f"{len(requests) - volley.open} of {len(requests)} requests answered"
        raise Unavailable(f"port {port}: {given}: {why}") from error
    seconds = time.perf_counter() - start
    return Result([volley.answers[n] for n in range(len(requests))], seconds)


class _Volley:
    """What the connections share: the requests still to be sent, and the answers."""

    def __init__(self, requests: Sequence[bytes], done: asyncio.Future[None]) -> None:
        self.requests = requests
        self.done = done
        self.answers: dict[int, Answer] = {}
        self.open = len(requests)
        self._next = iter(range(len(requests)))

    def take(self) -> int | None:
        return next(self._next, None)

    def answered(self, number: int, answer: Answer) -> None:
        self.answers[number] = answer
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, volley: _Volley) -> None:
        self._volley = volley
        self._transport: asyncio.WriteTransport | None = None
        self._number: int | None = None
        self._sent = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's own class, no subclass
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        length = _LENGTH.search(self._received, 0, end)
        end_of_body = end + (int(length[1]) if length else 0)
        if len(self._received) < end_of_body or self._number is None:
            return
        seconds = time.perf_counter() - self._sent
        status = int(self._received[9:12])
        named = _ID.search(self._received, 0, end)
        body = self._received[end:end_of_body]
        self._received = b""
        number, self._number = self._number, None
        name = named[1].decode() if named else ""
        self._volley.answered(number, Answer(status, body, seconds, name))
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        volley = self._volley
        if self._number is not None and not volley.done.done():
            volley.done.set_exception(ConnectionError("the server closed a connection"))

    def _send_next(self) -> None:
        assert self._transport is not None
        self._number = self._volley.take()
        if self._number is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(self._volley.requests[self._number])
