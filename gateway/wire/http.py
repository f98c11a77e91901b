"""The lane: uvicorn's HTTP protocol, with requests to endpoints answered without an ASGI cycle.

Knows the order of turns on one connection and when it is over. Knows nothing of models, batches or
routes: a path that `services.endpoints` names gets an exchange, everything else an ASGI cycle.

Without services the class is uvicorn's own. With them, one queue holds whatever came on the
connection, exchanges and cycles alike, and only its first may write: one client behind a shared
proxy connection can never be handed another's answer. How bytes become requests is `intake.py`'s,
what a turn does is `turns.py`'s and `cycle.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.access.certificates import Shown, read_certificate
from gateway.errors import GatewayError
from gateway.exchange import Endpoint
from gateway.wire import answers, patience
from gateway.wire.cycle import Cycle
from gateway.wire.flow import LAG, PIPELINE, WRITE, Flow
from gateway.wire.head import Head, Known
from gateway.wire.intake import BodySink, Intake
from gateway.wire.services import MAX_HEADS, MAX_OWN_HEADS, Services
from gateway.wire.trace import TRACEPARENT
from gateway.wire.turns import LaneExchange, Refusal, Turn

# Beyond this, cutting what came in two costs more than to look for its head (`Intake.feed_whole`).
WHOLE_BYTES = 65_536
# What was opened before the server left has this long to begin a request.
FIRST_WORDS_S = 0.5


class Lane(HttpToolsProtocol):
    """One connection; see the module."""

    services: Services
    flow: Flow
    # Who answers: the access log has its own.
    exchange_class = LaneExchange
    cycle_class = Cycle

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        services: Services | None = None,
    ) -> None:
        """Takes uvicorn's own arguments, and the worker's services if there are endpoints."""
        super().__init__(config, server_state, app_state, _loop)
        self._on_lane = services is not None
        if services is None:
            return
        # for the connection
        self.services = services
        self.parser = None  # type: ignore[assignment]  # the intake has its own
        self.intake = Intake(services, self)
        self.shown: Shown | None = None
        """The client's certificate, where anybody asks who it is."""
        self._heads, self._alike = services.heads, services.alike
        self.last = False
        """No request is taken after those that are here."""
        self._eof = False
        # until replaced
        self._current: Turn | None = None
        self._queue: deque[Turn] = deque()
        self._advancing = False
        self._receiving: Cycle | None = None
        self._endpoint: Endpoint | None = None
        self._owes_continue = False
        self._unread = b""
        self._unsettled = False
        """Something is to be done once the current turn is over."""
        # clocks in the sweep's time, as `patience.Awaited` describes them
        self.since = -services.now
        self.lingering_since = 0.0
        self.stalled = 0.0
        self.unsent = 0

    # What the transport calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins."""
        super().connection_made(transport)
        if self._on_lane:
            self.flow = Flow(transport)
            if self.services.guard is not None or self.services.identifies:
                self.shown = read_certificate(transport.get_extra_info("peercert"))
                if self.shown is not None:
                    # Who sends the same bytes on another connection is somebody else.
                    self._heads, self._alike = {}, {}
            self.services.opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        if not self._on_lane:
            super().data_received(data)
            return
        services = self.services
        intake = self.intake
        self.since = services.now
        if len(data) <= WHOLE_BYTES and not intake.begun and not self._unread and not intake.ended:
            # The same bytes after the end of a message mean the same head: it need not be parsed
            # twice. One cut into both parts is the shortest way to see that.
            raw, _, body = data.partition(b"\r\n\r\n")
            head = self._heads.get(raw)
            if head is not None and len(body) == head.length:
                endpoint = services.endpoints.get(head.path)
                held = services.buffered_bytes + head.length
                if endpoint is not None and held <= services.limits.max_buffered_bytes:
                    services.buffered_bytes = held
                    self._take(
                        self.exchange_class(
                            self,
                            endpoint,
                            head,
                            body,
                            time.perf_counter(),
                            next(services.sequence),
                        )
                    )
                    return
        self._read(data)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more: it is gone, unless it is allowed to close only its half."""
        if not self._on_lane:
            return super().eof_received()
        self._eof = True
        if self.riding and self.services.server.half_close and not self.lingering_since:
            self._unsettled = True
            return True
        self._leave()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        if self._on_lane:
            self._leave()
            self._receiving = None
            self.intake.end()
            self.note_unsent(0)
            self.services.closed(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads too slowly: neither answers nor requests go on."""
        super().pause_writing()
        if self._on_lane:
            self.stalled = self.services.now
            self.note_unsent(self.flow.unsent)
            self.flow.hold(WRITE)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self._on_lane:
            self.note_unsent(0)
            self.stalled = 0.0
            self.flow.release(WRITE)
            if self._current is not None:
                self._current.drained()
            elif self._unsettled and not self._advancing:
                self._advance()

    # What the intake calls.

    @property
    def full(self) -> bool:
        """As many requests wait as may."""
        return len(self._queue) >= self.services.limits.max_pipelined

    def head_arrived(self, head: Head) -> BodySink | None:
        """A request to an endpoint is delivered whole; others go to the application at once."""
        endpoint = self.services.endpoints.get(head.path) if head.method == b"POST" else None
        if self.services.guard is not None:
            head.shown = self.shown
            self.services.guard.arriving(head)
        if endpoint is not None:
            self._endpoint = endpoint
            if head.expects_continue:
                self._owes_continue = self._unsettled = True
                self._send_continue()
            return None
        cycle = self._receiving = self.cycle_class(self, head)
        self._take(cycle)
        return cycle

    def remember(self, known: Known, head: Head) -> None:
        """Keeps a head for the requests that begin alike."""
        heads = self._kept(known)
        if len(heads) >= (MAX_HEADS if self.shown is None else MAX_OWN_HEADS):
            heads.clear()
        heads[known] = head

    def recall(self, known: Known) -> Head | None:
        """The head that is kept so, if there is still who takes its request."""
        head = self._kept(known).get(known)
        services = self.services
        endpoint = None if head is None else services.endpoints.get(head.path)
        if head is None or endpoint is None:
            return None
        if services.guard is not None and not services.guard.remembers(head):
            return None
        self._endpoint = endpoint
        return head

    def _kept(self, known: Known) -> dict[Any, Head]:
        return self._heads if type(known) is bytes else self._alike

    def request_arrived(self, head: Head, body: bytes, arrived: float) -> None:
        """A request to an endpoint is whole."""
        if self._endpoint is not None:
            self._owes_continue = False
            sequence = next(self.services.sequence)
            self._take(self.exchange_class(self, self._endpoint, head, body, arrived, sequence))

    # What turns call.

    @property
    def peer(self) -> str:
        """Who holds the other end."""
        return self.client[0] if self.client is not None else ""

    @property
    def riding(self) -> bool:
        """A request is being answered, or waits to be."""
        return self._current is not None or bool(self._queue or self._unread)

    @property
    def headless(self) -> bool:
        """No whole head was sent; who is in the middle of a later one may be taken for such."""
        return not self.riding and (
            self.since < 0 or (self.intake.begun and self.intake.head is None)
        )

    @property
    def idle(self) -> bool:
        """The client is waited for, and nothing is owed to it."""
        busy = self.riding or self.flow.write_paused or self.lingering_since
        return not busy and not self.transport.is_closing()

    @property
    def final(self) -> bool:
        """The answer that is being written is the last: the server drains, and nothing waits."""
        leaving = self.last or self.services.draining
        return leaving and not self._queue and not self._unread

    def start_task(self, cycle: Cycle) -> None:
        """Runs the application for one request."""
        self._start_asgi_task(cycle, self.app)

    def finished(self, turn: Turn, close: bool = False) -> None:
        """The first in the queue has written all it will write."""
        if turn is not self._current:
            return
        self._current = None
        self.since = self.services.now
        if close:
            self.intake.ended = True
            self._leave()
            self.transport.close()
        elif self._unsettled and not self._advancing:
            self._advance()

    def refuse_now(self, error: GatewayError, head: Head | None) -> None:
        """Writes an error and ends the connection, leaving the client time to read it."""
        self._current = None
        self.intake.ended = True
        self.services.counters.refused(error.code)
        if self.transport.is_closing():
            return
        self._write_refusal(error, head, self.services.new_request_id())
        if self._eof:
            self.transport.close()
            return
        self.lingering_since = self.services.now
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()

    def _write_refusal(self, error: GatewayError, head: Head | None, request_id: bytes) -> None:
        path, echo = (b"", None) if head is None else (head.path, head.echo)
        body, more = self.services.refusal(error, path, request_id, echo)
        headers = [*answers.error_headers(error), *more]
        if head is not None and head.trace is not None:
            headers.append((TRACEPARENT, head.trace.header))
        lines = answers.head(
            error.status, len(body), request_id, headers=headers, echo=echo, close=True
        )
        self.transport.write(lines + body)

    # What the worker, its sweep and its lag guard call.

    def note_unsent(self, unsent: int) -> None:
        """Counts what the client has yet to read among the bytes that the worker holds."""
        self.services.buffered_bytes += unsent - self.unsent
        self.unsent = unsent

    def check(self, now: float) -> None:
        """Ends what has waited for the client too long."""
        services = self.services
        keep_alive_s = services.server.keep_alive_s
        patience.check(self, now, services.limits, keep_alive_s, services.counters.cut)

    def close_if_idle(self) -> None:
        """Closes the connection now or after the answers that are due."""
        self.last = self._unsettled = True
        if self.since < 0 and self.services.now + self.since < FIRST_WORDS_S:
            return  # just accepted: what it was opened for may not have been sent yet
        if not self.riding and not self.intake.begun:
            self.transport.close()

    def close_at_once(self) -> None:
        """Closes the connection, whatever is on it."""
        self.transport.abort()

    def hold_reading(self) -> bool:
        """The worker is late: what is not idle is not read."""
        services = self.services
        quiet_s = services.now - abs(self.since)
        if self._current is None and quiet_s > services.sweep.round_s:
            return False
        self.flow.hold(LAG)
        return True

    def resume_reading(self) -> None:
        """It no longer is."""
        if not self.transport.is_closing():
            self.flow.release(LAG)

    def shutdown(self) -> None:
        """What uvicorn's server calls when it stops: riders are answered first."""
        if self._on_lane:
            self.close_if_idle()
        else:
            super().shutdown()

    # Reading.

    def _read(self, data: bytes) -> None:
        intake = self.intake
        if intake.ended:
            return
        if self._unread:
            self._unread += data
            return
        try:
            unread = intake.feed(data) if intake.begun else intake.feed_whole(data)
        except GatewayError as error:
            self.refuse(error)
            return
        if unread:
            # Nothing more is read before this is: else a client that sends and never reads would
            # have us keep all that it sends.
            self._unread = unread
            self._unsettled = True
            self.flow.hold(PIPELINE)

    def _read_on(self) -> None:
        data, self._unread = self._unread, b""
        if data and not self.transport.is_closing():
            self._read(data)
            if not self._unread and not self.full:
                self.flow.release(PIPELINE)
        self._settle()

    def refuse(self, error: GatewayError) -> None:
        """Answers, in its turn, what cannot be taken; nothing after it is read."""
        intake = self.intake
        head = intake.head if intake.begun else None
        intake.ended = True
        intake.begun = False
        intake.release()
        cycle = self._receiving
        if cycle is not None and cycle.more_body:
            if cycle is not self._current or cycle.response_complete:
                if cycle in self._queue:
                    self._queue.remove(cycle)
            elif cycle.response_started:
                self.services.counters.refused(error.code)
                self.transport.abort()
                return
            else:
                self._current = None
            answered = cycle.response_complete
            cycle.leave()
            if answered:
                self.transport.close()
                return
        self._take(Refusal(self, error, head))

    def _send_continue(self) -> None:
        if self._owes_continue and self._current is None and not self._queue:
            self._owes_continue = False
            self.transport.write(answers.CONTINUE)

    # The order of turns.

    def _take(self, turn: Turn) -> None:
        # An answer to a client that does not read the one before it would only fill the memory.
        if self._current is None and not self._queue and not self.flow.write_paused:
            self._current = turn
            turn.begin()
            return
        self._queue.append(turn)
        self._unsettled = True
        if self.full:
            self.flow.hold(PIPELINE)

    def _advance(self) -> None:
        queue = self._queue
        # One loop instead of each answer starting the next: a long queue must not become a deep
        # stack.
        self._advancing = True
        while queue and self._current is None and not self.flow.write_paused:
            if self.transport.is_closing():
                break
            self._current = turn = queue.popleft()
            turn.begin()
        self._advancing = False
        self._send_continue()
        if not self.full:
            if self._unread:
                self.loop.call_soon(self._read_on)
                return
            self.flow.release(PIPELINE)
        self._settle()

    def _settle(self) -> None:
        """Ends a connection on which nothing more will happen."""
        waits = bool(self._queue or self._unread)
        self._unsettled = waits or self._eof or self.last or self._owes_continue
        if self.riding or self.lingering_since:
            return
        if self._eof or (self.last and not self.intake.begun):
            self.transport.close()

    def _leave(self) -> None:
        """The client is gone: tells all who wait on its behalf."""
        self.intake.ended = True
        self.intake.release()
        self._unread = b""
        turns = [self._current, *self._queue]
        self._current = None
        self._queue.clear()
        if self._receiving is not None:
            self._receiving.leave()
        for turn in turns:
            if turn is not None:
                turn.leave()
                self.services.counters.left()
