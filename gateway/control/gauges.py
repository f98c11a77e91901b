"""Evaluates what `/metrics` says of drift: at most once a second, however many scrape.

Knows time and windows. Knows nothing of names or labels, or of how figures are made.

Control's event loop owns it; windows are evaluated on the one thread that histories belong to.
Whoever scrapes meanwhile waits for the same evaluation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from gateway.control.drift import Drift, Evaluated

PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """All versions, evaluated.

    Attributes:
        evaluated: one a version.
        took_s: what it took.
    """

    evaluated: tuple[Evaluated, ...]
    took_s: float


class Gauges:
    """The newest evaluation of all watched versions. Lives in control."""

    def __init__(
        self,
        drift: Drift,
        window_s: Callable[[], float],
        counting: Executor,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes its collaborators.

        Args:
            drift: what is watched.
            window_s: how far to look back.
            counting: the one thread that histories are read and written on.
            monotonic: seconds of a clock that nobody sets.
        """
        self._drift = drift
        self._window_s = window_s
        self._counting = counting
        self._monotonic = monotonic
        self._began = 0.0
        self._reading: asyncio.Future[Reading] | None = None

    async def fresh(self) -> Reading:
        """An evaluation that began less than a second ago, or that is still going on."""
        now = self._monotonic()
        if self._reading is None or (self._reading.done() and now >= self._began + PAUSE_S):
            self._began = now
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(self._counting, self._read, self._window_s())
        # Whoever leaves takes nothing from those who wait as well.
        return await asyncio.shield(self._reading)

    def _read(self, window_s: float) -> Reading:
        start = time.perf_counter()
        evaluated = self._drift.evaluate_all(window_s)
        return Reading(evaluated, time.perf_counter() - start)
