"""Gives every version of a model its counters, and takes them back when it is gone for good.

Knows the arena and a clock. Knows nothing of plans, or of why a version came or went.

A version that left is not forgotten at once: its last counts are to be scraped, and one that comes
back within that time (a rollback) goes on counting where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Set

from gateway.errors import ArenaFull
from gateway.monitor import layout
from gateway.monitor.arena import Arena

log = logging.getLogger("penstock.control")

# Several intervals of the most patient scraper.
KEPT_S = 600.0

Key = tuple[str, int]


class Blocks:
    """The blocks of models, by name and version. Lives in control, which alone allocates."""

    def __init__(self, arena: Arena, clock: Callable[[], float], kept_s: float = KEPT_S) -> None:
        """Knows nothing of the past: what an earlier control wanted is in the arena."""
        self._arena = arena
        self._clock = clock
        self._kept_s = kept_s
        self._wanted: set[str] | None = None
        self._asked: set[str] = set()
        self._left: dict[str, float] = {}

    def allocate(self, name: str, version: int) -> int:
        """Offset of the counters of a version: those it has, or new ones.

        Raises:
            ArenaFull: there is no room, not even when all that left is forgotten at once.
            GatewayError: the name is too long.
        """
        key = layout.model_key(name, version)
        self._asked.add(key)
        try:
            return self._arena.allocate(layout.MODEL, key)
        except ArenaFull:
            if not self._free(0.0):
                raise
            log.warning("the arena is full: counts of model versions that left are forgotten")
            return self._arena.allocate(layout.MODEL, key)

    def want(self, wanted: Set[Key]) -> None:
        """From now on these versions are known, and all workers follow a plan that says so."""
        self._wanted = {layout.model_key(*key) for key in wanted}
        self._asked.clear()
        self.sweep()

    def sweep(self) -> None:
        """Forgets what left long enough ago."""
        self._free(self._kept_s)

    def _free(self, kept_s: float) -> int:
        """Frees the blocks of versions that left so long ago and that no worker holds."""
        if self._wanted is None:
            return 0
        now = self._clock()
        freed = 0
        for block in list(self._arena.blocks(layout.MODEL)):
            if block.name in self._wanted or block.name in self._asked:
                self._left.pop(block.name, None)
                continue
            left = self._left.setdefault(block.name, now)
            # A deployment that drains counts until it is closed, and its gauge says so.
            held = self._arena.slots(block)[:, layout.LOADED].any()
            if now - left >= kept_s and not held:
                self._arena.free(block.offset)
                del self._left[block.name]
                freed += 1
        return freed
