"""Stops reading while the worker is late, so that it answers what it has before it takes more.

Knows how late the event loop's timers fire, and connections that can be held. Knows nothing of
requests. Costs two timer calls in a hundred milliseconds and nothing per request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.wire.services import Connection, Services

# Reading begins again in portions: all sockets at once would bring the next long turn.
PORTION = 128
BUSY_INTERVAL_S = 0.001


class LagGuard:
    """Measures turns of the loop by how late a timer fires; see the module."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._bound_s = services.limits.max_loop_lag_ms / 1000
        # A turn that is too long is noticed if it is longer than bound and interval together at
        # worst.
        self._interval_s = max(self._bound_s / 2, BUSY_INTERVAL_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._held: deque[Connection] = deque()

    @property
    def late(self) -> bool:
        """Some connections are not read at the moment."""
        return bool(self._held)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins measuring."""
        self._loop = loop
        self._arm(self._interval_s)

    def stop(self) -> None:
        """Ends it and lets all connections read."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._release(len(self._held))

    def _arm(self, interval_s: float) -> None:
        if self._loop is not None:
            self._due = self._loop.time() + interval_s
            self._timer = self._loop.call_later(interval_s, self._tick)

    def _tick(self) -> None:
        if self._loop is None or self._timer is None:
            return
        if self._loop.time() - self._due > self._bound_s:
            self._hold()
        else:
            self._release(PORTION)
        self._arm(BUSY_INTERVAL_S if self._held else self._interval_s)

    def _hold(self) -> None:
        if not self._held:
            self._services.counters.paused()
        # Who is held stays held: a connection that is not read falls silent, and would else be
        # taken for idle and forgotten unread. Idle ones are left alone: there may be thousands.
        known = set(self._held)
        self._held.extend(
            connection
            for connection in self._services.connections
            if connection not in known and connection.hold_reading()
        )

    def _release(self, portion: int) -> None:
        for _ in range(min(portion, len(self._held))):
            self._held.popleft().resume_reading()
