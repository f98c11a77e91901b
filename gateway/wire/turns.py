"""What takes its turn on a connection: a request to an endpoint, or the refusal of one.

Knows how an endpoint is called and answered over the connection that carries it. Knows nothing of
parsing, and of the order of turns only that it has one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from gateway.errors import GatewayError
from gateway.exchange import JSON_TYPE, Endpoint, Header
from gateway.wire import answers
from gateway.wire.base import BaseExchange, BaseStream
from gateway.wire.flow import Flow
from gateway.wire.head import Head
from gateway.wire.services import Services

logger = logging.getLogger("penstock.wire")

# Above this a copy costs more than a second buffer in the same system call.
COPY_BYTES = 65_536
# What a stream holds until the turn of the loop is over, but for the framing of a first piece.
HELD_BYTES = 4096


class Carrier(Protocol):
    """The connection, as its turns see it."""

    services: Services
    transport: asyncio.Transport
    flow: Flow
    loop: asyncio.AbstractEventLoop
    last: bool
    """No request is taken after those that are here."""

    @property
    def peer(self) -> str:
        """Who holds the other end."""

    @property
    def final(self) -> bool:
        """The answer that is being written is the connection's last."""

    def finished(self, turn: Turn, close: bool = False) -> None:
        """The turn has written all it will write."""

    def refuse_now(self, error: GatewayError, head: Head | None) -> None:
        """Writes an error and ends the connection."""


class Turn(Protocol):
    """One request's place in the order of a connection."""

    def begin(self) -> None:
        """Everything before it is answered: it may write now."""

    def leave(self) -> None:
        """The client is gone."""

    def drained(self) -> None:
        """The transport takes more again."""


class Refusal:
    """The last turn of a connection on which something came that cannot be taken."""

    __slots__ = ("_carrier", "_error", "_head")

    def __init__(self, carrier: Carrier, error: GatewayError, head: Head | None) -> None:
        self._carrier = carrier
        self._error = error
        self._head = head

    def begin(self) -> None:
        """Answers and ends the connection."""
        self._carrier.refuse_now(self._error, self._head)

    def leave(self) -> None:
        """Nobody is told."""

    def drained(self) -> None:
        """Nothing waits to be written."""


