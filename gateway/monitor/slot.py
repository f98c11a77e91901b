"""One worker's words of one block of values: who counts into it, one at a time.

Knows the words that every such block has, and a pool. Knows nothing of what is counted.

A slot has one writer at a time. What would hold the event loop for long is counted on a thread, and
as long as something is, what follows waits in line behind it. The line is bounded: what finds no
room is counted as skipped, which happens only where values come in faster than a thread adds them
up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from gateway.monitor import layout
from gateway.monitor.directory import Words

# Of arrays that wait for the thread.
MAX_WAITING_BYTES: Final = 64 << 20

Work = Callable[[], int]
"""Counts something, on the loop or on a thread; tells how many rows it could not count."""


class Slot:
    """One worker's slot of one block: who counts into it, one at a time.

    Two deployments of a version share it while one replaces the other.

    Attributes:
        words: of the slot.
        busy: a thread counts here; nobody else may until it is done.
    """

    def __init__(
        self, words: Words, pool: Executor, max_waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        """Takes the words; `pool` has threads for what is too much for the event loop."""
        self.words = words
        self._pool = pool
        self._max_waiting_bytes = max_waiting_bytes
        self._users = 0
        # while a thread counts
        self.busy = False
        self._waiting: deque[tuple[Work, int]] = deque()
        self._waiting_bytes = 0
        self._skipped = 0

    @property
    def used(self) -> bool:
        """Somebody counts here, or what they counted still waits for the thread."""
        return self._users > 0 or self.busy

    def use(self) -> None:
        """Another deployment counts here; control keeps the block as long as one does."""
        self._users += 1
        self.words[layout.SKETCH_HELD] = 1

    def leave(self) -> None:
        """It does no longer."""
        self._users -= 1
        self.words[layout.SKETCH_HELD] = int(self._users > 0)

    def line_up(self, work: Work, rows: int, size: int) -> None:
        """Has something counted on a thread, behind all that waits for it.

        Args:
            work: counts it.
            rows: that are skipped where there is no room in the line.
            size: bytes that wait with it.
        """
        if self.busy and self._waiting_bytes + size > self._max_waiting_bytes:
            self._skipped += rows
            return
        self._waiting.append((work, size))
        self._waiting_bytes += size
        if not self.busy:
            self.busy = True
            self._next()

    def _next(self) -> None:
        loop = asyncio.get_running_loop()
        work, size = self._waiting.popleft()
        self._pool.submit(lambda: loop.call_soon_threadsafe(self._done, work(), size))

    def _done(self, skipped: int, size: int) -> None:
        self._waiting_bytes -= size
        self._skipped += skipped
        if self._waiting:
            self._next()
            return
        self.busy = False
        self.words[layout.SKETCH_SKIPPED] += self._skipped
        self._skipped = 0
