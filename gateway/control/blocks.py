"""Gives every version of a model its counters, and takes them back when it is gone for good.

Knows the arena and a clock. Knows nothing of plans, or of why a version came or went.

A version that left is not forgotten at once: its last counts are to be scraped, and one that comes
back within that time (a rollback) goes on counting where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Set
from typing import Final

from gateway.errors import ArenaFull
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Block
from gateway.monitor.upstreams import model_key_of

log = logging.getLogger("penstock.control")

# Several intervals of the most patient scraper.
KEPT_S = 600.0
# Nobody reads first rows once a profile was made of them; a thread may be writing the last ones.
ROWS_KEPT_S = 10.0
# Of the arena, for first rows at the most: what is counted must always find room.
ROWS_SHARE = 0.5
# The same for what is captured: eight versions, as configured by default, and their pages.
CAPTURE_SHARE = 0.3

Key = tuple[str, int]

_HELD: Final = {
    layout.MODEL: layout.LOADED,
    layout.SKETCH: layout.SKETCH_HELD,
    layout.FIRST_ROWS: layout.SKETCH_HELD,
    layout.CONTRACT: layout.SKETCH_HELD,
    layout.CAPTURE: layout.SKETCH_HELD,
    layout.PAIRS: layout.SKETCH_HELD,
    layout.UPSTREAM: layout.UPSTREAM_HELD,
}
"""The word of a slot that says whether its worker still counts there."""


class Blocks:
    """The blocks of models and of what is watched of them. Lives in control, which alone allocates.

    A block of values is wanted as long as a plan names it; its counters by name and version.
    """

    def __init__(self, arena: Arena, clock: Callable[[], float], kept_s: float = KEPT_S) -> None:
        """Knows nothing of the past: what an earlier control wanted is in the arena."""
        self._arena = arena
        self._clock = clock
        self._kept_s = kept_s
        self._wanted: Set[str] | None = None
        self._watched: Set[int] = frozenset()
        self._asked: set[int] = set()
        self._left: dict[int, float] = {}

    def allocate(self, name: str, version: int) -> int:
        """Offset of the counters of a version: those it has, or new ones.

        Raises:
            ArenaFull: there is no room, not even when all that left is forgotten at once.
            GatewayError: the name is too long.
        """
        return self._allocate(layout.MODEL, layout.model_key(name, version), None)

    def allocate_sketch(self, key: str, words: int) -> int:
        """Offset of the block of values of this name (`layout.sketch_key`).

        Raises:
            ArenaFull: there is no room, not even when all that left is forgotten at once.
            GatewayError: the name is too long.
        """
        return self._allocate(layout.SKETCH, key, words)

    def allocate_contract(self, key: str, words: int) -> int:
        """Offset of the block of breaches of this name (`layout.contract_key`).

        Raises:
            ArenaFull: there is no room, not even when all that left is forgotten at once.
            GatewayError: the name is too long.
        """
        return self._allocate(layout.CONTRACT, key, words)

    def allocate_rows(self, key: str, words: int) -> int:
        """Offset of the block of first rows of this name (`layout.first_rows_key`).

        Raises:
            ArenaFull: there is no room now; there will be, once others have their profiles.
            GatewayError: the name is too long.
        """
        there = self._arena.find(layout.FIRST_ROWS, key)
        most = int(self._arena.size_bytes * ROWS_SHARE)
        if there is None and not self._arena.grows_within(layout.FIRST_ROWS, words, most):
            raise ArenaFull("arena: first rows of other models take all the room there is for them")
        offset = self._arena.allocate(layout.FIRST_ROWS, key, words)
        self._asked.add(offset)
        return offset

    def allocate_capture(self, key: str, words: int) -> int:
        """Offset of the ring of inputs and outputs of this name (`layout.capture_key`).

        Raises:
            ArenaFull: rings of others take all the room there is for them.
            GatewayError: the name is too long.
        """
        there = self._arena.find(layout.CAPTURE, key)
        most = int(self._arena.size_bytes * CAPTURE_SHARE)
        if there is None and not self._arena.grows_within(layout.CAPTURE, words, most):
            raise ArenaFull(
                "arena: captured rows of others take all the room there is for them: lower"
                " capture.ring_bytes"
            )
        return self._allocate(layout.CAPTURE, key, words)

    def allocate_pairs(self, key: str) -> int:
        """Offset of the block of pairs of this name (`layout.pairs_key`).

        Raises:
            ArenaFull: there is no room, not even when all that left is forgotten at once.
            GatewayError: the name is too long.
        """
        return self._allocate(layout.PAIRS, key, None)

    def allocate_upstream(self, key: str) -> int:
        """Offset of the block of an upstream of this name (`upstreams.Called.key`).

        Raises:
            ArenaFull: there is no room, not even when all that left is forgotten at once.
            GatewayError: the name is too long.
        """
        return self._allocate(layout.UPSTREAM, key, None)

    def _allocate(self, kind: int, key: str, words: int | None) -> int:
        try:
            offset = self._arena.allocate(kind, key, words)
        except ArenaFull:
            if not self._free(0.0):
                raise
            log.warning("the arena is full: counts of model versions that left are forgotten")
            offset = self._arena.allocate(kind, key, words)
        self._asked.add(offset)
        return offset

    def want(self, wanted: Set[Key], watched: Set[int] = frozenset()) -> None:
        """From now on these are known, and all workers follow a plan that says so.

        Args:
            wanted: versions of models.
            watched: offsets of blocks of values, and of first rows.
        """
        self._wanted = {layout.model_key(*key) for key in wanted}
        self._watched = watched
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
        for block in list(self._arena.blocks()):
            if block.kind not in _HELD:
                continue
            if block.offset in self._asked or self._knows(block):
                self._left.pop(block.offset, None)
                continue
            left = self._left.setdefault(block.offset, now)
            # A deployment that drains counts until it is closed, and its gauge says so.
            held = self._arena.slots(block)[:, _HELD[block.kind]].any()
            patience = min(kept_s, ROWS_KEPT_S) if block.kind == layout.FIRST_ROWS else kept_s
            if now - left >= patience and not held:
                self._arena.free(block.offset)
                del self._left[block.offset]
                freed += 1
        return freed

    def _knows(self, block: Block) -> bool:
        if block.kind == layout.MODEL:
            return self._wanted is not None and block.name in self._wanted
        if block.kind == layout.UPSTREAM:
            return self._wanted is not None and model_key_of(block.name) in self._wanted
        return block.offset in self._watched
