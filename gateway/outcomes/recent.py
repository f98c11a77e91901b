"""What outcomes that became known lately add up to, by series and window, without a look at a file.

Knows records and sums. Knows nothing of models, of rules or of who reads.

A window is PANES panes of equal length, the newest of which is not over: it reaches back between
nine tenths of its length and all of it. An outcome belongs to the pane in which it became known,
whenever its answer was given: so a window has outcomes even where these take weeks. One that is
corrected stays as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from gateway.outcomes.packed import SUMS_NUMBERS, packed, sums_of, unpacked
from kernels.ledger import OUTCOME_MS, TIME_MS, Words, series_of
from kernels.performance import THRESHOLD, Sums, add, merge, no_sums

log = logging.getLogger("penstock.control")

PANES: Final = 10
_NEVER_MS: Final = 1 << 62
_MOST: Final = 2.0**53
_HALF: Final = 32
_LOW: Final = 0xFFFFFFFF  # the number of a pane fits: a minute's are six seconds long


class Place(NamedTuple):
    """Which pane.

    Attributes:
        series: whose.
        window_ms: of which window.
        number: of it, since 1970.
    """

    series: int
    window_ms: int
    number: int


@dataclass(slots=True)
class Pane:
    """One.

    Attributes:
        answered: rows answered in it.
        sums: of the outcomes that became known in it.
        changed: since it was last kept.
    """

    answered: int = 0
    sums: Sums = field(default_factory=no_sums)
    changed: bool = True


class Recent:
    """Of one ledger. Lives on its thread."""

    def __init__(self, kept: Iterable[tuple[Place, bytes]] = ()) -> None:
        """Goes on with panes as `unsaved` packed them; what cannot be read is left out."""
        self._panes: dict[Place, Pane] = {}
        for place, blob in kept:
            pane = _unpacked(blob)
            if pane is not None:
                self._panes[place] = pane
            else:
                log.error("a pane of recent outcomes of series %d cannot be read", place.series)
        self._windows = frozenset(place.window_ms for place in self._panes)

    def keep(self, windows_ms: Iterable[int], now_ms: int) -> None:
        """These windows are wanted from now on; others, and panes that are over, are forgotten."""
        self._windows = frozenset(windows_ms)
        for place in list(self._panes):
            if place.window_ms not in self._windows or self._over(place, now_ms):
                del self._panes[place]

    def answered(self, records: Words, now_ms: int) -> None:
        """Takes records (n, ledger.RECORD_WORDS) of rows that were answered."""
        for place, some in self._spread(records, TIME_MS):
            if not self._over(place, now_ms):
                pane = self._panes.setdefault(place, Pane())
                pane.answered += len(some)
                pane.changed = True

    def labelled(
        self,
        records: Words,
        now_ms: int,
        threshold: Callable[[int], float] = lambda series: THRESHOLD,
    ) -> None:
        """Takes records whose first outcomes came in, each once.

        Args:
            records: (n, ledger.RECORD_WORDS).
            now_ms: wall clock.
            threshold: above which probability a series predicts positive.
        """
        for place, some in self._spread(records, OUTCOME_MS):
            if not self._over(place, now_ms):
                pane = self._panes.setdefault(place, Pane())
                predicts = threshold(place.series)
                add(pane.sums, some, place.series, 0, _NEVER_MS, threshold=predicts)
                pane.changed = True

    def window(self, series: int, window_ms: int, now_ms: int) -> tuple[int, Sums]:
        """How many rows were answered in a window, and the sums of its outcomes."""
        newest = (now_ms + window_ms) // (window_ms // PANES)  # a clock of others may be ahead
        answered, found = 0, no_sums()
        for number in range(now_ms // (window_ms // PANES) - PANES + 1, newest + 1):
            pane = self._panes.get(Place(series, window_ms, number))
            if pane is not None:
                answered += pane.answered
                merge(found, pane.sums)
        return answered, found

    def unsaved(self) -> list[tuple[Place, bytes]]:
        """Panes that changed since `saved`."""
        return [(place, _packed(pane)) for place, pane in self._panes.items() if pane.changed]

    def saved(self) -> None:
        """What `unsaved` told is kept."""
        for pane in self._panes.values():
            pane.changed = False

    def _over(self, place: Place, now_ms: int) -> bool:
        return place.number <= now_ms // (place.window_ms // PANES) - PANES

    def _spread(self, records: Words, by: int) -> Iterator[tuple[Place, Words]]:
        """Records by the panes of all windows that they belong to."""
        if not len(records):
            return
        series = series_of(records)
        for window_ms in self._windows:
            keys = series << _HALF | records[:, by] // (window_ms // PANES)
            order = np.argsort(keys, kind="stable")
            found, starts = np.unique(keys[order], return_index=True)
            parts = np.split(order, starts[1:])
            for key, part in zip(found.tolist(), parts, strict=True):
                yield Place(key >> _HALF, window_ms, key & _LOW), records[part]


def _packed(pane: Pane) -> bytes:
    return packed(np.array([pane.answered], np.float64), *pane.sums)


def _unpacked(kept: bytes) -> Pane | None:
    """A pane; None where it is damaged, or of another release."""
    try:
        answered, *_ = numbers = unpacked(kept, 1 + SUMS_NUMBERS)
        sums = sums_of(numbers[1:])
        return Pane(int(answered), sums, changed=False) if 0.0 <= answered < _MOST else None
    except ValueError:
        return None
