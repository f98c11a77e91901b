"""A worker's doorbell at control: a version fails, look at its counts.

Knows offsets of counters and a pause. Knows nothing of what failed, of how many failures are too
many, or of what control does about it: how often a version failed is in the arena before the bell
rings.

The first failure rings at once; those that follow within the pause ring once more, together, at its
end, so that none goes without a look and a model that fails all its requests costs the mailbox one
message a pause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

PAUSE_S: Final = 0.02


class Scheduler(Protocol):
    """The part of an event loop that is needed here."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        """Calls back once, after so many seconds."""
        ...


class Doorbell:
    """Lives on the worker's event loop."""

    def __init__(self, send: Callable[[dict[str, Any]], bool], scheduler: Scheduler) -> None:
        """Takes its collaborators.

        Args:
            send: puts a message into control's mailbox; False: there is no room now.
            scheduler: the event loop.
        """
        self._send = send
        self._scheduler = scheduler
        self._waiting: set[int] = set()
        self._paused = False

    def ring(self, block: int) -> None:
        """A request to the version that counts at this offset has failed, and is counted."""
        self._waiting.add(block)
        if not self._paused:
            self._ring()

    def _ring(self) -> None:
        self._paused = bool(self._waiting)
        if self._paused:
            self._scheduler.call_later(PAUSE_S, self._ring)
            # What finds no room waits for the next pause.
            if self._send({"type": "failing", "blocks": sorted(self._waiting)}):
                self._waiting.clear()
