"""Looks at every connection's clock, a few at a time.

Knows that connections can check themselves. Knows nothing of what they wait for. One timer for all:
arming and cancelling a timer per request costs as much as a tenth of a small inference, and a timer
per idle connection wakes the loop for nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.wire.services import Connection, Services

SLICES = 8
LONGEST_ROUND_S = 1.0
SHORTEST_ROUND_S = 0.02


class Sweep:
    """Goes round all connections about once a second, in slices that keep turns short."""

    def __init__(self, services: Services) -> None:
        """Derives the pace from the shortest time-out there is."""
        self._services = services
        limits = services.limits
        shortest = min(
            services.server.keep_alive_s,
            limits.header_timeout_s,
            limits.body_timeout_s,
            limits.write_timeout_s,
        )
        self.round_s = max(SHORTEST_ROUND_S, min(LONGEST_ROUND_S, shortest / 4))
        """How late a time-out may be."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._round: list[Connection] = []
        self._slice = 1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins going round."""
        self._loop = loop
        self._timer = loop.call_later(self.round_s / SLICES, self._tick)

    def stop(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._services.now = time.perf_counter()
        if not self._round:
            self._round = list(self._services.connections)
            self._slice = -(-len(self._round) // SLICES)
        part, self._round = self._round[: self._slice], self._round[self._slice :]
        for connection in part:
            connection.check(now)
        if self._loop is not None and self._timer is not None:
            self._timer = self._loop.call_later(self.round_s / SLICES, self._tick)
