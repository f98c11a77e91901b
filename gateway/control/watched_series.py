"""What is watched of a version: one block of counts over time, and what it is compared with.

Knows series, references and how rows depend on each other. Knows nothing of reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from gateway.control.seasons import Stretch
from gateway.control.sketches import Series
from gateway.drift.history import Window
from gateway.drift.kinds import Dependence
from gateway.drift.look_back import Alarm, Lookback
from gateway.drift.panes import Vector, add_moments, no_moments
from gateway.drift.reference import Reference
from gateway.monitor import layout

ALL: Final = "all"
"""In place of a slice: all rows together."""


class Past(Protocol):
    """What is known of series beside their histories: `panes.PaneStore` keeps it."""

    def hours(self, series: str, words: int, stretches: Sequence[Stretch]) -> list[Vector]:
        """(words,) int64 for each stretch of whole hours: what a series counted in it."""

    def learnt(self, series: str) -> Vector:
        """What `Drift.learnt` said of it when it was last kept; empty where it never was."""


class _Nothing:
    """A past without anything in it."""

    def hours(self, series: str, words: int, stretches: Sequence[Stretch]) -> list[Vector]:
        return [np.zeros(words, np.int64) for _ in stretches]

    def learnt(self, series: str) -> Vector:
        return np.empty(0)


NO_PAST: Final = _Nothing()


@dataclass(slots=True)
class WatchedSeries:
    """A series with what it is compared with, and how much its rows depend on each other."""

    series: Series
    reference: Reference
    dependence: Dependence
    alarm: Alarm
    looks: tuple[Lookback, ...] = ()


def variants_of(
    there: Sequence[WatchedSeries],
    model: str,
    version: int,
    variant: str | None,
    part: str = ALL,
) -> list[WatchedSeries]:
    """The variants of a version, or the one that is named; none where nothing is watched of it."""
    found = []
    for watched in there:
        its_model, its_version, its_variant, its_part, _ = layout.sketch_of(watched.series.name)
        same = (its_model, its_version, its_part) == (model, version, part)
        if same and variant in (None, its_variant):
            found.append(watched)
    # Variants count by the same profile; a new profile's block stands beside the old one's
    # until that has been let go.
    return [one for one in found if one.reference.profile is found[-1].reference.profile]


def pair_of(
    there: Sequence[WatchedSeries], model: str, version: int, other: int
) -> tuple[WatchedSeries, WatchedSeries] | None:
    """What two versions counted by one profile, the other one's own where there is a choice."""
    found: dict[str, dict[int, WatchedSeries]] = {}
    own = ""
    for watched in there:
        its_model, its_version, variant, part, digest = layout.sketch_of(watched.series.name)
        if its_model == model and not variant and part in (ALL, layout.COMMON):
            found.setdefault(digest, {})[its_version] = watched
            own = digest if (its_version, part) == (other, ALL) else own
    both = {digest: some for digest, some in found.items() if {version, other} <= some.keys()}
    chosen = both.get(own) or next(iter(both.values()), None)
    return None if chosen is None else (chosen[version], chosen[other])


def part_of(series: Series) -> str:
    """The slice that a series is of."""
    return layout.sketch_of(series.name)[3]


def added(windows: Sequence[Window]) -> tuple[Any, Any]:
    """Counts and moments of windows of the same bins, together."""
    vector = sum(window.counts for window in windows)
    moments = no_moments(len(windows[0].moments))
    for window in windows:
        add_moments(moments, window.moments)
    return vector, moments
