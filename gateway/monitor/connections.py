"""What one worker counts of its connections.

Knows words of the arena. Knows nothing of HTTP or of what a connection carries.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import TooManyConnections
from gateway.monitor import layout
from gateway.monitor.arena import CONNECTIONS
from gateway.monitor.observe import WorkerObserver


class ConnectionCounters:
    """The counters that connections bump, in their worker's slot. Used on the event loop alone."""

    __slots__ = ("_changed", "_observer", "_open", "_row", "_slot")

    def __init__(
        self, observer: WorkerObserver, row: memoryview, changed: Callable[[], None]
    ) -> None:
        self._observer = observer
        self._changed = changed
        self._slot = observer.slot
        self._row = row
        self._open = 0

    def opened(self) -> None:
        """A connection was accepted or adopted."""
        self._open += 1
        self._slot[layout.ACCEPTED] += 1
        self._note()

    def closed(self) -> None:
        """A connection ended."""
        self._open -= 1
        self._slot[layout.CLOSED] += 1
        self._note()
        self._changed()

    def refused(self, code: str) -> None:
        """A request or connection was answered with this error."""
        self._observer.refused(code)
        if code == TooManyConnections.code:
            self._slot[layout.REFUSED_CONNECTIONS] += 1

    def handshake_failed(self) -> None:
        """A connection ended before TLS was agreed upon."""
        self._slot[layout.FAILED_HANDSHAKES] += 1

    def left(self) -> None:
        """A client left before its request was answered."""
        self._slot[layout.CLIENTS_LEFT] += 1

    def paused(self) -> None:
        """The worker stopped reading because it was late."""
        self._slot[layout.PAUSES] += 1

    def cut(self, reason: str) -> None:
        """A connection was ended without a word, for one of `layout.CUT_REASONS`."""
        self._slot[layout.CUT + layout.CUT_REASONS.index(reason)] += 1

    def _note(self) -> None:
        self._slot[layout.OPEN_CONNECTIONS] = self._open
        self._row[CONNECTIONS] = self._open
