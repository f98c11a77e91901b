"""Keeps what was counted, finely for a short while and coarsely for a month.

Knows panes and a time that is handed in. Knows nothing of what is counted, or of how panes are
kept over a restart.

Counts come in every second and gather in a pane of ten seconds. When a longer stretch is over, its
pane is put together from the shorter ones in it; so any window is a sum of few panes, and all of
them add up to what was counted, whatever the window.

    10 s x 19    1 min x 31    10 min x 19    1 h x 73    1 day x 32

A window begins where a pane does: one of `w` seconds covers at least `w` and at most `4/3 w`, since
its far end lies in panes no longer than a third of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.drift.panes import Moments, Pane, Vector, add_moments, merged, no_moments, packed


@dataclass(frozen=True, slots=True)
class Tier:
    """Panes of one length, and how many of them are kept."""

    length_s: int
    kept: int


# Of each as many as a window needs whose far end lies in it (three of the next tier's panes), and
# one that is not whole yet.
TIERS: Final = (Tier(10, 19), Tier(60, 31), Tier(600, 19), Tier(3600, 73), Tier(86400, 32))
MIN_WINDOW_S: Final = 60
MAX_WINDOW_S: Final = 30 * 86400
_FINEST: Final = TIERS[0].length_s
# The far end of a window may lie so much before what was asked for.
_SLACK: Final = 3


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted between two times.

    Attributes:
        start_s, end_s: seconds; `start_s` is where its first pane begins.
        counts: (words,) int64.
        moments: (columns, panes.MOMENTS).
        panes: how many were added up.
    """

    start_s: float
    end_s: float
    counts: Vector
    moments: Moments
    panes: int


