"""A connection of the fake: takes requests, and has them answered one after the other.

Knows HTTP. Knows nothing of dialects, or of how an answer is sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools
import orjson

from gateway.llm.fake.answers import Answers, bad_request
from gateway.llm.fake.records import Received, Records
from gateway.llm.fake.script import BadScript
from gateway.llm.fake.sender import Sender


class Connection(asyncio.Protocol):
    """One client's connection."""

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, answers: Answers, records: Records) -> None:
        # Fixed at start.
        self._loop = loop
        self._answers = answers
        self._records = records
        self._number = 0
        self._parser = httptools.HttpRequestParser(self)
        # Until replaced: of the request that comes in, and those that wait for their turn.
        self._path = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._waiting: deque[Received] = deque()
        self._sender: Sender | None = None
        self._refuse_next = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = cast(asyncio.Transport, transport)
        with self._records.change() as counts:
            counts["connections"] += 1
            self._number = counts["connections"]

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._refuse_next:
            self.transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or was sent away."""
        if self._sender:
            self._sender.left()

    def pause_writing(self) -> None:
        """The client reads more slowly than this writes."""
        if self._sender:
            self._sender.pause()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._sender:
            self._sender.resume()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._path, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """It has come whole: it is answered when those before it are."""
        body = b"".join(self._body)
        received = Received(
            number=self._records.counts["requests"] + 1,
            connection=self._number,
            method=self._parser.get_method().decode(),
            path=self._path.decode("latin-1"),
            headers=self._headers,
            body=body,
            values=_json(body),
            script=self._answers.script,
        )
        self._records.add(received)
        self._waiting.append(received)
        if self._sender is None:
            self.next()

    def next(self) -> None:
        """Answers the next request that waits, if one does."""
        self._sender = None
        if not self._waiting or self.transport.is_closing():
            return
        received = self._waiting.popleft()
        try:
            received.script = self._answers.script_of(
                received.path, received.headers, received.values
            )
            answer = (
                None
                if received.script.drop or received.script.hang
                else self._answers.answer(received)
            )
        except BadScript as error:
            answer = bad_request(received, str(error))
        self._sender = Sender(
            self.transport, self._loop, self._records, received, answer, self.answered
        )
        self._sender.start()

    def answered(self, then: str) -> None:
        """An answer went out; what becomes of the connection, its script says."""
        if then == "close":
            self._sender = None
            self.transport.close()
            return
        self._refuse_next = then == "drop"
        self.next()


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return None
