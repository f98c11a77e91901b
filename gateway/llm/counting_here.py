"""Counts what this server generates itself, beside what it has from others.

Knows the words of a record, and under which name the arena has the counts. Knows nothing of what is
generated, or of who reads them. `counting` does the same of upstreams.
"""

from __future__ import annotations

import logging
from typing import Final

from gateway.llm.counting import OPERATIONS
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.upstreams import Called, UpstreamCounter
from gateway.wire.llm.words import Dialect
from kernels import generations

log = logging.getLogger("penstock.llm")

OURS: Final = "penstock"
"""Who the provider is, to OpenTelemetry's conventions, of what nobody else is asked for."""
_OPERATION: Final = OPERATIONS[Dialect.EMBEDDINGS]
_OK: Final = generations.RESULTS.index("ok")
_FAILED: Final = generations.RESULTS.index("failed")
_UNASKED: Final = -1.0  # tokens of what nobody worked for


def called_here(name: str, version: int) -> Called:
    """Whose counts a version has that this server runs itself: no upstream's."""
    return Called(name, version, system=OURS, asked=name)


class CounterHere:
    """Of one version that makes embeddings, in one worker. Used on its event loop."""

    def __init__(self, counter: UpstreamCounter) -> None:
        """Takes what the arena has of it."""
        self._counter = counter

    def answered(self, tokens: int, arrived: float, asked: float, last: float, now: float) -> None:
        """A client has all that it asked for.

        Args:
            tokens: that were read.
            arrived: when its first byte was read; these are seconds of one clock.
            asked: when the model had to run.
            last: when all vectors were there.
            now: when the answer was written.
        """
        self._observe(_OK, tokens, arrived, asked, last, now)

    def failed(self, arrived: float, asked: float, now: float) -> None:
        """The model had to run, and no answer came of it; likewise."""
        self._observe(_FAILED, _UNASKED, arrived, asked, now, now)

    def leave(self) -> None:
        """The version has gone."""
        self._counter.leave()

    def _observe(
        self, result: int, tokens: float, arrived: float, asked: float, last: float, now: float
    ) -> None:
        assert _OPERATION is not None, "it has a name"
        never = 0.0  # sent again, elsewhere; written, cached, stored, thought; paid, guessed
        counts = result, never, never, tokens, never, never, never, never, never, never
        streamed = content = never
        about = (*counts, streamed, arrived, asked, content, last, now)
        self._counter.observe(_OPERATION, about, ())


def counter_here(arena: Arena, worker: int, name: str, version: int) -> CounterHere | None:
    """What a version counts with; None: there was no room."""
    offset = arena.find(layout.UPSTREAM, called_here(name, version).key)
    if offset is None:  # control has said why
        log.warning("model '%s' version %d: its tokens are not counted", name, version)
        return None
    return CounterHere(UpstreamCounter(arena, offset, worker))