class LaneExchange(BaseExchange):
    """A request on the lane; the promises are those of `gateway.exchange.Exchange`."""

    __slots__ = ("_carrier", "sequence")

    # Every field is set here, not by the base class: a second call costs more than all the stores.
    def __init__(
        self,
        carrier: Carrier,
        endpoint: Endpoint,
        head: Head,
        body: bytes,
        arrived: float,
        sequence: int,
    ) -> None:
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.body = body
        self.arrived = arrived
        self.gone = False
        self.sequence = sequence
        self._carrier = carrier
        self._endpoint = endpoint
        self.head = head
        self._answered = False
        self._stream = None
        self._callbacks = None

    @property
    def services(self) -> Services:
        """The worker's."""
        return self._carrier.services

    @property
    def request_id(self) -> bytes:
        """What penstock-request-id says."""
        return b"%b%x" % (self._carrier.services.request_id_prefix, self.sequence)

    @property
    def client(self) -> str:
        """The client's address, forwarded where the peer is trusted."""
        return self._carrier.services.trusted.client(self._carrier.peer, self.headers)

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Writes the whole answer, in one piece."""
        if self._answered:
            raise RuntimeError(f"{self.path!r}: answered twice")
        carrier = self._carrier
        services = carrier.services
        lines = answers.lines_of(headers)
        if self.gone:
            self._answered = True
        elif (
            self.head.plain
            and lines is not None
            and content_type == JSON_TYPE
            and status in answers.JSON_HEADS
            and not services.draining
            and not carrier.last
            and len(body) < COPY_BYTES
        ):
            carrier.transport.write(
                b"%b%d\r\n%bpenstock-request-id: %b%x\r\n\r\n%b"
                % (
                    answers.JSON_HEADS[status],
                    len(body),
                    lines,
                    services.request_id_prefix,
                    self.sequence,
                    body,
                )
            )
            self._answered = True
            # Who waits for it to leave knows it, as it knows them: it would be left for Python's
            # collector, and the next request would find no memory that is warm.
            self._callbacks = None
            services.buffered_bytes -= len(self.body)
            carrier.finished(self)
        else:
            self._reply_in_full(status, body, headers, content_type)

    def stream(self, status: int, headers: Sequence[Header] = ()) -> LaneStream:
        """Starts an answer whose length is not known yet."""
        if self._answered:
            raise RuntimeError(f"{self.path!r}: answered twice")
        http10 = self.head.version == "1.0"
        close = self._closes() or http10
        head = answers.head(
            status,
            None,
            self.request_id,
            content_type=None,
            headers=self._with_own(headers),
            echo=self.head.echo,
            close=close,
            http10=http10,
        )
        self._answered = True
        if not self.gone:
            self._release()
        self._stream = stream = self._new_stream(chunked=not http10, close=close)
        if not self.gone:
            stream.hold(head)
        return stream

    def leave(self) -> None:
        """The client is gone: whoever waits on its behalf is told."""
        if self.gone:
            return
        if not self._answered:
            self._release()
        self._tell_gone()
        self.drained()
        self.let_go()

    def _reply_in_full(
        self, status: int, body: bytes, headers: Sequence[Header], content_type: bytes
    ) -> None:
        close = self._closes()
        if status not in answers.JSON_HEADS:
            body = b""
        head = answers.head(
            status,
            len(body),
            self.request_id,
            content_type=content_type if body or status in answers.JSON_HEADS else None,
            headers=self._with_own(headers),
            echo=self.head.echo,
            close=close,
            http10=self.head.version == "1.0",
        )
        transport = self._carrier.transport
        if len(body) < COPY_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._answered = True
        self._callbacks = None
        self._release()
        self._carrier.finished(self, close)

    def _new_stream(self, chunked: bool, close: bool) -> LaneStream:
        return LaneStream(self, self._carrier, chunked=chunked, close=close)

    def _release(self) -> None:
        self._carrier.services.buffered_bytes -= len(self.body)

    def _closes(self) -> bool:
        return not self.head.keep_alive or self._carrier.final

    def _cut(self) -> None:
        self._carrier.transport.abort()


class LaneStream(BaseStream):
    """The open end of a streamed answer; the promises are those of `gateway.exchange.Stream`.

    Small pieces wait for the end of the turn of the loop in which they are written: each write
    wakes a client, on another core, and puts the system's code into the processor's caches. Written
    one after the other, most wake nobody.

    Attributes:
        held: what waits.
        transport: the connection's.
    """

    __slots__ = ("_carrier", "_chunked", "_close", "_flow", "_unwritten", "held", "transport")

    _exchange: LaneExchange

    def __init__(
        self, exchange: LaneExchange, carrier: Carrier, *, chunked: bool, close: bool
    ) -> None:
        super().__init__(exchange)
        self._carrier = carrier
        # Each piece asks for these: it is a step less to each.
        self._flow = carrier.flow
        self._unwritten = carrier.services.unwritten
        self.transport = carrier.transport
        self._chunked = chunked
        self._close = close
        self.held = b""

    def write(self, data: bytes) -> bool:
        """As the base class has it, in one call for all: of a long stream it is the work."""
        if self.ended:
            raise RuntimeError("stream: written after its end")
        if self._exchange.gone:
            return False
        size = len(data)
        if size < HELD_BYTES and self._chunked and size:
            if not self.held:
                self.held = b"%x\r\n%b\r\n" % (size, data)
                unwritten = self._unwritten
                if not unwritten:
                    self._carrier.loop.call_soon(_write_all, unwritten)
                unwritten.append(self)
            else:
                held = b"%b%x\r\n%b\r\n" % (self.held, size, data)
                if len(held) < HELD_BYTES:
                    self.held = held
                else:
                    self.held = b""
                    self.transport.write(held)
        elif size:
            self._send(data)
        return not self._flow.write_paused

    def hold(self, head: bytes) -> None:
        """Writes a head, with the first piece if that comes in the same turn."""
        unwritten = self._carrier.services.unwritten
        if not unwritten:
            self._carrier.loop.call_soon(_write_all, unwritten)
        unwritten.append(self)
        self.held = head

    def write_held(self) -> None:
        """Writes what is held."""
        held, self.held = self.held, b""
        if held and not self.transport.is_closing():
            self.transport.write(held)

    def _send(self, data: bytes) -> None:
        self.write_held()
        transport = self.transport
        if not self._chunked:
            transport.write(data)
        elif len(data) < COPY_BYTES:
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))

    def _paused(self) -> bool:
        return self._carrier.flow.write_paused

    def _finish(self) -> None:
        if self._chunked:
            self.held += answers.LAST_CHUNK
        self.write_held()
        self._carrier.finished(self._exchange, self._close)


def _write_all(unwritten: list[LaneStream]) -> None:
    """What streams hold; some have written it already."""
    streams = unwritten[:]
    unwritten.clear()
    for stream in streams:
        try:
            stream.write_held()
        except Exception:
            logger.exception("a stream was not written")
