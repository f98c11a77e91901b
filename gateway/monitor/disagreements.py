"""Tells of rows that two versions class differently, so that outcomes may say which one was right.

Knows how scores are read, and numbers of requests. Knows nothing of outcomes, or of who is told.

A few of them a second are told of, by when they come and not by what they hold: which of the two is
right where they disagree is what is asked, and that needs no more than a sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from gateway.monitor.scores import Reading
from gateway.tensors import Array

MAX_AT_ONCE: Final = 8
PAUSE_S: Final = 0.1


class Disagreements:
    """Of one version and one of its shadows, in one worker."""

    def __init__(
        self,
        model: str,
        answered: int,
        shadow: int,
        reading: Reading,
        threshold: float,
        tell: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins.

        Args:
            model: its name.
            answered: the version that did.
            shadow: the other version.
            reading: where scores are.
            threshold: above which the positive class is predicted.
            tell: takes a message.
            clock: seconds.
        """
        self._about = {"type": "disagreed", "model": model, "answered": answered, "shadow": shadow}
        self._reading = reading
        self._threshold = threshold
        self._tell = tell
        self._clock = clock
        self._next = 0.0

    @property
    def due(self) -> bool:
        """It may tell again."""
        return self._clock() >= self._next

    def labels(self, first: Array, second: Array) -> tuple[int, int]:
        """What both predict of a row: the number of a class, 1 for the positive one of two."""
        (was,), _ = self._reading.answers(first, self._threshold)
        (now,), _ = self._reading.answers(second, self._threshold)
        return int(was), int(now)

    @property
    def index(self) -> int:
        """Of the output that scores are in."""
        return self._reading.index

    def tell(self, rows: list[tuple[int, int, int, int]]) -> None:
        """Tells of rows: the sequence of the request, the row's number in it, and both labels."""
        self._next = self._clock() + PAUSE_S
        self._tell({**self._about, "rows": rows})
