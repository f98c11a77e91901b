"""Stops reading while the worker is late, so that it answers what it has before it takes more.

Knows how late the event loop's timers fire, and connections that can be held: clients', and those
that others answer on. Knows nothing of requests. Costs a timer call in half of what it allows,
ten milliseconds by default, or in twice what it allows once the worker has been in time for long,
and nothing per request.

Who is held is held at once, whoever it was that has made the worker late. Clients and answers that
somebody waits for go on side by side, so that neither keeps the other waiting for long; answers
that nobody waits for go on once all others do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.wire.services import Connection, Services

# Reading begins again in portions: all sockets at once would bring the next long turn.
PORTION = 128
# An answer may bring more than a client, and whoever asked for it waits for a part of it only.
ANSWERS_PORTION = 32
SPARE_PORTION = 4
BUSY_INTERVAL_S = 0.001
# Each look costs a worker that does little else as much as a streamed chunk or two.
CALM_LOOKS = 100
CALM_INTERVALS = 4


class Held(Protocol):
    """A connection that can be held."""

    def hold_reading(self) -> bool:
        """Reads no more. False: nothing comes on it, or it is held already."""

    def resume_reading(self) -> None:
        """Reads on."""


Answering = Callable[[], Iterable[Held]]
"""Tells on which connections answers are coming."""


def _nobody() -> Iterable[Held]:
    return ()


class LagGuard:
    """Measures turns of the loop by how late a timer fires; see the module."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._bound_s = services.limits.max_loop_lag_ms / 1000
        # A turn that is too long is noticed if it is longer than bound and interval together at
        # worst, which is four intervals while the worker is calm: turns as they are under too much
        # load come one after the other.
        self._interval_s = max(self._bound_s / 2, BUSY_INTERVAL_S)
        self._calm = 0  # looks in a row that found the worker in time
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._held: deque[Connection] = deque()
        self._awaited: Answering = _nobody
        self._unawaited: Answering = _nobody
        self._answers: deque[Held] = deque()
        self._spare: deque[Held] = deque()

    @property
    def late(self) -> bool:
        """Some connections of clients are not read at the moment."""
        return bool(self._held)

    def watch(self, awaited: Answering, unawaited: Answering) -> None:
        """Holds answers, too, from now on.

        Args:
            awaited: those that somebody waits for.
            unawaited: those that nobody does.
        """
        self._awaited, self._unawaited = awaited, unawaited

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins measuring."""
        self._loop = loop
        self._arm(self._interval_s)

    def stop(self) -> None:
        """Ends it and lets all connections read."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for queue in (self._held, self._answers, self._spare):
            _resume(queue, len(queue))

    def _arm(self, interval_s: float) -> None:
        if self._loop is not None:
            self._due = self._loop.time() + interval_s
            self._timer = self._loop.call_later(interval_s, self._tick)

    def _tick(self) -> None:
        if self._loop is None or self._timer is None:
            return
        late_s = self._loop.time() - self._due
        if late_s > self._bound_s:
            self._hold()
        else:
            self._release(PORTION)
        held = self._held or self._answers or self._spare
        self._calm = 0 if held or late_s >= self._interval_s else self._calm + 1
        calm = CALM_INTERVALS if self._calm >= CALM_LOOKS else 1
        self._arm(BUSY_INTERVAL_S if held else calm * self._interval_s)

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
        self._answers.extend(one for one in self._awaited() if one.hold_reading())
        self._spare.extend(one for one in self._unawaited() if one.hold_reading())

    def _release(self, portion: int) -> None:
        if not (self._held or self._answers):
            _resume(self._spare, SPARE_PORTION)
        _resume(self._held, portion)
        _resume(self._answers, ANSWERS_PORTION)


def _resume(queue: deque[Connection] | deque[Held], portion: int) -> None:
    for _ in range(min(portion, len(queue))):
        queue.popleft().resume_reading()
