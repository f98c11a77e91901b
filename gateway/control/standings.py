"""How each version stands by its outcomes, for rules and metrics to read without a wait.

Knows what outcomes say as they come in (`outcomes.concept`), what those of late add up to
(`outcomes.recent`), and where both are kept. Knows nothing of files of records, or of who reads.

It lives on the ledger's thread and is fed there, but for `found` and `want`: what it makes is
published whole, a new mapping each time, so that whoever reads has one moment's figures.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from gateway.control.ledger_rows import Series
from gateway.control.ledger_store import LedgerStore
from gateway.errors import StoreFailed
from gateway.outcomes.concept import Judged, Settings, Streams
from gateway.outcomes.figures import Performance, performance
from gateway.outcomes.recent import Recent
from kernels.ledger import SERIES_AND_ROW, Words, rows_of, series_and_rows, series_of
from kernels.performance import THRESHOLD

log = logging.getLogger("penstock.control")

# Making the figures of a window, with all their intervals, takes some ten milliseconds: not each
# second and, where there are many windows, no more than this part of a core.
PAUSE_S: Final = 5.0
SHARE: Final = 0.05
# Who reads a window asks again each second; what nobody asked for in that time is forgotten.
FORGOTTEN_S: Final = 120.0

Version = tuple[str, int]


class ConceptReport(NamedTuple):
    """Whether a version is still as right as it was.

    Attributes:
        series: its answers.
        now: seconds since 1970.
        settings: what is held against what.
        found: all that is known.
    """

    series: Series
    now: float
    settings: Settings
    found: Judged


class Window(NamedTuple):
    """What outcomes that became known lately say.

    Attributes:
        answered: rows answered meanwhile.
        found: every figure of the outcomes; its `records` are these outcomes alone.
    """

    answered: int
    found: Performance

    @property
    def coverage(self) -> float | None:
        """Outcomes that became known, per row answered meanwhile; above 1 where more did."""
        return self.found.labelled / self.answered if self.answered else None


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one version.

    Attributes:
        concept: what its outcomes say, held against its first ones.
        windows: by their length in seconds.
    """

    concept: Judged
    windows: Mapping[float, Window] = field(default_factory=dict)


