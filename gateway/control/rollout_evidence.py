"""Judges candidates by all that is counted of them and of their baselines.

Knows where each kind of guard has its figures from, and which of these can be read at once. Knows
nothing of statistics (`gateway.rollouts.judging`), or of what a verdict is followed by.

A look never waits: counters are read where it is called, on whatever thread that is; histories and
the ledger have threads of their own, are asked there, and what they say is taken in at the next
look. So a look takes some milliseconds, whatever else is going on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from gateway.config.guards import (
    CalibrationGuard,
    DriftGuard,
    Guard,
    MetricGuard,
    PerformanceGuard,
    PredictionDriftGuard,
)
from gateway.control.outcome_reports import Known as Reported
from gateway.control.outcomes import Outcomes
from gateway.control.rollout_prospects import Prospects
from gateway.control.rollout_sources import Sources
from gateway.control.rollout_traffic import (
    ArmCounts,
    OutputCounts,
    PairCounts,
    drifting,
)
from gateway.errors import GatewayError
from gateway.monitor.report import answered_rows
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.judging import Judging
from gateway.rollouts.looks import Both, Drifting, Known, Look, Outputs
from gateway.rollouts.shares import Given

log = logging.getLogger("penstock.control")

T = TypeVar("T")
_OutcomeGuard = CalibrationGuard | PerformanceGuard | MetricGuard
# Figures of outcomes take some ten milliseconds a version, more where there are many records.
OUTCOMES_S: Final = 5.0


class RolloutEvidence:
    """Makes a judge for each rollout. Blocking: called on a thread, once at a time."""

    def __init__(self, sources: Sources) -> None:
        """Takes the sources of figures."""
        self._sources = sources
        self._prospects = Prospects(sources)

    def faults(self, given: Given) -> list[str]:
        """Why guards of a plan could never come to a verdict; empty where all can."""
        return self._prospects.faults(given)

    def doubts(self, given: Given) -> list[str]:
        """Why guards of a plan may not come to a verdict in time, or ever; empty: nothing."""
        return self._prospects.doubts(given)

    def judge(self, given: Given, memory: Any, now: float) -> CandidateJudge:
        """Judges from now on, or goes on from what was remembered.

        Args:
            given: candidate, baseline and guards.
            memory: what an earlier judge left; None: nothing.
            now: seconds since 1970.
        """
        return CandidateJudge(self._sources, given, memory, now)

    def rows(self, given: Given, shadow: bool) -> int:
        """The rows that a candidate has answered; or run, where it is a shadow."""
        if not shadow:
            return answered_rows(self._sources.arena, given.model, given.candidate)
        pairs = self._sources.pairs
        return 0 if pairs is None else pairs(given.model, given.baseline, given.candidate)[0]


class Later(Generic[T]):
    """Something that is asked for elsewhere, and taken in when it is there."""

    def __init__(self, ask: Callable[[], Future[T]]) -> None:
        """Asks by `ask`, one question at a time."""
        self._ask = ask
        self._asked: Future[T] | None = None

    def take(self, again: bool = True) -> T | None:
        """What is there since the last call, if anything; asks `again` where nothing is awaited."""
        found: T | None = None
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            try:
                found = asked.result()
            except GatewayError as error:  # nothing of it yet, or the disk: it is asked for again
                log.debug("%s", error)
        if again and self._asked is None:
            self._asked = self._ask()
        return found


@dataclass(frozen=True, slots=True)
class _Values:
    """What the thread of histories says of both versions."""

    outputs: Outputs | None
    drifting: tuple[Drifting | None, Drifting | None]


class CandidateJudge:
    """Judges one candidate against its baseline; looked at on any thread, once at a time."""

    def __init__(
        self, sources: Sources, given: Given, memory: Mapping[str, Any] | None, now: float
    ) -> None:
        """Begins at `now`, or goes on from what was remembered."""
        memory = memory or {}
        self._sources, self._given = sources, given
        self._guards = given.plan.guards
        self._judging = Judging(self._guards, memory.get("guards"))
        self._began = float(memory.get("began", now))
        versions = given.candidate, given.baseline
        self._arms = [ArmCounts(sources.arena, given.model, one) for one in versions]
        self._pairs = PairCounts(sources.pairs, given.model, *versions)
        self._outputs = OutputCounts(sources.drift, given.model, *versions)
        self._values = Later(lambda: sources.counting.submit(self._look_at_values))
        self._known = [
            _Asked(sources.outcomes, given, one, self._began)
            for one in self._guards
            if isinstance(one, CalibrationGuard | PerformanceGuard | MetricGuard)
        ]
        # What is there already is nobody's fault.
        self._look_at_counts()

    def look(self, now: float) -> Sequence[Judgement]:
        """Takes in what was counted since it last looked; a judgement for each guard, in order."""
        counts = self._look_at_counts()
        values = self._values.take(self._asks(PredictionDriftGuard, DriftGuard))
        known = {one.name: both for one in self._known if (both := one.take(now)) is not None}
        return self._judging.take(
            Look(
                candidate=counts.candidate,
                baseline=counts.baseline,
                outputs=None if values is None else values.outputs,
                pairs=counts.pairs,
                differing=counts.differing,
                known=known,
                drifting=None if values is None else values.drifting,
            )
        )

    def memory(self) -> Mapping[str, Any]:
        """What a successor goes on from, as JSON has it."""
        return {"guards": self._judging.memory(), "began": self._began}

    def _asks(self, *kinds: type[Guard]) -> bool:
        return any(isinstance(one, kinds) for one in self._guards)

    def _look_at_counts(self) -> Look:
        model, of = self._given.model, self._sources
        versions = self._given.candidate, self._given.baseline
        contracted = any(one.kind == "contract" for one in self._guards)
        candidate, baseline = (
            arm.look(of.breaches(model, version) if contracted else None)
            for arm, version in zip(self._arms, versions, strict=True)
        )
        pairs, differing = self._pairs.look()
        return Look(candidate, baseline, pairs=pairs, differing=differing)

    def _look_at_values(self) -> _Values:
        """On the thread of histories."""
        drift, model = self._sources.drift, self._given.model
        said: tuple[Drifting | None, Drifting | None] = (None, None)
        if self._asks(DriftGuard):
            versions = self._given.candidate, self._given.baseline
            said = drifting(drift, model, versions[0]), drifting(drift, model, versions[1])
        outputs = self._outputs.look() if self._asks(PredictionDriftGuard) else None
        return _Values(outputs, said)


class _Asked:
    """The figure of one guard, asked for now and then."""

    def __init__(
        self, outcomes: Outcomes, given: Given, guard: _OutcomeGuard, began: float
    ) -> None:
        self.name = guard.called
        self._guard = guard
        self._due = 0.0

        def ask(version: int) -> Callable[[], Future[Reported]]:
            alpha = guard.alpha / 2.0  # of two versions, both have to be right
            return lambda: outcomes.known(given.model, version, began, guard.slice, alpha)

        self._later = [Later(ask(one)) for one in (given.candidate, given.baseline)]
        self._found: list[Reported | None] = [None, None]

    def take(self, now: float) -> Both | None:
        """What is known of both by now; None where nothing new is."""
        again = not self._due - OUTCOMES_S <= now < self._due  # the clock may have been set
        if again:
            self._due = now + OUTCOMES_S
        came = [one.take(again) for one in self._later]
        if not any(one is not None for one in came):
            return None
        pairs = zip(came, self._found, strict=True)
        self._found = [before if new is None else new for new, before in pairs]
        candidate, baseline = (_known(self._guard, one) for one in self._found)
        return Both(candidate, baseline)


def _known(guard: _OutcomeGuard, reported: Reported | None) -> Known:
    """One guard's figure of what was reported of a version."""
    if reported is None:
        return Known()
    if isinstance(guard, MetricGuard):
        metric = reported.metrics.get(guard.metric)
        return Known() if metric is None else Known(metric.mean, metric.n, metric.low, metric.high)
    found = reported.found
    name = "accuracy" if guard.figure == "error_rate" else guard.figure
    value, ends = found.figures.get(name), found.intervals.get(name)
    low, high = (None, None) if ends is None else ends
    if guard.figure == "error_rate":
        value, low, high = (None if one is None else 1.0 - one for one in (value, high, low))
    return Known(value, found.n.get(name, 0), low, high)
