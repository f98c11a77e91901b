"""Puts off to the end of a turn of the event loop what wakes others up.

Knows calls and the loop. Knows nothing of what is called.

Under load one turn reads ten or twenty requests and answers. Each write wakes who waits for it, on
another core, and while that begins, the system's code drives ours out of the processor's caches.
Written one after the other only the first write wakes anybody: that took a worker a seventh of its
CPU time. Whoever is alone in its turn waits some microseconds longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("penstock.llm")

Later = Callable[..., None]
"""Takes a function and its arguments, and has it called soon, in the order of such calls."""


def at_once(function: Callable[..., Any], *arguments: Any) -> None:
    """Puts nothing off."""
    function(*arguments)


class TurnEnd:
    """Of one event loop, on which alone it is used; an instance is a `Later`."""

    __slots__ = ("_calls", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls it once all is read that there is to read, after what was put off before."""
        if not self._calls:
            self._loop.call_soon(self._end)
        self._calls.append((function, arguments))

    def _end(self) -> None:
        # What one of these calls puts off comes after all of them.
        for function, arguments in self._calls:
            try:
                function(*arguments)
            except Exception:
                log.exception("what was put off to the end of a turn failed")
        self._calls = []
