"""A progress bar for what takes longer than a second.

Knows a terminal's one line. Knows nothing of what progresses. Where nobody watches (a pipe, a log)
it writes nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

_SHOWN_AFTER_S = 1.0
_REDRAWN_EVERY_S = 0.1
_WIDTH = 30
_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """Bytes for people: `54.2 kB`."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


class Bar:
    """Called with (done, in all); leaves the line empty when its block ends.

    Args:
        title: what is going on.
        stream: where to draw; standard error where it is not given.
        now: seconds of a monotonic clock.
        told: how an amount is written; as bytes where it is not given.
    """

    def __init__(
        self,
        title: str,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
        told: Callable[[float], str] = size,
    ) -> None:
        self._told = told
        self._title = title
        self._stream = sys.stderr if stream is None else stream
        self._now = now
        self._watched = self._stream.isatty()
        self._due = now() + _SHOWN_AFTER_S
        self._drawn = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def __call__(self, done: int, total: int) -> None:
        """Draws, where it is time to."""
        if not self._watched or (now := self._now()) < self._due:
            return
        self._due = now + _REDRAWN_EVERY_S
        self._drawn = True
        share = done / total if total else 1.0
        bar = ("#" * int(share * _WIDTH)).ljust(_WIDTH, ".")
        self._stream.write(
            f"\r\x1b[K{self._title} [{bar}] {share:4.0%} {self._told(done)} of {self._told(total)}"
        )
        self._stream.flush()
