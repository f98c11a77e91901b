"""The connections of one origin, and the requests that wait for one.

Knows which connection is free, who is next, and how many there may be. Knows nothing of bytes, or
of how a connection is made.

The connection that was used last is used first, so that those too many grow old and are closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from gateway.errors import (
    Draining,
    GatewayError,
    UpstreamFailed,
    UpstreamsExhausted,
    UpstreamTimedOut,
)
from gateway.llm.later import Later, at_once
from gateway.llm.upstream.connection import Connection
from gateway.llm.upstream.sending import Request
from gateway.llm.upstream.words import Counters, Limits, Origin

Connect = Callable[[Origin, Callable[[], Connection]], Coroutine[Any, Any, None]]
"""Connects what the second argument makes to an origin; raises a GatewayError where it cannot."""
Clock = Callable[[], float]


class Pool:
    """Connections of one origin.

    Attributes:
        origin: whose they are.
        limits: see `words.Limits`.
        counters: shared by all pools.
        later: has short requests written.
    """

    def __init__(
        self,
        origin: Origin,
        limits: Limits,
        counters: Counters,
        loop: asyncio.AbstractEventLoop,
        connect: Connect,
        clock: Clock,
        later: Later = at_once,
    ) -> None:
        self.origin = origin
        self.limits = limits
        self.counters = counters
        self._loop = loop
        self._connect = connect
        self._clock = clock
        self.later = later
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._line: deque[Request] = deque()
        self._attempts: dict[asyncio.Task[None], float] = {}  # until when each may take
        self._keeps = True

    @property
    def empty(self) -> bool:
        """Nothing is open, being opened or waited for."""
        return not (self._open or self._attempts or self._line)

    @property
    def open(self) -> int:
        """Connections there are, with those that nobody uses."""
        return len(self._open)

    @property
    def idle(self) -> int:
        """Those that nobody uses."""
        return len(self._idle)

    @property
    def answering(self) -> Iterator[tuple[Connection, Request]]:
        """Those that an answer is or may be coming on, and the requests for it."""
        for connection in self._open:
            if connection.request is not None:
                yield connection, connection.request

    def next_turn(self, function: Callable[..., None], *arguments: Any) -> None:
        """Calls something once this turn of the loop is over."""
        self._loop.call_soon(function, *arguments)

    # -- requests

    def begin(self, request: Request) -> None:
        """Puts a request on a connection, or in line for one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.fit():
                self.counters.reused += 1
                connection.begin(request, request.began)
                return
        waiting = len(self._line) - len(self._attempts)
        if waiting >= self.limits.max_waiting:
            error = UpstreamsExhausted(
                f"{self.origin}: {waiting} requests wait for a connection already"
            )
            # Not before whoever sends it knows what it has sent.
            self._loop.call_soon(request.fail, error)
            return
        request.queued = request.began
        self._line.append(request)
        self._grow()

    def send_again(self, request: Request) -> None:
        """Puts a request first in line whose kept-alive connection died, for a new one."""
        request.again = True
        request.queued = self._clock()
        self.counters.resent += 1
        self._line.appendleft(request)
        self._grow()

    def leave(self, request: Request) -> None:
        """It does not wait any more."""
        if request in self._line:
            self._line.remove(request)

    # -- connections

    def made(self, connection: Connection) -> None:
        """One is there; who is first in line gets it."""
        self._open.add(connection)
        self.counters.opened += 1
        if self._line:
            connection.begin(self._line.popleft(), self._clock())
        else:
            self._set_aside(connection)

    def free(self, connection: Connection) -> None:
        """A request on it is over, and another may follow."""
        line = self._line
        request = next((one for one in line if not one.again), None) if line else None
        if request is None:
            self._set_aside(connection)
        elif connection.fit():  # else it closes itself, which makes room for another
            self._line.remove(request)
            self.counters.reused += 1
            connection.begin(request, self._clock())

    def lost(self, connection: Connection) -> None:
        """One is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._grow()

    def _set_aside(self, connection: Connection) -> None:
        if not self._keeps:
            connection.close()
            return
        connection.since = self._clock()
        self._idle.append(connection)

    def _grow(self) -> None:
        """Makes as many connections as requests wait for, and there may be."""
        room = self.origin.max_connections - len(self._open)
        while len(self._attempts) < min(len(self._line), room):
            patience = self._line[-1].timeouts.connect_s
            attempt = self._loop.create_task(self._connect(self.origin, self._new))
            self._attempts[attempt] = self._clock() + patience
            attempt.add_done_callback(self._attempted)

    def _new(self) -> Connection:
        return Connection(self)

    def _attempted(self, attempt: asyncio.Task[None]) -> None:
        """A connection was made, and has told so itself, or was not."""
        del self._attempts[attempt]
        error = None if attempt.cancelled() else attempt.exception()
        failed = self._line.popleft() if error is not None and self._line else None
        self._grow()
        if failed is None or error is None:
            return
        if not isinstance(error, GatewayError):
            error = UpstreamFailed(f"{self.origin}: {error!r}")
        failed.fail(error)

    # -- time

    def check(self, now: float) -> None:
        """Ends what takes too long, and closes what nobody has used for long."""
        for connection in tuple(self._open):
            connection.check(now)
        for attempt, due in tuple(self._attempts.items()):
            if now >= due:
                attempt.cancel()
        for request in [r for r in self._line if now - r.queued >= r.timeouts.connect_s]:
            self.leave(request)
            if request.connection is None:  # else one whose caller was told first made room
                patience = request.timeouts.connect_s
                request.fail(
                    UpstreamTimedOut(f"{self.origin}: waited {patience:g} s for a connection")
                )
        while self._idle and now - self._idle[0].since >= self.limits.keep_alive_s:
            self._idle.pop(0).close()

    def drain(self) -> None:
        """Keeps no connection from now on; those in use are closed after their answers."""
        self._keeps = False
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Ends everything; requests under way fail."""
        self.drain()
        for attempt in self._attempts:
            attempt.cancel()
        waiting, self._line = self._line, deque()
        for request in waiting:
            request.fail(Draining(f"{self.origin}: the gateway is shutting down"))
        for connection in tuple(self._open):
            connection.fail(Draining(f"{self.origin}: the gateway is shutting down"))
