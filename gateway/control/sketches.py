"""Reads what workers have counted, once a second, into the history of each block.

Knows blocks, ticks and panes. Knows nothing of what the counts are compared with.

Counts only grow, so what came since the last look is a difference of sums, whichever workers live.
Moments are taken from the set of the tick before, which nobody writes to any more. The time of a
history is that of the wall at its start, and goes on with a clock that nobody sets: a wall clock
that jumps moves no window.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gateway.control.panes import Base, PaneStore
from gateway.drift.history import History
from gateway.drift.panes import Moments, Pane, Vector, add_moments, no_moments
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.directory import Block
from gateway.profiles.live import ROWS, Places, places
from gateway.profiles.values import Profile

log = logging.getLogger("penstock.control")


@dataclass(slots=True)
class Series:
    """One block of counts over time.

    Attributes:
        name: of the block.
        profile: whose bins are counted.
        places: of its words.
        history: what was counted when.
        total: (words,) the counts of all workers at the last look.
        latest: (words,) what came to them at that look.
    """

    name: str
    profile: Profile
    places: Places
    history: History
    total: Vector
    latest: Vector


class Sketches:
    """Every block of counts, over time. Lives in control.

    Histories belong to one thread, which calls everything but `watch` and `forget`: those make and
    drop them whole.
    """

    def __init__(
        self,
        arena: Arena,
        store: PaneStore,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """Reads the arena; `store` keeps panes over restarts.

        Args:
            arena: shared memory.
            store: of panes.
            monotonic: seconds of a clock that nobody sets.
            wall: seconds since 1970.
        """
        self._arena = arena
        self._store = store
        self._monotonic = monotonic
        self._began = wall() - monotonic()
        self._tick = arena.control_row[TICK : TICK + 1]
        self._series: dict[str, Series] = {}
        self._lock = threading.Lock()  # `watch` comes from the event loop

    @property
    def now(self) -> float:
        """Seconds since 1970 by the time of histories."""
        return self._began + self._monotonic()

    def series(self) -> tuple[Series, ...]:
        """What is watched now."""
        return tuple(self._series.values())

    def watch(self, name: str, profile: Profile) -> None:
        """A block is counted into from now on; its history goes on where the store left it.

        Blocks: reads the store.
        """
        with self._lock:
            if name in self._series:
                return
        made = places(profile)
        history = History(made.words, made.columns)
        panes, base = self._store.load(name)
        # A wall clock that was set back while no server ran would leave all panes in the future.
        newest = max((pane.start_s for pane in panes), default=0.0)
        if newest > self.now:
            log.warning("%s: history is ahead of the clock; its time goes on from there", name)
            self._began += newest - self.now
        history.restore(panes, self.now)
        total = np.zeros(made.words, np.int64)
        if base is not None and base.boot == self._arena.boot_id and len(base.counts) == made.words:
            total = base.counts
        nothing = np.zeros(made.words, np.int64)
        with self._lock:
            self._series[name] = Series(name, profile, made, history, total, nothing)

    def forget(self, name: str) -> None:
        """A block is counted into no more; what the store keeps of it stays."""
        self._series.pop(name, None)

    def look(self) -> None:
        """Takes what was counted since the last look."""
        before = self._tick[0]
        self._tick[0] = before + 1
        now = self.now
        blocks = {block.name: block for block in self._arena.blocks(layout.SKETCH)}
        for name, series in list(self._series.items()):
            if name in blocks:
                self._take(series, blocks[name], before, now)
            else:
                self._let_go(name, series, now)

    def due(self, everything: bool = False) -> tuple[dict[str, list[Pane]], dict[str, Base]]:
        """Panes that closed since the last call, by series, and what counters stood at.

        Args:
            everything: panes that have not closed, too: nothing is counted after this.
        """
        return due(self.series(), self._arena.boot_id, everything)

    # ---- one block ------------------------------------------------------------------------------

    def _let_go(self, name: str, series: Series, now: float) -> None:
        """Forgets a series whose block was freed, once all its panes were taken away."""
        series.history.roll(now)
        if series.history.open_pane() is None and not series.history.closed:
            with self._lock:
                # It may have come back since blocks were looked at, and nobody would watch it then.
                if self._arena.find(layout.SKETCH, name) is None:
                    self.forget(name)

    def _take(self, series: Series, block: Block, tick: int, now: float) -> None:
        slots = self._arena.slots(block)
        found = series.places
        total = slots[:, found.counts].sum(axis=0)
        moments = _moments(slots, found, tick)
        came = total - series.total
        if came[ROWS] < 0:  # the version left and came back: its block is another one, from zero
            came = total
        series.latest, series.total = came, total
        series.history.add(now, came, moments)


def _moments(slots: Vector, found: Places, tick: int) -> Moments:
    """(columns, panes.MOMENTS) of one tick, over all workers."""
    parity = tick & 1
    moments = no_moments(found.columns)
    for slot in slots:
        fresh = slot[found.ticks[parity]] == tick + 1
        if fresh.any():
            words = slot[found.moments[parity]]
            read = np.empty(words.shape)
            read[:, 0] = words[:, 0]
            read[:, 1:] = words[:, 1:].copy().view(np.float64)
            read[~fresh] = no_moments(1)[0]
            add_moments(moments, read)
    return moments


class Counted(Protocol):
    """One block of counts over time, as far as its panes are kept."""

    name: str
    history: History
    total: Vector


def due(
    some: Iterable[Counted], boot: int, everything: bool
) -> tuple[dict[str, list[Pane]], dict[str, Base]]:
    """Panes that closed since the last call, by series, and what counters stood at.

    Args:
        some: series.
        boot: of the arena whose counters they are.
        everything: panes that have not closed, too: nothing is counted after this.
    """
    panes: dict[str, list[Pane]] = {}
    bases: dict[str, Base] = {}
    for series in some:
        name, history = series.name, series.history
        closed, history.closed = history.closed, []
        last = history.open_pane()
        counted = series.total
        if last is not None and everything:
            closed.append(last)
        elif last is not None:
            # What is in the open pane is counted anew by whoever goes on from here.
            counted = counted - last.counts
        if closed:
            panes[name], bases[name] = closed, Base(boot, counted)
    return panes, bases
