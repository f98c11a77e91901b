"""How much of this turn of the event loop model runs have used.

Knows the scheduler it is told of. Knows nothing of models or batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

# 500 us of one turn spent on runs delays whatever else is waiting by no more than a thread's
# time slice would.
LIMIT_S = 500e-6


class Timer(Protocol):
    """A call that was asked for and may be called off."""

    def cancel(self) -> None:
        """Calls it off."""


class Scheduler(Protocol):
    """The part of an asyncio event loop that serving leans on."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> object:
        """Calls back in the next turn."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Calls back after `delay` seconds."""

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> object:
        """Calls back in the next turn; may be asked for by any thread."""


class TurnBudget:
    """One per worker, shared by all its batchers; lives on the event loop.

    Attributes:
        used_s: seconds that runs and the answers to them took in this turn.
    """

    __slots__ = ("_armed", "_limit_s", "_scheduler", "used_s")

    def __init__(self, scheduler: Scheduler, limit_s: float = LIMIT_S) -> None:
        self._scheduler = scheduler
        self._limit_s = limit_s
        self._armed = False
        self.used_s = 0.0

    @property
    def spent(self) -> bool:
        """Nothing more should run on the loop in this turn."""
        return self.used_s >= self._limit_s

    def spend(self, seconds: float) -> None:
        """Counts time used in this turn; the next turn starts from zero."""
        self.used_s += seconds
        if not self._armed:
            self._armed = True
            self._scheduler.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._armed = False
        self.used_s = 0.0