class History:
    """The panes of one block of counts.

    Attributes:
        closed: panes that ended since somebody last took them away, for whoever keeps them.
    """

    def __init__(self, words: int, columns: int, rows_word: int = 0) -> None:
        """Begins with nothing.

        Args:
            words: of the vector of counts.
            columns: rows of the moments.
            rows_word: which of the words counts rows.
        """
        self._words = words
        self._columns = columns
        self._rows_word = rows_word
        self._tiers: tuple[dict[int, Pane], ...] = tuple({} for _ in TIERS)
        self._now = 0.0
        self.closed: list[Pane] = []
        self._begin(0)

    def add(self, now: float, counts: Vector, moments: Moments) -> None:
        """Takes what was counted since the last call.

        Args:
            now: seconds that never go back; whoever calls sees to that.
            counts: (words,) int64, what came to each word.
            moments: (columns, panes.MOMENTS) of the values that came.
        """
        self.roll(now)
        self._counts += counts
        add_moments(self._moments, moments)

    def roll(self, now: float) -> None:
        """Closes the panes that are over, and forgets those that are too old."""
        if now < self._now:
            raise ValueError(f"history: expected a time of at least {self._now:g}, got {now:g}")
        before, self._now = self._now, now
        if now >= self._start + _FINEST:
            self._close(before, now)

    def restore(self, panes: list[Pane], now: float) -> None:
        """Takes panes that an earlier process kept; what is too old or not yet is left out."""
        fitting = [
            pane
            for pane in panes
            if (len(pane.counts), len(pane.moments)) == (self._words, self._columns)
            and pane.start_s <= now
        ]
        for pane in sorted(fitting, key=lambda pane: pane.start_s):
            self._tiers[_place(pane.length_s)][pane.start_s] = pane
        newest = max((pane.end_s for pane in fitting), default=0)
        # As if the last thing before now had been counted in the newest: what it completes is made.
        self._now = min(max(newest - 1.0, 0.0), now)
        self._begin(int(self._now) // _FINEST * _FINEST)
        begun = self._tiers[0].pop(self._start, None)  # it may go on
        if begun is not None:
            self._counts += begun.counts
            add_moments(self._moments, begun.moments)
        self.roll(now)

    def open_pane(self) -> Pane | None:
        """What is gathered and not closed yet, as a pane; none where nothing came."""
        if not self._counts.any():
            return None
        return Pane(self._start, _FINEST, packed(self._counts), self._moments.copy())

    def window(self, length_s: float) -> Window:
        """What was counted in the last `length_s`, up to now.

        Raises:
            ValueError: shorter or longer than what is kept.
        """
        if not MIN_WINDOW_S <= length_s <= MAX_WINDOW_S:
            raise ValueError(
                f"window: expected {MIN_WINDOW_S} to {MAX_WINDOW_S} seconds, got {length_s:g}"
            )
        step = max(t.length_s for t in TIERS if t.length_s <= max(length_s / _SLACK, _FINEST))
        first = int(self._now - length_s) // step * step
        return self._sum(first, list(self._cover(first)))

    def last_rows(self, rows: int) -> Window:
        """The newest panes that hold at least so many rows; all there are where they hold fewer."""
        panes: list[Pane] = []
        found = int(self._counts[self._rows_word])
        first = self._start
        for pane in self._newest():
            if found >= rows:
                break
            found += int(pane.counts[self._rows_word])
            panes.append(pane)
            first = pane.start_s
        return self._sum(first, panes)

    def recent(self, length_s: int) -> list[Pane]:
        """The panes of a tier that are kept, oldest first; stretches without traffic have none.

        Raises:
            ValueError: no tier has panes of this length.
        """
        return list(self._tiers[_place(length_s)].values())

    @property
    def nbytes(self) -> int:
        """Memory of all panes."""
        kept = sum(pane.nbytes for tier in self._tiers for pane in tier.values())
        return kept + self._counts.nbytes + self._moments.nbytes

    # ---- panes ----------------------------------------------------------------------------------

    def _begin(self, start: int) -> None:
        self._start = start
        self._counts = np.zeros(self._words, np.int64)
        self._moments = no_moments(self._columns)

    def _close(self, before: float, now: float) -> None:
        pane = self.open_pane()
        if pane is not None:
            self._keep(0, pane)
        self._begin(int(now) // _FINEST * _FINEST)
        for place in range(1, len(TIERS)):
            length = TIERS[place].length_s
            # All that this process counted since lies in the stretch that `before` was in.
            start = int(before) // length * length
            if int(now) // length * length > start:
                self._combine(place, start)
        for tier, panes in zip(TIERS, self._tiers, strict=True):
            oldest = (int(now) // tier.length_s - tier.kept) * tier.length_s
            while panes and next(iter(panes)) < oldest:
                del panes[next(iter(panes))]

    def _combine(self, place: int, start: int) -> None:
        length = TIERS[place].length_s
        finer = [p for p in self._tiers[place - 1].values() if start <= p.start_s < start + length]
        if finer and start not in self._tiers[place]:
            counts, moments = merged(finer, self._words, self._columns)
            self._keep(place, Pane(start, length, packed(counts), moments))

    def _keep(self, place: int, pane: Pane) -> None:
        self._tiers[place][pane.start_s] = pane
        self.closed.append(pane)

    # ---- windows --------------------------------------------------------------------------------

    def _cover(self, first: int) -> Iterator[Pane]:
        """Panes that together hold what was counted since `first`, each stretch once."""
        starts = {start for tier in self._tiers for start in tier if start >= first}
        at = first
        for start in sorted(starts):
            if start >= at:
                # Longer panes hold all that shorter ones of the same stretch do.
                pane = next(t[start] for t in reversed(self._tiers) if start in t)
                yield pane
                at = pane.end_s

    def _newest(self) -> Iterator[Pane]:
        """Closed panes from the newest on, each stretch once, as short as it is kept whole.

        Longer ones would put many more rows into a look back than it asks for.
        """
        end = self._start
        for place, tier in enumerate(TIERS):
            first = 0
            if place + 1 < len(TIERS):
                # One less than are kept here: after a restart there may be one less.
                oldest = (int(self._now) // tier.length_s - tier.kept + 1) * tier.length_s
                longer = TIERS[place + 1].length_s
                first = -(-oldest // longer) * longer
            for pane in reversed(self._tiers[place].values()):
                if first <= pane.start_s and pane.end_s <= end:
                    yield pane
            end = min(end, first)

    def _sum(self, first: int, panes: list[Pane]) -> Window:
        counts, moments = merged(panes, self._words, self._columns)
        counts += self._counts
        add_moments(moments, self._moments)
        return Window(first, self._now, counts, moments, len(panes) + 1)


def _place(length_s: int) -> int:
    for place, tier in enumerate(TIERS):
        if tier.length_s == length_s:
            return place
    raise ValueError(f"history: expected a tier of panes, got {length_s} s")
