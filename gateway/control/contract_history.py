"""Reads what was broken of contracts, once a second, into the history of each block.

Knows blocks and panes. Knows nothing of rules, columns or contracts. It belongs to the thread that
histories have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.control.panes import Base, PaneStore
from gateway.control.sketches import due
from gateway.drift.history import MAX_WINDOW_S, MIN_WINDOW_S, History
from gateway.drift.panes import Pane, Vector, no_moments
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Block

_NO_MOMENTS = no_moments(0)


@dataclass(slots=True)
class _Series:
    """One block over time; `total` are the counts of all workers at the last look."""

    name: str
    history: History
    total: Vector


class ContractHistory:
    """Every block of breaches, over time. Lives in control."""

    def __init__(self, arena: Arena, store: PaneStore) -> None:
        """Reads the arena; `store` keeps panes over restarts."""
        self._arena = arena
        self._store = store
        self._series: dict[str, _Series] = {}

    def look(self, now: float) -> None:
        """Takes what was counted since the last look; `now` is the time of histories."""
        blocks = {block.name: block for block in self._arena.blocks(layout.CONTRACT)}
        for name in self._series.keys() - blocks.keys():
            del self._series[name]
        for name, block in blocks.items():
            total = self._summed(block)
            series = self._series.get(name) or self._begin(name, len(total), now)
            came = total - series.total
            if (came < 0).any():  # its block is another one, from zero
                came = total
            series.total = total
            series.history.add(now, came, _NO_MOMENTS)

    def window(self, block: Block, length_s: float) -> Vector:
        """(words,) what was counted in a window, as the block's words have it."""
        series = self._series.get(block.name)
        if series is None:
            return np.zeros(block.words, np.int64)
        length_s = min(max(length_s, MIN_WINDOW_S), MAX_WINDOW_S)
        return series.history.window(length_s).counts

    def due(self, everything: bool = False) -> tuple[dict[str, list[Pane]], dict[str, Base]]:
        """As `Sketches.due` has it."""
        return due(self._series.values(), self._arena.boot_id, everything)

    def _begin(self, name: str, words: int, now: float) -> _Series:
        history = History(words, 0)
        panes, base = self._store.load(name)
        history.restore(panes, now)
        total = np.zeros(words, np.int64)
        if base is not None and base.boot == self._arena.boot_id and len(base.counts) == words:
            total = base.counts
        made = self._series[name] = _Series(name, history, total)
        return made

    def _summed(self, block: Block) -> Vector:
        words: Vector = self._arena.slots(block).sum(axis=0)
        words[layout.SKETCH_GAUGES : layout.SKETCH_GAUGES_END] = 0  # these do not only grow
        return words
