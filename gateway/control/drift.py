"""Answers how live traffic compares with its reference, for any window.

Knows histories, references and the rules. Knows nothing of HTTP, or of how counts come in.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.config.against import FIXED, Against
from gateway.control.freezing import Progress
from gateway.control.seasons import same_hours
from gateway.control.sketches import Series
from gateway.control.watched_series import (
    ALL,
    NO_PAST,
    Past,
    WatchedSeries,
    added,
    pair_of,
    part_of,
    variants_of,
)
from gateway.drift.figures import Figures, figures
from gateway.drift.history import Window
from gateway.drift.kinds import Dependence, judge_columns
from gateway.drift.look_back import Alarm, Lookback, most_alarming
from gateway.drift.panes import Vector
from gateway.drift.reference import Reference
from gateway.drift.report import About, report
from gateway.drift.rules import DEFAULT, LOOKBACK_ROWS, Rules
from gateway.errors import NotFound
from gateway.monitor import layout
from gateway.profiles.live import ROWS, SKIPPED


@dataclass(frozen=True, slots=True)
class _Before:
    """Earlier traffic, in the place of a profile's counts.

    Attributes:
        vector: (words,) what was counted then.
        weeks: in how many of the weeks that were asked for rows came; None: it was not weeks.
        trusted: to be like it is all right, whoever has vouched for it.
    """

    vector: Vector
    weeks: int | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A version's window with all that can be said of it; it belongs to no thread.

    Attributes:
        about: which window it is.
        reference: what it is compared with.
        figures: every statistic.
        alarm: what the newest rows say, whatever the window.
        total: (words,) what the counters stand at.
        rules: when to call it drift.
    """

    about: About
    reference: Reference
    figures: Figures
    alarm: Alarm
    total: Vector
    rules: Rules

    def report(self, bins: bool) -> dict[str, Any]:
        """As plain values."""
        return report(self.about, self.reference, self.figures, self.alarm, bins)


