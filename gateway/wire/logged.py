"""The lane with an access log, or with traces: whatever is answered on a connection is noted.

Knows which moments of the lane are answers, and that a probe that was content is not worth a note.
Knows nothing of what is noted of them. Where neither is asked for, none of these classes is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

from uvicorn._types import ASGISendEvent

from gateway.access.scopes import principal_of
from gateway.errors import GatewayError
from gateway.exchange import JSON_TYPE, Header, Model, Phases
from gateway.wire import answers
from gateway.wire.access_log import Note
from gateway.wire.cycle import Cycle
from gateway.wire.guard import OPEN_PATHS
from gateway.wire.head import Head
from gateway.wire.http import Lane
from gateway.wire.trace import Trace
from gateway.wire.turns import LaneExchange, LaneStream

FAILED = 400
"""The least status that tells of a failure."""


class LoggedExchange(LaneExchange):
    """An exchange whose answer leaves a record."""

    __slots__ = ("code",)

    _carrier: LoggedLane

    @property
    def client(self) -> str:
        """The client's address."""
        return self._carrier.sender or super().client

    @property
    def received(self) -> int:
        """Bytes of the body."""
        return len(self.body)

    @property
    def echo(self) -> bytes | None:
        """The client's request id."""
        return self.head.echo

    @property
    def trace(self) -> Trace | None:
        """That the request is part of."""
        return self.head.trace

    @property
    def key(self) -> str | None:
        """The name of who sent it, where anybody asked."""
        passage = self.head.passage
        return None if passage is None else passage.principal.name

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Writes the whole answer."""
        gone, head = self.gone, self.head
        self.code = answers.error_code(headers) if headers else None
        LaneExchange.reply(self, status, body, headers, content_type)
        if not gone:
            more = bool(headers) or not head.plain or head.passage is not None
            self._carrier.note(status, len(body), self, more)

    def stream(self, status: int, headers: Sequence[Header] = ()) -> LaneStream:
        """Starts an answer whose length is not known yet; it leaves its record when it ends."""
        self.code = answers.error_code(headers)
        stream = super().stream(status, headers)
        cast(LoggedStream, stream).status = status
        return stream

    def _new_stream(self, chunked: bool, close: bool) -> LaneStream:
        return LoggedStream(self, self._carrier, chunked=chunked, close=close)


class LoggedStream(LaneStream):
    """A stream that counts what it sends."""

    __slots__ = ("sent", "status")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sent = self.status = 0

    def write(self, data: bytes) -> bool:
        """Sends one piece."""
        taken = super().write(data)
        if not self._exchange.gone:
            self.sent += len(data)
        return taken

    def _finish(self) -> None:
        super()._finish()
        exchange = cast(LoggedExchange, self._exchange)
        cast(LoggedLane, self._carrier).note(self.status, self.sent, exchange)


class LoggedCycle(Cycle):
    """A request to the application whose answer leaves a record."""

    def __init__(self, lane: Lane, head: Head) -> None:
        super().__init__(lane, head)
        self.method = head.method
        self.path = head.path
        self.echo = head.echo
        self.trace = head.trace
        self.request_id = self.notes.request_id
        self.arrived = lane.intake.arrived
        self.received = self._sent = self._status = 0
        self.code: str | None = None

    @property
    def client(self) -> str:
        """Its address."""
        client = self.scope["client"]
        return client[0] if client is not None else ""

    @property
    def phases(self) -> Phases | None:
        """Left by the endpoint, where one answered."""
        return self.notes.phases

    @property
    def key(self) -> str | None:
        """The name of who sent it, where the application asked."""
        principal = principal_of(self.scope)
        return None if principal is None else principal.name

    @property
    def model(self) -> Model | None:
        """Left by the application."""
        return self.notes.model

    def feed(self, piece: bytes) -> None:
        """The next piece of the body."""
        self.received += len(piece)
        super().feed(piece)

    async def send(self, message: ASGISendEvent) -> None:
        """Sends, and counts what it sends."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self.code = answers.error_code(message.get("headers", ()))
        elif message["type"] == "http.response.body" and self.method != b"HEAD":
            self._sent += len(message.get("body", b""))
        await super().send(message)

    def _answered(self) -> None:
        super()._answered()
        # Every few seconds from everywhere: they would hide what is told, and cost a trace each.
        if self.path not in OPEN_PATHS or self._status >= FAILED:
            cast(LoggedLane, self._lane).note(self._status, self._sent, self)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was never taken, as far as it was understood."""

    head: Head | None
    client: str
    request_id: bytes
    arrived: float
    code: str
    received: int = 0

    @property
    def method(self) -> bytes:
        """Empty where no head was read."""
        return b"" if self.head is None else self.head.method

    @property
    def path(self) -> bytes:
        """Empty where no head was read."""
        return b"" if self.head is None else self.head.path

    @property
    def echo(self) -> bytes | None:
        """The client's request id."""
        return None if self.head is None else self.head.echo

    @property
    def trace(self) -> Trace | None:
        """That it is part of."""
        return None if self.head is None else self.head.trace


class LoggedLane(Lane):
    """A connection on which every answer is noted."""

    exchange_class = LoggedExchange
    cycle_class = LoggedCycle

    def __init__(self, *args: Any, note: Note, **options: Any) -> None:
        """Takes what `Lane` takes, and who is told of answers."""
        super().__init__(*args, **options)
        self.note = note
        self.sender = ""
        """The client's address where it is the peer's, whatever a request says."""
        self._refused_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins."""
        super().connection_made(transport)
        if not self.services.server.trusted_proxies:
            self.sender = self.peer

    def refuse(self, error: GatewayError) -> None:
        """Answers, in its turn, what cannot be taken."""
        intake = self.intake
        self._refused_since = intake.arrived if intake.begun else perf_counter()
        super().refuse(error)

    def _write_refusal(self, error: GatewayError, head: Head | None, request_id: bytes) -> None:
        super()._write_refusal(error, head, request_id)
        client = self.peer
        if head is not None:
            client = self.services.trusted.client(client, head.headers)
        refused = Refused(head, client, request_id, self._refused_since, error.code)
        self.note(error.status, len(answers.error_body(str(error))), refused)
