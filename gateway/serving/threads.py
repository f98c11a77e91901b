"""A deployment's own threads: where runs go that would hold the event loop.

Knows nothing of what it runs. A pool of `concurrent.futures` would make a future for each call that
nobody looks at, and at exit would wait for a run that never comes back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

log = logging.getLogger("penstock.serving")

Work = tuple[Callable[..., None], tuple[Any, ...]]


class Executor(Protocol):
    """Runs calls off the event loop."""

    def submit(self, call: Callable[..., None], *args: Any) -> None:
        """Has the call made, once, by some thread."""

    def close(self) -> None:
        """Waits for the calls under way and ends the threads. Blocks."""


class Threads:
    """Up to `count` threads, started as calls come in."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[..., None], *args: Any) -> None:
        """Has the call made by the next free thread. Called by one thread only."""
        if len(self._threads) < self._count:
            name = f"{self._name}-{len(self._threads)}"
            # Daemons: a run that never comes back must not keep the worker from leaving.
            thread = threading.Thread(target=self._live, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._work.put((call, args))

    def close(self) -> None:
        """Waits for the calls under way and ends the threads. Blocks."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _live(self) -> None:
        while (work := self._work.get()) is not None:
            call, args = work
            try:
                call(*args)
            except Exception:
                log.exception("a call on thread '%s' failed", self._name)
            del work, call, args  # else the last batch would live until the next one comes
