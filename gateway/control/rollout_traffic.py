"""What was counted of two versions since somebody last looked.

Knows the arena's sums and series of counts. Knows nothing of guards, or of where time goes.

Sums only grow, but for a block that left the arena and came back: what it holds is what came since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from gateway.control.contracts import Breaches
from gateway.control.drift import Drift
from gateway.control.watched_series import WatchedSeries
from gateway.drift.panes import Vector
from gateway.drift.rules import DEFAULT
from gateway.errors import NotFound
from gateway.monitor.arena import Arena
from gateway.monitor.report import ModelCounters, find_model
from gateway.profiles.values import FEATURE
from gateway.rollouts.looks import Arm, Drifting, Outputs
from kernels import timing

_RESULTS: Final = ("ok", "failed", "refused")
# What is known of each is written down every few seconds: of a thousand classes, of the first.
MAX_OUTPUTS: Final = 64


class Grown:
    """Sums that somebody looks at now and then."""

    def __init__(self) -> None:
        """Has seen nothing."""
        self._before: Vector | None = None

    def since(self, sums: Vector) -> Vector:
        """What came since the last call; nothing at the first."""
        before, self._before = self._before, sums
        if before is None:
            return np.zeros_like(sums)
        came = sums - before
        return sums if before.shape != sums.shape or (came < 0).any() else came


class ArmCounts:
    """What came to one version."""

    def __init__(self, arena: Arena, model: str, version: int) -> None:
        """Looks from now on."""
        self._arena, self._model, self._version = arena, model, version
        self._results, self._latencies, self._contract = Grown(), Grown(), Grown()
        self._runs = Grown()

    def look(self, breaches: Breaches | None) -> Arm:
        """What came since the last look; `breaches`: of its contract by now. Blocks."""
        found = find_model(self._arena, self._model, self._version)
        if found is None:
            return Arm()
        results = [*(found.results[one] for one in _RESULTS), found.executed_rows, found.non_finite]
        came = self._results.since(np.array(results, np.int64)).tolist()
        ok, failed, refused, rows, non_finite = came
        latencies = None
        if "total" in found.histograms:
            latencies = self._latencies.since(found.histograms["total"])
        values, broken = self._examined(breaches)
        return Arm(
            requests=ok + failed + refused,
            errors=failed,
            refused=refused,
            rows=rows,
            non_finite=min(non_finite, rows),
            latencies=latencies,
            runs=self._runs.since(_runs(found)),
            values=values,
            breaches=broken,
        )

    def _examined(self, breaches: Breaches | None) -> tuple[int, int]:
        if breaches is None:
            return 0, 0
        sums = np.array([breaches.rows * len(breaches.names), breaches.counts.sum()], np.int64)
        values, broken = self._contract.since(sums).tolist()
        # A row's breaches are counted before the row.
        return values, min(broken, values)


def _runs(found: ModelCounters) -> Vector:
    """Runs and what they took of the processor, by size, as `Arm` has them."""
    runs = np.zeros((timing.MAX_SIZE + 1, 2), np.int64)
    for size in found.sizes:
        runs[size.rows - 1] = size.batches, size.cpu_ns
    return runs


Pairs = Callable[[str, int, int], tuple[int, int]]
"""Of a model, a version and its shadow: rows that both had by now, those without the same label."""


class PairCounts:
    """What came of a shadow's rows beside the baseline's."""

    def __init__(self, pairs: Pairs | None, model: str, shadow: int, answered: int) -> None:
        """Looks from now on; where there are no pairs, nothing ever comes."""
        self._pairs, self._which = pairs, (model, answered, shadow)
        self._grown = Grown()

    def look(self) -> tuple[int, int]:
        """Rows, and those with other labels, since the last look."""
        if self._pairs is None:
            return 0, 0
        rows, differing = self._grown.since(np.array(self._pairs(*self._which))).tolist()
        return rows, min(differing, rows)


class OutputCounts:
    """What came to two versions' outputs, in the same bins. On the thread of histories."""

    def __init__(self, drift: Drift, model: str, candidate: int, baseline: int) -> None:
        """Looks from now on."""
        self._drift, self._model = drift, model
        self._candidate, self._baseline = candidate, baseline
        self._ours, self._theirs = Grown(), Grown()
        self._digest = ""

    def look(self) -> Outputs | None:
        """What came since the last look; None where the two are not in the same bins now."""
        try:
            ours, theirs = self._drift.pair(self._model, self._candidate, self._baseline)
        except NotFound:
            return None
        digest = ours.series.name.rpartition("/")[2]
        if digest != self._digest:  # other bins
            self._ours, self._theirs, self._digest = Grown(), Grown(), digest
        came = self._ours.since(ours.series.total), self._theirs.since(theirs.series.total)
        return _outputs(ours, theirs, *came)


def _outputs(ours: WatchedSeries, theirs: WatchedSeries, mine: Vector, other: Vector) -> Outputs:
    reference = ours.reference
    frames = enumerate(frame for frame, _ in reference.columns)
    places = [at for at, frame in frames if frame.role != FEATURE][:MAX_OUTPUTS]
    columns = [reference.columns[at][1] for at in places]
    ordered = [bool(reference.baseline.ordered[at]) for at in places]
    return Outputs(
        [one.name for one in columns],
        [one.bins + 2 * has for one, has in zip(columns, ordered, strict=True)],
        ordered,
        reference.open_bins_of(mine)[places],
        reference.open_bins_of(other)[places],
        np.fmax(_effects(ours), _effects(theirs))[places],
    )


def _effects(watched: WatchedSeries) -> Vector:
    """(columns,) design effects; NaN where they are not known yet."""
    return np.maximum(watched.dependence.estimate(DEFAULT).values, 1.0)


def drifting(drift: Drift, model: str, version: int) -> Drifting | None:
    """What the newest rows of a version say. On the thread of histories."""
    try:
        reference, alarm = drift.alarms(model, version)
    except NotFound:
        return None
    roles = ["features" if frame.role == FEATURE else "outputs" for frame, _ in reference.columns]
    names = [column.name for _, column in reference.columns]
    verdicts = map(str, alarm.verdicts)
    lines = dict(zip(zip(roles, names, strict=True), verdicts, strict=True))
    return Drifting(int(alarm.rows.max(initial=0)), lines)
