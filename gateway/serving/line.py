"""A waiting line: riders whose tensors may share a run, by priority and then in order of arrival.

Knows riders. Knows nothing of slots, timers or runs.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Collection

from gateway.serving.riders import DEFAULT_LEVEL, Rider

Taken = tuple[list[Rider], int, str]
"""Riders, their rows, and "full", "preferred" or "" for what bounded them."""


class Line:
    """Strict priority between levels, first come first served within one.

    A low level may starve for as long as higher ones keep the model busy; a deadline bounds its
    wait.

    Attributes:
        rows: rows of all who wait here.
    """

    __slots__ = ("_default", "_levels", "_order", "rows")

    def __init__(self) -> None:
        self._default: deque[Rider] = deque()
        self._levels = {DEFAULT_LEVEL: self._default}
        self._order = [DEFAULT_LEVEL]
        self.rows = 0

    @property
    def riders(self) -> int:
        """How many wait here."""
        return sum(map(len, self._levels.values()))

    def add(self, rider: Rider) -> None:
        """Takes a place at the end of the rider's level."""
        self.rows += rider.rows
        level = rider.priority
        if not level:
            self._default.append(rider)
            return
        queue = self._levels.get(level)
        if queue is None:
            queue = self._levels[level] = deque()
            insort(self._order, level)
        queue.append(rider)

    def head(self) -> tuple[int, float]:
        """Level and arrival of the rider who is next; the line must not be empty."""
        for level in self._order:
            queue = self._levels[level]
            if queue:
                return level, queue[0].queued
        raise IndexError("the line is empty")

    def oldest(self) -> float:
        """Arrival of the rider who waits longest; the line must not be empty."""
        return min(queue[0].queued for queue in self._levels.values() if queue)

    def rows_up_to(self, level: int) -> int:
        """Rows that go before a newcomer at `level`."""
        queues = [self._levels[own] for own in self._order if own <= level]
        return sum(rider.rows for queue in queues for rider in queue)

    def take(
        self,
        max_rows: int,
        preferred: Collection[int],
        due: bool,
        now: float,
        expired: list[Rider],
    ) -> tuple[Taken, int]:
        """Takes the riders of the next batch out of the line.

        Args:
            max_rows: most rows of a batch; 0: one rider, whatever its rows.
            preferred: sizes at which to stop: the largest that is met exactly, unless the batch is
                full.
            due: take what is there; else only a full batch or one of a preferred size.
            now: riders whose deadline has come are moved to `expired` when met; -inf spares the
                look.
            expired: gets them.

        Returns:
            What was taken (no riders where nothing is to go yet), and how many gone riders were
            dropped.
        """
        plain = due and not preferred and now < 0.0 and len(self._order) == 1
        if plain and 0 < self.rows <= max_rows:
            return self._take_all(max_rows)
        return self._walk(max_rows, preferred, due, now, expired)

    def _take_all(self, max_rows: int) -> tuple[Taken, int]:
        waiting = len(self._default)
        riders = [rider for rider in self._default if not rider.exchange.gone]
        self._default.clear()
        rows, self.rows = self.rows, 0
        gone = waiting - len(riders)
        if gone:
            rows = sum(rider.rows for rider in riders)
        return (riders, rows, "full" if rows == max_rows else ""), gone

    def _walk(
        self,
        max_rows: int,
        preferred: Collection[int],
        due: bool,
        now: float,
        expired: list[Rider],
    ) -> tuple[Taken, int]:
        riders: list[Rider] = []
        rows = gone = cut = cut_rows = 0
        full = False
        for level in self._order:
            queue = self._levels[level]
            while queue and not full:
                rider = queue[0]
                lapsed = rider.deadline <= now
                if rider.exchange.gone or lapsed:
                    self.rows -= queue.popleft().rows
                    if rider.exchange.gone:
                        gone += 1
                    else:
                        expired.append(rider)
                    continue
                if riders and rows + rider.rows > max_rows:
                    full = True
                    break
                riders.append(queue.popleft())
                rows += rider.rows
                if rows in preferred:
                    cut, cut_rows = len(riders), rows
                full = rows >= max_rows
        self.rows -= rows
        if full:
            taken = (riders, rows, "full")
        elif cut:
            self._put_back(riders[cut:])
            taken = (riders[:cut], cut_rows, "preferred")
        elif due:
            taken = (riders, rows, "")
        else:
            self._put_back(riders)
            taken = ([], 0, "")
        self._tidy()
        return taken, gone

    def purge(self, now: float, expired: list[Rider]) -> tuple[float, int]:
        """Moves everybody whose deadline has come to `expired` and drops who is gone.

        Returns:
            The earliest deadline left (inf: none), and how many gone riders were dropped.
        """
        gone, earliest = 0, float("inf")
        for queue in self._levels.values():
            kept = []
            for rider in queue:
                if rider.exchange.gone:
                    gone += 1
                elif rider.deadline <= now:
                    expired.append(rider)
                else:
                    kept.append(rider)
                    earliest = min(earliest, rider.deadline)
                    continue
                self.rows -= rider.rows
            queue.clear()
            queue.extend(kept)
        self._tidy()
        return earliest, gone

    def clear(self) -> list[Rider]:
        """Takes everybody out, in order."""
        riders = [rider for level in self._order for rider in self._levels[level]]
        for queue in self._levels.values():
            queue.clear()
        self.rows = 0
        self._tidy()
        return riders

    def _put_back(self, riders: list[Rider]) -> None:
        for rider in reversed(riders):
            self._levels[rider.priority or DEFAULT_LEVEL].appendleft(rider)
            self.rows += rider.rows

    def _tidy(self) -> None:
        """Forgets levels that nobody waits at, so that callers cannot make them pile up."""
        if len(self._order) > 1:
            for level in self._order[:]:
                if level != DEFAULT_LEVEL and not self._levels[level]:
                    del self._levels[level]
                    self._order.remove(level)
