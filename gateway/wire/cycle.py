"""A request that goes on to the ASGI application, as one turn of its connection.

Knows uvicorn's request cycle and where ours differs. Knows nothing of routes. The differences: it
waits for its turn without holding reading back, its errors are JSON, what it buffers is counted,
draining and refusals reach it, and a client of HTTP/1.0 is never sent chunks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import urllib.parse
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, HTTPScope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.access.scopes import SHOWN
from gateway.errors import GatewayError
from gateway.exchange import Header, Phases
from gateway.wire import answers
from gateway.wire.head import Head
from gateway.wire.timing import SERVER_TIMING, server_timing
from gateway.wire.trace import TRACEPARENT, Trace

if TYPE_CHECKING:
    from gateway.wire.http import Lane

NOTES_STATE = "penstock_notes"
"""Where the application finds the request's `Notes`: `scope["state"]`."""


@dataclass(slots=True)
class Notes:
    """What the lane tells the application of a request, and what it is told.

    Attributes:
        request_id: as the answer carries it.
        trace: that the request is part of.
        phases: left by an endpoint that knows them.
        model: name and version of the model that answers.
    """

    request_id: bytes
    trace: Trace | None = None
    phases: Phases | None = None
    model: tuple[str, str] | None = None


class Cycle(RequestResponseCycle):
    """uvicorn's cycle in the lane's order; see the module."""

    def __init__(self, lane: Lane, head: Head) -> None:
        self.notes = notes = Notes(lane.services.new_request_id(), head.trace)
        headers: list[Header] = [
            *lane.server_state.default_headers,
            (b"penstock-request-id", notes.request_id),
        ]
        if head.trace is not None:
            headers.append((TRACEPARENT, head.trace.header))
        if head.echo is not None:
            headers.append((b"x-request-id", head.echo))
        super().__init__(
            scope=_scope(lane, head, notes),
            transport=lane.transport,
            flow=lane.flow,
            logger=logging.getLogger("uvicorn.error"),
            access_logger=lane.access_logger,
            access_log=lane.access_log,
            default_headers=headers,
            message_event=asyncio.Event(),
            expect_100_continue=head.expects_continue,
            keep_alive=head.keep_alive and head.version == "1.1",
            on_response=self._answered,
        )
        self._lane = lane
        self._head = head
        self._arrived = lane.intake.arrived
        self._buffered = 0
        # HTTP/1.0 knows no chunks: an answer without a length is kept until its length is known.
        keeps = head.version == "1.0" and head.method != b"HEAD"
        self._kept: bytearray | None = bytearray() if keeps else None
        self._kept_start: ASGISendEvent | None = None

    # A turn.

    def begin(self) -> None:
        """Starts the application."""
        self._lane.start_task(self)

    def leave(self) -> None:
        """The client is gone: the application learns at its next receive."""
        if not self.response_complete:
            self.disconnected = True
        self.on_response = _nothing
        self.message_event.set()
        self._release()
        self.flow.resume_reading()

    def drained(self) -> None:
        """The flow has told the application already."""

    # A sink for the body.

    def feed(self, piece: bytes) -> None:
        """The next piece of the body."""
        if self.response_complete or self.disconnected:
            return
        self.body += piece
        self._buffered += len(piece)
        self._lane.services.buffered_bytes += len(piece)
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.message_event.set()

    def complete(self) -> None:
        """The body is whole."""
        self.more_body = False
        self.message_event.set()

    # ASGI.

    async def receive(self) -> ASGIReceiveEvent:
        """The next event, as uvicorn gives it."""
        message = await super().receive()
        self._release()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Sends as uvicorn does, but whole to HTTP/1.0."""
        if self._lane.final:
            self.keep_alive = False
        if self._head.timed and message["type"] == "http.response.start":
            timing = server_timing(self._arrived, self.notes.phases, perf_counter())
            headers = [*message.get("headers", ()), (SERVER_TIMING, timing)]
            message = {**message, "headers": headers}
        if self._kept is None:
            await super().send(message)
            return
        if message["type"] == "http.response.start":
            self._kept_start = message
        elif message["type"] == "http.response.body":
            self._kept += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_kept(bytes(self._kept))

    async def send_500_response(self) -> None:
        """Our one shape of errors instead of plain text."""
        error = GatewayError("internal error")
        body, more = self._lane.services.refusal(
            error, self._head.path, self.notes.request_id, self._head.echo
        )
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *answers.error_headers(error),
            *more,
        ]
        self._kept = None  # what the application said before it failed
        # The client may be gone, or the headers may be what was wrong.
        with contextlib.suppress(RuntimeError):
            await self.send({"type": "http.response.start", "status": 500, "headers": headers})
            await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _send_kept(self, body: bytes) -> None:
        start = self._kept_start
        self._kept = None
        if start is not None and start["type"] == "http.response.start":
            headers = [
                (name, value)
                for name, value in start.get("headers", ())
                if name.lower() not in (b"content-length", b"transfer-encoding")
            ]
            headers.append((b"content-length", b"%d" % len(body)))
            await super().send({**start, "headers": headers})
        await super().send({"type": "http.response.body", "body": body, "more_body": False})

    def _answered(self) -> None:
        self.on_response = _nothing  # it knows this, which would stay until garbage is looked for
        self._release()
        # What is left of a body that the application did not want is read, and dropped.
        self.flow.resume_reading()
        self._lane.finished(self)

    def _release(self) -> None:
        self._lane.services.buffered_bytes -= self._buffered
        self._buffered = 0


def _nothing() -> None:
    """There is no more to be told."""


def _scope(lane: Lane, head: Head, notes: Notes) -> HTTPScope:
    path = head.path.decode("ascii")
    if "%" in path:
        path = urllib.parse.unquote(path)
    state = lane.app_state.copy()
    state[NOTES_STATE] = notes
    if lane.shown is not None:
        state[SHOWN] = lane.shown
    return {
        "type": "http",
        "asgi": {"version": lane.asgi_version, "spec_version": "2.3"},
        "http_version": head.version,
        "server": lane.server,
        "client": _client(lane, head),
        "scheme": lane.scheme or "http",
        "method": head.method.decode("ascii"),
        "root_path": lane.root_path,
        "path": lane.root_path + path,
        "raw_path": lane.root_path.encode("ascii") + head.path,
        "query_string": head.query,
        "headers": list(head.headers),
        "state": state,
    }


def _client(lane: Lane, head: Head) -> tuple[str, int] | None:
    if lane.client is None:
        return None
    address = lane.services.trusted.client(lane.client[0], head.headers)
    return lane.client if address == lane.client[0] else (address, 0)
