"""A connection to an origin, and the one request that is on it.

Knows transports, and how an answer that is read becomes calls of a sink. Knows nothing of who is
next on the connection, or of how it was made.

It is an asyncio protocol: no task, future or timer per request. A sweep looks at its clocks.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade

from gateway.errors import GatewayError, UpstreamFailed, UpstreamTimedOut
from gateway.llm.upstream.answer import Answer, Unfit
from gateway.llm.upstream.chunks import BEGINS, BELOW

if TYPE_CHECKING:
    from gateway.llm.upstream.pool import Pool
    from gateway.llm.upstream.sending import Request

# Up to here, one copy costs less than a second piece in the transport's queue.
JOINED_BYTES = 16_384
# A read that brings so much has more behind it: libuv would read on for megabytes within one turn
# of the loop, in which nobody else is heard.
TURN_BYTES = 65_536
# What of a stream of events its caller gets within one turn. It looks at each event, and a read may
# hold thirty thousand that say nothing.
EVENTS_BYTES = 8_192
CALLER, LATE, TURN = 1, 2, 4
"""Reasons to read no more: whom the answer is for does not take it; the worker is late; the
connection has had its share of this turn."""


class Connection(asyncio.Protocol):
    """Belongs to its pool from `connection_made` to `connection_lost`.

    Attributes:
        request: that is on it; None: nobody uses it.
        since: when the request was put on it, or the connection set aside, by the pool's clock.
    """

    __slots__ = (
        "_answer",
        "_barren",
        "_between",
        "_fault",
        "_head_told",
        "_heard",
        "_held",
        "_max_barren",
        "_pool",
        "_readable",
        "_transport",
        "_unsent",
        "_untold",
        "_used",
        "request",
        "since",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._max_barren = pool.limits.max_head_bytes
        self._answer = Answer(pool.limits.max_headers)
        self._transport: asyncio.Transport | None = None
        self._used = False
        self._held = 0  # reasons not to read
        # Of one request:
        self.request: Request | None = None
        self.since = 0.0
        self._head_told = self._heard = self._between = False
        self._unsent = self._barren = 0
        self._untold = b""  # of its body, read and for later turns
        self._fault = ""  # in what was read behind that

    # -- what the pool asks of it

    def begin(self, request: Request, now: float) -> None:
        """Sends a request; the connection is free and fit."""
        assert self._transport is not None
        request.connection = self
        request.sent = True
        self.request = request
        self.since = now
        self._head_told = self._heard = self._between = False
        self._unsent = self._barren = 0
        self._untold, self._fault = b"", ""
        self._answer.begin()
        if request.paused:
            self.pause()
        body = request.body
        if isinstance(body, bytes) and len(body) <= JOINED_BYTES:
            whole = b"%scontent-length: %d\r\n\r\n%s" % (request.head, len(body), body)
            self._pool.later(self._write, whole)
        else:
            pieces = (body,) if isinstance(body, bytes) else body
            length = sum(map(len, pieces))
            head = b"%scontent-length: %d\r\n\r\n" % (request.head, length)
            self._transport.writelines((head, *pieces))

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def fit(self) -> bool:
        """Whether a request may go on it that was used before.

        Bytes that lie there unread are a close that has not been noticed yet, or an answer that
        nobody asked for, which the next request would take for its own.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if self._readable.poll(0):
            self.close()
            return False
        return True

    def close(self) -> None:
        """Closes it at once; what is unsent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Closes it, since nobody wants the answer."""
        self.request = None
        self.close()

    def pause(self) -> None:
        """Its caller takes no more for now."""
        self._hold(CALLER)

    def resume(self) -> None:
        """It does again."""
        self._release(CALLER)

    def hold_reading(self) -> bool:
        """The worker is late: reads no more. False: no answer is coming, or it is held already."""
        if self.request is None or self._held & LATE:
            return False
        self._hold(LATE)
        return True

    def resume_reading(self) -> None:
        """It no longer is."""
        self._release(LATE)

    def _hold(self, reason: int) -> None:
        transport = self._transport
        if transport is not None and not self._held and not transport.is_closing():
            transport.pause_reading()
        self._held |= reason

    def _release(self, reason: int) -> None:
        """Reads on, where this was the last reason not to."""
        if not self._held & reason:
            return
        self._held &= ~reason
        if self._untold and self.request is not None and not self._held:
            self._held = TURN  # it is not read yet: first comes what was
            self._pool.next_turn(self._go_on, self.request)
            return
        transport = self._transport
        if transport is not None and not self._held and not transport.is_closing():
            self._heard = True  # its idle time begins now
            transport.resume_reading()

    def check(self, now: float) -> None:
        """Ends the request if something about it took too long."""
        request = self.request
        if request is None:
            return
        limits = request.timeouts
        # Bytes of a head are none of an answer yet: it may drip for ever.
        if self._uploads() or self._held or (self._heard and self._head_told):
            self.since = now
        self._heard = False
        quiet = now - self.since
        if now - request.began >= limits.total_s:
            self._time_out("its whole answer", limits.total_s)
        elif self._unsent or self._head_told:
            if quiet >= limits.idle_s:
                what = "taking the request" if self._unsent else "the next piece of its answer"
                self._time_out(what, limits.idle_s)
        elif quiet >= limits.first_byte_s:
            self._time_out("its answer to begin", limits.first_byte_s)

    def _uploads(self) -> bool:
        """Whether the upstream has taken some of the request since it was last looked."""
        assert self._transport is not None
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        return self._unsent != before

    # -- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there, encrypted if it is to be."""
        self._transport = cast(asyncio.Transport, transport)
        self._readable = select.poll()
        self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._pool.made(self)

    def data_received(self, data: bytes) -> None:
        """Some of an answer."""
        request = self.request
        if request is None:  # nobody has asked: whatever it is, it is nobody's answer
            self._pool.counters.unfit += not self._is_closing()
            self.close()
            return
        length = len(data)
        if (
            self._between
            and length < BELOW
            and data.startswith(begin := BEGINS[length])
            and data.endswith(b"\r\n")
        ):
            # One more whole chunk of a stream, as nearly all that is read. The parser has seen the
            # end of the one before, and will go on with the one behind.
            self._heard = True
            request.sink.on_data(data[len(begin) : -2])
            return
        self._heard = request.answered = True
        self._between = False
        if length >= TURN_BYTES and not self._held:
            self._next_turn()
        answer = self._answer
        fault = ""
        try:
            answer.parse(data)
        except HttpParserError as error:
            fault = _what(error)
        except HttpParserUpgrade:
            fault = "another protocol than was asked for"
        pieces = answer.pieces
        plain = len(pieces) == 1 and length <= EVENTS_BYTES and not self._untold
        if self._head_told and plain and not (answer.complete or fault):
            # No part of a size line ends so: where a chunk did, another one begins.
            self._between = answer.between and data.endswith(b"\r\n")
            self._barren = 0
            request.sink.on_data(pieces.pop())
            return
        self._barren = 0 if answer.pieces else self._barren + len(data)
        self._tell(request, answer, fault)

    def _tell(self, request: Request, answer: Answer, fault: str) -> None:
        """Tells the caller what is new. It may cancel at any of these calls."""
        if answer.headed and not self._head_told:
            self._head_told = True
            request.sink.on_head(answer.status, answer.headers)
            if self.request is not request:
                return
        pieces, untold = answer.pieces, self._untold
        if pieces or untold:
            data = pieces[0] if len(pieces) == 1 and not untold else b"".join((untold, *pieces))
            pieces.clear()
            self._untold = b""
            if answer.events and len(data) > EVENTS_BYTES:
                data, self._untold = data[:EVENTS_BYTES], data[EVENTS_BYTES:]
                self._next_turn()
            request.sink.on_data(data)
            if self.request is not request:
                return
        if self._untold:
            self._fault = fault
            return
        if answer.complete:
            self._pool.counters.unfit += bool(fault)
            self._end(request, keeps=answer.keeps and not fault)
        elif fault or self._barren > self._max_barren:
            what = fault or f"more than {self._max_barren} bytes without any of a body"
            self._pool.counters.unfit += 1
            self.fail(UpstreamFailed(f"{self._pool.origin}: not an HTTP answer to read on: {what}"))

    def _next_turn(self) -> None:
        """Reads no more in this turn of the loop."""
        if not self._held & TURN:
            self._hold(TURN)
            self._pool.next_turn(self._go_on, self.request)

    def _go_on(self, request: Request | None) -> None:
        """The next turn: tells more of what was read, if there is any, else reads on."""
        if not self._untold or request is None or self.request is not request:
            self._release(TURN)
        elif self._held == TURN:
            self._tell(request, self._answer, self._fault)
            self._pool.next_turn(self._go_on, request)
        else:  # whoever takes the last reason back comes here again
            self._held &= ~TURN

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        request, self.request = self.request, None
        transport, self._transport = self._transport, None
        if transport is None:
            return
        self._pool.lost(self)
        self._answer.end()
        if request is None:
            return
        request.connection = None
        answer, whole = self._answer, False
        if self._untold:  # over TLS the end may come before the turns in which that would be told
            untold, self._untold = self._untold, b""
            request.sink.on_data(untold)
            whole = answer.complete and not self._fault
        if whole or (answer.until_close and exc is None):
            if not request.over:
                request.over = True
                request.sink.on_end()
        elif self._used and not request.answered and not request.again:
            self._pool.send_again(request)
        else:
            how = "reset" if exc else "closed"
            when = "in the middle of" if request.answered else "before"
            request.fail(
                UpstreamFailed(f"{self._pool.origin}: {how} the connection {when} its answer")
            )

    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    # -- how a request ends

    def _end(self, request: Request, keeps: bool) -> None:
        """The whole answer came: the connection is free for the next request."""
        assert self._transport is not None
        self.request = request.connection = None
        self._used = True
        self._release(CALLER)
        # An upstream that answers before it has the whole request leaves the rest of it unread.
        if keeps and not self._transport.get_write_buffer_size():
            self._pool.free(self)
        else:
            self.close()
        if not request.over:
            request.over = True
            request.sink.on_end()

    def _time_out(self, what: str, seconds: float) -> None:
        self.fail(UpstreamTimedOut(f"{self._pool.origin}: waited {seconds:g} s for {what}"))

    def fail(self, error: GatewayError) -> None:
        """Closes it, and ends the request that is on it."""
        request, self.request = self.request, None
        self.close()
        if request is not None:
            request.connection = None
            request.fail(error)


def _what(error: HttpParserError) -> str:
    """Why a parser stopped: it wraps what its callbacks raise."""
    why = error.__context__
    return str(why) if isinstance(why, Unfit) else str(error)