class Standings:
    """Of one ledger.

    Attributes:
        found: by version, of those that serve and have a ledger.
        started: what stood when this process began is in it.
    """

    def __init__(
        self,
        store: Callable[[], LedgerStore],
        settings: Callable[[], Settings],
        now_ms: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        threshold: Callable[[int], float] = lambda series: THRESHOLD,
        counted_as: Callable[[int], int] = lambda series: series,
    ) -> None:
        """Takes its collaborators.

        Args:
            store: keeps what was seen.
            settings: what is held against what.
            now_ms: wall clock.
            monotonic: seconds of a clock that nobody sets.
            threshold: above which probability a series predicts positive.
            counted_as: the series whose outcomes go on in those of a series.
        """
        self._threshold = threshold
        self._counted_as = counted_as
        self.found: Mapping[Version, Standing] = {}
        self.started = False
        self._store = store
        self._settings = settings
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._wanted: dict[float, float] = {}
        self._streams = Streams(lambda series: store().concept(series))
        self._recent: Recent | None = None
        self._made: dict[tuple[int, float], tuple[tuple[int, bytes], Window]] = {}
        """The last figures of each window, and what they were made of."""
        self._due = 0.0
        self._complained = False

    # ---- from anywhere --------------------------------------------------------------------------

    def want(self, window_s: float) -> None:
        """Figures of such windows are read: say so once a minute or more often."""
        self._wanted[window_s] = self._monotonic()

    # ---- on the ledger's thread -----------------------------------------------------------------

    def answered(self, records: Words) -> None:
        """Takes records of rows that were answered: (records, ledger.RECORD_WORDS).

        They are written down, whatever comes of this.
        """
        try:
            self._windows().answered(self._as_counted(records), self._now_ms())
            self._complained = False
        except StoreFailed as error:
            self._complain(error)

    def labelled(self, records: Words) -> None:
        """Takes records whose first outcome came in. They are written, whatever comes of this."""
        try:
            records = self._as_counted(records)
            self._streams.feed(records, self._settings(), self._now_ms(), self._threshold)
            self._windows().labelled(records, self._now_ms(), self._threshold)
        except StoreFailed as error:
            self._complain(error)

    def concept(self, series: int) -> Judged:
        """What outcomes of a series say now.

        Raises:
            StoreFailed: what was kept of it cannot be read.
        """
        return self._streams.judged(self._counted_as(series), self._settings())

    def look(self, serving: Mapping[Version, int]) -> None:
        """Keeps what was seen, and publishes what it says. Call it about once a second.

        Args:
            serving: the series of each version.

        Raises:
            StoreFailed: it can be neither kept nor read.
        """
        now, now_ms = self._monotonic(), self._now_ms()
        wanted = self._wanted.copy()
        for window_s, asked in wanted.items():
            if asked < now - FORGOTTEN_S:
                del self._wanted[window_s]
                self._made = {key: one for key, one in self._made.items() if key[1] != window_s}
        recent = self._windows()
        self._keep_wanted(recent)
        anew = now >= self._due or wanted.keys() != self._read_windows()
        self.save(anew)
        self.found = {
            version: Standing(
                self.concept(series),
                self._figures(recent, self._counted_as(series), now_ms)
                if anew
                else self._last(version),
            )
            for version, series in serving.items()
        }
        self.started = True
        if anew:
            took = self._monotonic() - now
            self._due = now + max(PAUSE_S, took / SHARE)

    def save(self, all_of_it: bool = True) -> None:
        """Keeps what was seen; of recent windows, whose panes weigh more, only now and then.

        Raises:
            StoreFailed: it cannot be kept.
        """
        streams = self._streams.unsaved()
        panes = self._windows().unsaved() if all_of_it else []
        if streams or panes:
            self._store().keep_seen(streams, panes, self._now_ms())
            self._streams.saved()
            if all_of_it:
                self._windows().saved()

    def _figures(self, recent: Recent, series: int, now_ms: int) -> dict[float, Window]:
        found = {}
        for window_s in self._wanted.copy():
            answered, sums = recent.window(series, int(window_s * 1000.0), now_ms)
            key, state = (series, window_s), (answered, sums.totals.tobytes())
            stood = self._made.get(key)
            if stood is None or stood[0] != state:
                self._made[key] = stood = (
                    state,
                    Window(answered, performance(sums, self._threshold(series))),
                )
            found[window_s] = stood[1]
        return found

    def _as_counted(self, records: Words) -> Words:
        numbers, its = np.unique(series_of(records), return_inverse=True)
        counted = np.array([self._counted_as(one) for one in numbers.tolist()], np.int64)
        if np.array_equal(counted, numbers):
            return records
        records = records.copy()
        records[:, SERIES_AND_ROW] = series_and_rows(counted[its], rows_of(records))
        return records

    def _last(self, version: Version) -> Mapping[float, Window]:
        stood = self.found.get(version)
        return {} if stood is None else stood.windows

    def _read_windows(self) -> set[float]:
        return {window_s for one in self.found.values() for window_s in one.windows}

    def _windows(self) -> Recent:
        if self._recent is None:
            panes = self._store().panes()
            for place, _ in panes:  # whoever read them before is about to ask again
                self.want(place.window_ms / 1000.0)
            self._recent = Recent(panes)
            self._keep_wanted(self._recent)
        return self._recent

    def _complain(self, error: StoreFailed) -> None:
        """Once, however many records it is about."""
        if not self._complained:
            self._complained = True
            log.error("answers and outcomes are not held against earlier ones: %s", error)

    def _keep_wanted(self, recent: Recent) -> None:
        recent.keep((int(window_s * 1000.0) for window_s in self._wanted.copy()), self._now_ms())
