"""Clients that keep a server busy and account for every request they sent.

Closed loop: each connection is kept alive and sends its next request when the last one was
answered. A request ends in exactly one way: answered, cut (its connection died first), or refused a
connection.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ssl
import statistics
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.end_to_end.server import PATIENCE_S

RECONNECT_S = 0.01
# Of who only wants to see that nobody fails: it leaves the cores to what is done meanwhile.
UNHURRIED_S = 0.01


@dataclass
class Tally:
    """What became of the requests.

    Attributes:
        statuses: answers by status.
        answers: 200s by what `mark` found in the body.
        cut: requests whose connection died before they were answered.
        no_connection: attempts to connect that were refused.
        refusals_s: how long each answer of status 503 took.
        closes: answers that said `Connection: close`.
    """

    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    answers: collections.Counter[bytes] = field(default_factory=collections.Counter)
    cut: int = 0
    no_connection: int = 0
    refusals_s: list[float] = field(default_factory=list)
    closes: int = 0

    @property
    def ok(self) -> int:
        return self.statuses[200]

    @property
    def median_refusal_s(self) -> float:
        return statistics.median(self.refusals_s)

    @property
    def failed(self) -> int:
        """Requests that did not get what they asked for."""
        return sum(self.statuses.values()) - self.ok + self.cut + self.no_connection


class Traffic:
    """Runs in a thread of its own between entering and leaving; read `tally` at any time."""

    def __init__(
        self,
        port: int,
        path: str,
        body: bytes,
        connections: int = 8,
        marks: tuple[bytes, ...] = (),
        headers: str = "",
        pause_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
        reconnect_after: int = 0,
    ) -> None:
        """Makes the clients; with `reconnect_after` each leaves after so many answers."""
        self.tally = Tally()
        self._port = port
        head = f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self._request = head.encode() + body
        self._connections = connections
        self._marks = marks
        self._pause_s = pause_s
        self._tls = tls
        self._reconnect_after = reconnect_after
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_for(lambda tally: sum(tally.statuses.values()) + tally.failed >= 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        self._thread.join()

    def wait_for(self, condition, within_s: float = PATIENCE_S) -> Tally:
        """Returns once the tally meets a condition."""
        deadline = time.monotonic() + within_s
        while not condition(self.tally):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within_s} s: {self.tally}")
            time.sleep(0.005)
        return self.tally

    def go_on(self, answers: int = 50) -> Tally:
        """Returns after so many more answers of status 200."""
        target = self.tally.ok + answers
        return self.wait_for(lambda tally: tally.ok >= target)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self._connections)))

    async def _client(self) -> None:
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, ssl=self._tls
                )
            except OSError:
                self.tally.no_connection += 1
                await asyncio.sleep(RECONNECT_S)
                continue
            try:
                await self._converse(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                self.tally.cut += 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Asks and is answered until one side has had enough."""
        answers = 0
        while not self._stopping:
            if answers and answers == self._reconnect_after:
                return
            answers += 1
            sent = time.perf_counter()
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"\r\ncontent-length: ", 1)[1].split(b"\r\n", 1)[0])
            body = await reader.readexactly(length)
            self._count(int(head[9:12]), body, time.perf_counter() - sent)
            if b"\r\nconnection: close" in head:
                self.tally.closes += 1
                return
            await asyncio.sleep(self._pause_s)

    def _count(self, status: int, body: bytes, seconds: float) -> None:
        tally = self.tally
        tally.statuses[status] += 1
        if status == 503:
            tally.refusals_s.append(seconds)
        if status == 200:
            tally.answers[next((mark for mark in self._marks if mark in body), b"")] += 1
