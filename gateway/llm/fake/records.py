"""What the fake has received, and what became of it: for tests to look at and wait for.

Written on the fake's event loop, read from any thread. Knows nothing of what is answered.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.llm.fake.script import Script

MAX_KEPT = 10_000
PATIENCE_S = 60.0


@dataclass(slots=True)
class Received:
    """A request.

    Attributes:
        number: counted from 1.
        connection: number of the connection that it came on.
        method: as it came.
        path: with its query.
        headers: in order, names in lower case.
        body: as it came.
        values: the body, read; None where it is no JSON.
        script: that it is answered by.
        at: when it had come whole (monotonic seconds).
        status: that it was answered with; 0: none yet.
        tokens: sent so far.
        input: tokens of the prompt told.
        output: tokens of the answer told.
        done: the answer went out whole, as the script wanted it.
        left_at: when the caller closed the connection before the end; None: it did not.
        pauses: how often the caller read more slowly than the answer came.
    """

    number: int
    connection: int
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    values: Any
    script: Script
    at: float = field(default_factory=time.monotonic)
    status: int = 0
    tokens: int = 0
    input: int = 0
    output: int = 0
    done: bool = False
    left_at: float | None = None
    pauses: int = 0

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for known, value in self.headers if known == name), None)


class Records:
    """The newest requests, and counts of all.

    Attributes:
        counts: `requests`, `connections`, `answers`, `tokens`, `left`, `input` and `output` (tokens
            of answers that went out whole).
    """

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        """Takes how many requests to keep; counts are of all."""
        self.counts: Counter[str] = Counter()
        self._kept: deque[Received] = deque(maxlen=max_kept)
        self._changed = threading.Condition()

    @contextmanager
    def change(self) -> Iterator[Counter[str]]:
        """To count, or to change a record, with those who wait being told."""
        with self._changed:
            yield self.counts
            self._changed.notify_all()

    def add(self, received: Received) -> None:
        """Keeps a request."""
        with self.change() as counts:
            counts["requests"] += 1
            self._kept.append(received)

    def all(self) -> list[Received]:
        """The newest, oldest first."""
        with self._changed:
            return list(self._kept)

    def clear(self) -> None:
        """Forgets all requests; counts go on."""
        with self._changed:
            self._kept.clear()

    def wait(
        self, found: Callable[[list[Received]], object], within_s: float = PATIENCE_S
    ) -> list[Received]:
        """Waits until the records are as `found` wants them.

        Raises:
            TimeoutError: they are not in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: found(list(self._kept)), within_s):
                raise TimeoutError(f"not so within {within_s:g} s: {list(self._kept)}")
            return list(self._kept)