class Drift:
    """Every watched version. Lives in control."""

    def __init__(
        self,
        series: Callable[[], Sequence[Series]],
        progress: Callable[[], Mapping[tuple[str, int], Progress]] = dict,
        rules: Rules = DEFAULT,
        past: Past | None = None,
    ) -> None:
        """Takes its collaborators.

        Args:
            series: what is watched now.
            progress: how far each version is that has no reference yet.
            rules: when to call it drift.
            past: what earlier processes kept; None: nothing.
        """
        self._series = series
        self._progress = progress
        self._rules = rules
        self._past = past or NO_PAST
        self._watched: dict[str, WatchedSeries] = {}

    def look(self) -> None:
        """Learns from what came since the last call; call it whenever the sketches have looked."""
        for watched in self._all():
            self._judge(watched)

    def learnt(self, names: Container[str] | None = None) -> dict[str, Vector]:
        """What rows told of how they depend on each other, to be kept; of these series, or all."""
        return {
            name: one.dependence.learnt
            for name, one in self._watched.items()
            if names is None or name in names
        }

    def report(
        self,
        model: str,
        version: int,
        window_s: float,
        variant: str | None,
        bins: bool,
        against: Against = FIXED,
        part: str = ALL,
    ) -> dict[str, Any]:
        """The report of a version's window; of all variants together where none is named.

        Args:
            model: its name.
            version: of it.
            window_s: how far to look back.
            variant: of a route.
            bins: with counts.
            against: the profile's counts, or those of earlier traffic.
            part: a slice, as its block is called (`control.slices.part_of`).

        Raises:
            NotFound: nothing is watched of such a version, variant or slice.
        """
        some = self._of(model, version, variant, part)
        windows = [watched.series.history.window(window_s) for watched in some]
        return self._evaluate(some, windows, window_s, variant, against).report(bins)

    def report_of_rows(
        self, model: str, version: int, rows: int, bins: bool = False, part: str = ALL
    ) -> dict[str, Any]:
        """The report of a look back by rows.

        Raises:
            NotFound: as `report`.
        """
        some = self._of(model, version, None, part)
        windows = [watched.series.history.last_rows(rows) for watched in some]
        window_s = windows[0].end_s - windows[0].start_s
        return self._evaluate(some, windows, window_s).report(bins)

    def report_against(
        self, model: str, version: int, other: int, window_s: float, bins: bool
    ) -> dict[str, Any]:
        """The report of a version's window, held against another version's of the same time.

        Args:
            model: its name.
            version: of it.
            other: version in the place of the profile.
            window_s: how far to look back.
            bins: with counts.

        Raises:
            NotFound: nothing is watched of one of them, or they are not counted in the same bins.
        """
        own, others = self.pair(model, version, other)
        before = _Before(others.series.history.window(window_s).counts, trusted=True)
        windows = [own.series.history.window(window_s)]
        kind = f"version:{other}"
        return self._evaluated([own], windows, window_s, None, before, kind).report(bins)

    def pair(self, model: str, version: int, other: int) -> tuple[WatchedSeries, WatchedSeries]:
        """What two versions counted in the same bins.

        Raises:
            NotFound: as `report_against`.
        """
        found = pair_of(self._all(), model, version, other)
        if found is None:
            for one in (other, version):
                self._of(model, one, None)  # says what is wrong with it
            raise NotFound(
                f"model '{model}': versions {version} and {other} are not counted in the same bins:"
                " have them share a route, or give both the same profile"
            )
        return found

    def alarms(self, model: str, version: int) -> tuple[Reference, Alarm]:
        """What the newest rows of a version say, column by column.

        Raises:
            NotFound: as `report`.
        """
        first = self._of(model, version, None)[0]
        return first.reference, first.alarm

    def evaluate_all(self, window_s: float) -> tuple[Evaluated, ...]:
        """The window of every version, all its variants together; by name and version."""
        there = self._all()
        versions = {layout.sketch_of(watched.series.name)[:2] for watched in there}
        found = (variants_of(there, model, version, None) for model, version in sorted(versions))
        return tuple(
            self._evaluate(some, [one.series.history.window(window_s) for one in some], window_s)
            for some in found
            if some
        )

    def lookbacks(self, model: str, version: int) -> tuple[Reference, tuple[Lookback, ...]]:
        """What was seen at the last look back; nothing where there never was a row.

        Raises:
            NotFound: as `report`.
        """
        first = self._of(model, version, None)[0]
        return first.reference, first.looks

    def watched(self) -> set[tuple[str, int]]:
        """The versions of which there are reports."""
        names = [layout.sketch_of(watched.series.name) for watched in self._all()]
        return {name[:2] for name in names if name[3] != layout.COMMON}

    def _evaluate(
        self,
        some: Sequence[WatchedSeries],
        windows: Sequence[Window],
        window_s: float,
        variant: str | None = None,
        against: Against = FIXED,
    ) -> Evaluated:
        """Every statistic of the windows, one for each of `some`, together."""
        before = self._before(some, windows, window_s, against)
        return self._evaluated(some, windows, window_s, variant, before, against.kind)

    def _evaluated(
        self,
        some: Sequence[WatchedSeries],
        windows: Sequence[Window],
        window_s: float,
        variant: str | None,
        before: _Before | None,
        kind: str,
    ) -> Evaluated:
        vector, moments = added(windows)
        first = some[0]
        reference = first.reference
        if before is not None:
            reference = reference.rolled(before.vector, int(before.vector[ROWS]))
        effects = first.dependence.estimate(self._rules)
        judged = reference.with_effect(effects.values)
        if before is not None and before.trusted:
            reference, judged = reference.trusted(), judged.trusted()
        model, version, _, _, digest = layout.sketch_of(first.series.name)
        about = About(
            model=model,
            version=version,
            variant=variant,
            window_s=window_s,
            start=min(window.start_s for window in windows),
            end=max(window.end_s for window in windows),
            rows=int(vector[ROWS]),
            skipped_rows=int(vector[SKIPPED]),
            digest=digest,
            kind=kind,
            weeks=None if before is None else before.weeks,
        )
        return Evaluated(
            about,
            reference,
            figures(judged, vector, moments, effects, self._rules),
            # Newest rows are held against profiles alone.
            Alarm.none(len(reference.columns)) if kind.startswith("version") else first.alarm,
            np.sum([watched.series.total for watched in some], axis=0),
            self._rules,
        )

    def _before(
        self,
        some: Sequence[WatchedSeries],
        windows: Sequence[Window],
        window_s: float,
        against: Against,
    ) -> _Before | None:
        """What earlier traffic the windows are held against; None where it is the profile."""
        if against.rolling_s:
            longer = [one.series.history.window(window_s + against.rolling_s) for one in some]
            return _Before(added(longer)[0] - added(windows)[0])
        if against.weeks:
            start, end = min(w.start_s for w in windows), max(w.end_s for w in windows)
            stretches = same_hours(start, end, against.weeks)
            found = [
                self._past.hours(one.series.name, one.series.places.words, stretches)
                for one in some
            ]
            by_week = np.sum(found, axis=0)
            return _Before(by_week.sum(axis=0), int(np.count_nonzero(by_week[:, ROWS])))
        return None

    # ---- what is watched ------------------------------------------------------------------------

    def _all(self) -> list[WatchedSeries]:
        """What is watched now: what is new begins, what is gone is forgotten."""
        before, self._watched = self._watched, {}
        for series in self._series():
            watched = before.get(series.name)
            if watched is None or watched.series is not series:
                watched = self._begin(series)
            self._watched[series.name] = watched
        return list(self._watched.values())

    def _begin(self, series: Series) -> WatchedSeries:
        reference = Reference.of(series.profile, series.places)
        columns = len(reference.columns)
        dependence = Dependence.restored(self._past.learnt(series.name), reference)
        watched = WatchedSeries(series, reference, dependence, Alarm.none(columns))
        if part_of(series) == ALL and series.history.last_rows(1).counts[ROWS]:
            self._look_back(watched)  # what an earlier process saw stands before a row comes
        return watched

    def _judge(self, watched: WatchedSeries) -> None:
        """Learns from what came this second, and looks back from now."""
        latest = watched.series.latest
        watched.dependence.add(watched.reference, latest)
        # Many slices would take many times as long; they are looked at when somebody asks.
        if latest[ROWS] and part_of(watched.series) == ALL:
            self._look_back(watched)

    def _look_back(self, watched: WatchedSeries) -> None:
        history = watched.series.history
        windows = {rows: history.last_rows(rows) for rows in LOOKBACK_ROWS}
        counts = {int(w.counts[ROWS]): w.counts for w in windows.values()}
        effects = watched.dependence.estimate(self._rules)
        reference = watched.reference.with_effect(effects.values)
        judged = {
            rows: judge_columns(reference, some, effects, self._rules)
            for rows, some in counts.items()
        }
        watched.alarm = most_alarming(len(reference.columns), judged)
        watched.looks = tuple(
            Lookback(rows, w.start_s, judged[int(w.counts[ROWS])]) for rows, w in windows.items()
        )

    def _of(
        self, model: str, version: int, variant: str | None, part: str = ALL
    ) -> list[WatchedSeries]:
        found = variants_of(self._all(), model, version, variant, part)
        if part != ALL:
            for watched in found:
                self._look_back(watched)
        if not found:
            what = f"model '{model}' version {version}"
            if part != ALL and variants_of(self._all(), model, version, variant):
                raise NotFound(f"{what}: values of this slice are not counted: see the log")
            if variant is not None and variants_of(self._all(), model, version, None):
                raise NotFound(f"{what} has no variant '{variant}'")
            progress = self._progress().get((model, version))
            if progress is not None:
                raise NotFound(
                    f"{what}: not watched yet: its first {progress.wanted} rows become its"
                    f" reference, and {progress.rows} are there"
                )
            raise NotFound(
                f"{what}: not watched; give it a reference: penstock profile {model} {version}"
                " --data FILE"
            )
        return found
