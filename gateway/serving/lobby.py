"""Everybody who waits for one deployment: one line for each group whose tensors may share a run.

Knows lines, delays and deadlines as numbers. Knows nothing of slots, timers, runs or answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from gateway.serving.line import Line
from gateway.serving.padding import Padder
from gateway.serving.riders import DEFAULT_LEVEL, INFINITE, Batch, Rider
from gateway.tensors import Array, Signature

Key = tuple[object, ...]
KeyOf = Callable[[tuple[Array, ...]], Key]


def key_of(signature: Signature, padder: Padder | None) -> KeyOf | None:
    """What tells riders apart that cannot share a run; None where all can.

    Dtypes and fixed dimensions were checked against the signature: only variable ones can differ.
    """
    if padder is not None:
        return padder.key
    varying = [index for index, spec in enumerate(signature.inputs) if -1 in spec.shape[1:]]
    if not varying:
        return None
    only = varying[0]
    if len(varying) == 1:
        return lambda inputs: inputs[only].shape[1:]
    return lambda inputs: tuple([inputs[index].shape[1:] for index in varying])


class Lobby:
    """Who waits, and who rides next.

    Args:
        max_rows: most rows of a batch; 0: each rider rides alone.
        delay_s: how long the oldest of a line waits for others.
        preferred: batch sizes to stop at.
        key: see `key_of`.

    Attributes:
        rows: rows of all who wait.
        next_deadline: no deadline of anybody here comes before; inf: nobody has one.
        expired: taken out because their deadline had come; the owner empties it.
        gone: how many were taken out because their client had left; the owner zeroes it.
    """

    __slots__ = (
        "_delay_s",
        "_key",
        "_lines",
        "_max_rows",
        "_only",
        "_preferred",
        "_raised",
        "expired",
        "gone",
        "next_deadline",
        "rows",
    )

    def __init__(
        self, max_rows: int, delay_s: float, preferred: Collection[int], key: KeyOf | None
    ) -> None:
        self._max_rows = max_rows
        self._delay_s = delay_s
        self._preferred = preferred
        self._key = key
        self._only = Line()
        self._lines: dict[Key, Line] = {} if key else {(): self._only}
        self._raised = False
        self.rows = 0
        self.next_deadline = INFINITE
        self.expired: list[Rider] = []
        self.gone = 0

    @property
    def riders(self) -> int:
        """How many wait."""
        return sum(line.riders for line in self._lines.values())

    def add(self, rider: Rider) -> None:
        """Shows a rider to its line."""
        self.rows += rider.rows
        if rider.priority:
            self._raised = True
        if rider.deadline < self.next_deadline:
            self.next_deadline = rider.deadline
        if self._key is None:
            self._only.add(rider)
            return
        key = self._key(rider.inputs)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
        line.add(rider)

    def next_batch(self, now: float, hurry: str = "") -> Batch | None:
        """Takes out the riders of the batch that is to go next; None while there is none.

        Args:
            now: the time.
            hurry: whoever waits is due, for this reason.
        """
        if self._raised or self._delay_s:
            for key, line in self._by_urgency():
                if (batch := self._take(key, line, now, hurry)) is not None:
                    return batch
            return None
        # Lines move behind the others when they have been served: the first has waited longest.
        while self.rows:
            key, line = next(iter(self._lines.items()))
            if (batch := self._take(key, line, now, hurry)) is not None:
                return batch
        return None

    def next_due(self) -> float:
        """When the first delay is over; inf where nobody waits."""
        waiting = [line.oldest() for line in self._lines.values() if line.rows]
        return min(waiting) + self._delay_s if waiting else INFINITE

    def rows_before(self, priority: int) -> int:
        """Rows that go before a newcomer of this priority."""
        level = priority or DEFAULT_LEVEL
        if not self._raised:  # then all who wait are at the default level
            return self.rows if level >= DEFAULT_LEVEL else 0
        return sum(line.rows_up_to(level) for line in self._lines.values())

    def purge(self, now: float) -> None:
        """Takes out whose deadline has come and whose client has left, wherever they stand."""
        self.next_deadline = INFINITE
        self.rows = 0
        for key, line in list(self._lines.items()):
            earliest, gone = line.purge(now, self.expired)
            self.next_deadline = min(self.next_deadline, earliest)
            self.gone += gone
            self.rows += line.rows
            if self._key is not None and not line.rows:
                del self._lines[key]

    def clear(self) -> list[Rider]:
        """Takes everybody out."""
        riders = [rider for line in self._lines.values() for rider in line.clear()]
        if self._key is not None:
            self._lines.clear()
        self.rows = 0
        self.next_deadline = INFINITE
        return riders

    def _by_urgency(self) -> list[tuple[Key, Line]]:
        waiting = [item for item in self._lines.items() if item[1].rows]
        if not waiting:
            self._raised = False
        return sorted(waiting, key=lambda item: item[1].head())

    def _take(self, key: Key, line: Line, now: float, hurry: str) -> Batch | None:
        due = bool(hurry) or not self._delay_s or line.oldest() + self._delay_s <= now
        # Without deadlines nobody's needs to be looked at.
        limit = -INFINITE if self.next_deadline == INFINITE else now
        before = line.rows
        taken, gone = line.take(self._max_rows, self._preferred, due, limit, self.expired)
        riders, rows, bound = taken
        self.rows += line.rows - before
        self.gone += gone
        if self._key is not None:
            del self._lines[key]
            if line.rows:
                self._lines[key] = line
        if not riders:
            return None
        reason = bound or hurry or ("delay" if self._delay_s else "idle")
        return Batch(riders, rows, reason, now)
