"""One request on its way: what is kept of it until its answer is over.

Knows whom to tell, and that it is told once. Knows nothing of bytes on connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.llm.upstream.words import Body, Sink, Timeouts

if TYPE_CHECKING:
    from gateway.errors import GatewayError
    from gateway.llm.upstream.connection import Connection
    from gateway.llm.upstream.pool import Pool


class Request:
    """Implements `words.Sending`.

    Attributes:
        head: without the length of the body, and the empty line.
        body: kept, since a connection may die before it has brought anything back.
        began: when it was handed over, seconds of the pool's clock.
        queued: when it began to wait in line.
        connection: that it is on; None while it waits, and once it is over.
        sent: bytes of it may have left.
        answered: at least one byte came back.
        again: its kept-alive connection died, so that a new one is wanted.
        paused: no more of its answer is to be read.
        over: its end was told, or its caller left.
        awaited: somebody waits for the answer.
    """

    # Most requests never change these: what is not set costs nothing.
    connection: Connection | None = None
    queued = 0.0
    sent = answered = again = paused = over = False
    awaited = True

    def __init__(
        self, pool: Pool, head: bytes, body: Body, sink: Sink, timeouts: Timeouts, began: float
    ) -> None:
        self._pool = pool
        self.head = head
        self.body = body
        self.sink = sink
        self.timeouts = timeouts
        self.began = began

    def cancel(self) -> None:
        """See `words.Sending`."""
        if self.over:
            return
        self.over = True
        self._pool.counters.cancelled += 1
        if self.connection is not None:
            self.connection.abandon()
        else:
            self._pool.leave(self)

    def pause(self) -> None:
        """See `words.Sending`."""
        self.paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """See `words.Sending`."""
        self.paused = False
        if self.connection is not None:
            self.connection.resume()

    def fail(self, error: GatewayError) -> None:
        """Tells that it is over without an answer, unless that is known."""
        if self.over:
            return
        self.over = True
        self._pool.counters.failed += 1
        self.sink.on_failure(error, sent=self.sent, answered=self.answered)
