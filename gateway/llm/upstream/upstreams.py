"""All connections of a worker to upstreams: takes requests, and looks at every clock.

Knows pools by their origins. Knows nothing of bytes, or of which origin a request should go to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from gateway.errors import Draining
from gateway.llm.later import Later, at_once
from gateway.llm.upstream.connecting import Connector
from gateway.llm.upstream.connection import Connection
from gateway.llm.upstream.names import LookUp, Names, system
from gateway.llm.upstream.pool import Clock, Pool
from gateway.llm.upstream.sending import Request
from gateway.llm.upstream.words import Body, Counters, Limits, Origin, Sending, Sink, Timeouts

# How late a time-out may be. One timer for all: one per request costs as much as parsing its
# answer's head.
SWEEP_S = 0.1


class Upstreams:
    """Belongs to one event loop.

    Attributes:
        counters: what happened.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits | None = None,
        look_up: LookUp | None = None,
        clock: Clock = time.monotonic,
        later: Later = at_once,
    ) -> None:
        """Connects nowhere yet.

        Args:
            loop: the worker's.
            limits: see there.
            look_up: addresses of names; None: asks the system.
            clock: seconds; time-outs are by it.
            later: has short requests written.
        """
        self._loop = loop
        self._limits = limits or Limits()
        self._clock = clock
        self._later = later
        self._names = Names(look_up or system(loop), loop, clock)
        self._connect = Connector(loop, self._names).connect
        self.counters = Counters()
        self._pools: dict[Origin, Pool] = {}
        self._left: list[Pool] = []  # of origins that are not followed any more, until empty
        self._timer: asyncio.TimerHandle | None = None
        self._keeps = True
        self._closed = False

    def send(
        self,
        origin: Origin,
        head: bytes,
        body: Body,
        sink: Sink,
        timeouts: Timeouts,
        *,
        awaited: bool = True,
    ) -> Sending:
        """Sends a request, as soon as there is a connection for it.

        A request whose kept-alive connection dies before a single byte has come back is sent again,
        once, on a new one: its upstream has closed the connection as it was written.

        Args:
            origin: to whom.
            head: of `request_head`, maybe with more of `header_lines`.
            body: all of it, whole or in pieces.
            sink: is told what comes back, never before this returns.
            timeouts: how long what may take.
            awaited: somebody waits for the answer.
        """
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pool(origin)
        request = Request(pool, head, body, sink, timeouts, self._clock())
        if not awaited:
            request.awaited = False
        if self._closed:
            error = Draining(f"{origin}: the gateway is shutting down")
            self._loop.call_soon(request.fail, error)
            return request
        pool.begin(request)
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_S, self._sweep)
        return request

    @property
    def open(self) -> int:
        """Connections there are, with those that nobody uses."""
        return sum(pool.open for pool in self._all())

    @property
    def idle(self) -> int:
        """Those that nobody uses."""
        return sum(pool.idle for pool in self._all())

    def connections(self, origin: Origin) -> tuple[int, int]:
        """Those to one origin, and how many of them nobody uses."""
        pool = self._pools.get(origin)
        return (0, 0) if pool is None else (pool.open, pool.idle)

    def answering(self, *, awaited: bool) -> list[Connection]:
        """Those of requests that wait for answers, or for the rest of them.

        Args:
            awaited: for answers that somebody waits for, or else that nobody does.
        """
        return [
            connection
            for pool in self._all()
            for connection, request in pool.answering
            if request.awaited is awaited
        ]

    def follow(self, origins: Iterable[Origin]) -> None:
        """Keeps no connections to others than these; what is under way there is finished."""
        wanted = set(origins)
        for origin in [origin for origin in self._pools if origin not in wanted]:
            pool = self._pools.pop(origin)
            pool.drain()
            self._left.append(pool)

    def drain(self) -> None:
        """Keeps no connections from now on. What is under way is finished, and may be retried."""
        self._keeps = False
        for pool in self._pools.values():
            pool.drain()

    def close(self) -> None:
        """Ends everything: what is under way fails with Draining."""
        self._keeps, self._closed = False, True
        for pool in self._all():
            pool.close()
        self._names.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def check(self, now: float) -> None:
        """Ends what takes too long, and closes what nobody has used for long."""
        for pool in self._all():
            pool.check(now)
        self._left = [pool for pool in self._left if not pool.empty]

    def _all(self) -> list[Pool]:
        return [*self._pools.values(), *self._left]

    def _pool(self, origin: Origin) -> Pool:
        made = Pool(
            origin,
            self._limits,
            self.counters,
            self._loop,
            self._connect,
            self._clock,
            self._later,
        )
        if not self._keeps:
            made.drain()
        self._pools[origin] = made
        return made

    def _sweep(self) -> None:
        self._timer = None
        try:
            self.check(self._clock())
        finally:  # whatever a sink does that is told
            if self._timer is None and not all(pool.empty for pool in self._all()):
                self._timer = self._loop.call_later(SWEEP_S, self._sweep)
