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
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from gateway.config import Config
from gateway.config.guards import (
    CalibrationGuard,
    DisagreementGuard,
    DriftGuard,
    Guard,
    MetricGuard,
    PerformanceGuard,
    PredictionDriftGuard,
    RateGuard,
)
from gateway.control.contracts import Breaches
from gateway.control.drift import Drift
from gateway.control.outcome_reports import Known as Reported
from gateway.control.outcomes import Outcomes
from gateway.control.rollout_traffic import (
    ArmCounts,
    OutputCounts,
    PairCounts,
    Pairs,
    drifting,
)
from gateway.control.slices import part_asked, slicings
from gateway.errors import GatewayError, InvalidParameter, NotFound
from gateway.monitor.arena import Arena
from gateway.monitor.report import answered_rows
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.judging import Judging
from gateway.rollouts.looks import Both, Drifting, Known, Look, Outputs
from gateway.rollouts.reach import fault_of_figure, fault_of_steps
from gateway.rollouts.shares import Given

log = logging.getLogger("penstock.control")

T = TypeVar("T")
_OutcomeGuard = CalibrationGuard | PerformanceGuard | MetricGuard
# Figures of outcomes take some ten milliseconds a version, more where there are many records.
OUTCOMES_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where figures come from.

    Attributes:
        arena: counters of versions.
        drift: values by bins.
        counting: the thread that `drift` is used on.
        outcomes: what came of answers.
        breaches: what inputs of a version broke of its contract; None: it has none. Blocks.
        collecting: versions whose first rows are being kept for a profile.
        config: what is in force.
        pairs: of a shadow's rows; None: nobody counts them.
        scores: of which kind a version's are; empty: that is not known. Blocks.
    """

    arena: Arena
    drift: Drift
    counting: Executor
    outcomes: Outcomes
    breaches: Callable[[str, int], Breaches | None]
    collecting: Callable[[], Sequence[tuple[str, int]]]
    config: Callable[[], Config]
    pairs: Pairs | None = None
    scores: Callable[[str, int], str] = lambda model, version: ""


class RolloutEvidence:
    """Makes a judge for each rollout. Blocking: called on a thread, once at a time."""

    def __init__(self, sources: Sources) -> None:
        """Takes the sources of figures."""
        self._sources = sources

    def faults(self, given: Given) -> list[str]:
        """Why guards of a plan could never come to a verdict; empty where all can."""
        found = ((one.called, self._fault(given, one)) for one in given.plan.guards)
        return [f"{name}: {fault}" for name, fault in found if fault]

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

    def _fault(self, given: Given, guard: Guard) -> str:
        return fault_of_steps(given.plan, guard) or self._fault_of_sources(given, guard)

    def _fault_of_sources(self, given: Given, guard: Guard) -> str:
        match guard:
            case RateGuard(kind="contract"):
                return self._fault_of_contract(given, guard)
            case PredictionDriftGuard():
                return self._fault_of_values(given, guard.outputs)
            case DriftGuard():
                return "" if self._sources.config().monitoring.enabled else _NOT_WATCHED
            case DisagreementGuard():
                return self._fault_of_pairs(given)
            case CalibrationGuard() | PerformanceGuard() | MetricGuard():
                return self._fault_of_outcomes(given, guard)
            case _:
                return ""

    def _fault_of_contract(self, given: Given, guard: RateGuard) -> str:
        if guard.max is not None:
            return "" if self._sources.config().monitoring.enabled else _NOT_WATCHED
        if self._sources.breaches(given.model, given.baseline) is None:
            return f"the baseline, version {given.baseline}, has no contract, which a profile gives"
        return ""

    def _fault_of_values(self, given: Given, outputs: Sequence[str]) -> str:
        which = given.model, given.baseline
        known = self._sources.counting.submit(_outputs_of, self._sources.drift, *which).result()
        if known is None:
            if which in self._sources.collecting():
                return ""  # it will have one
            return f"the baseline, version {given.baseline}, has no profile: penstock profile"
        unknown = [one for one in outputs if one not in known]
        return f"there is no output '{unknown[0]}', but {', '.join(known)}" if unknown else ""

    def _fault_of_pairs(self, given: Given) -> str:
        shadowed = any(one.is_shadow for one in given.plan.steps)
        if self._sources.pairs is None or not shadowed:
            return "no step is a shadow, so that nothing is answered twice"
        return ""

    def _fault_of_outcomes(self, given: Given, guard: _OutcomeGuard) -> str:
        config = self._sources.config()
        if not config.has_ledger(given.model) or not config.ledger_share_of(given.model):
            return "outcomes are joined to nothing: set ledger.enabled"
        if guard.slice is not None:
            try:
                part_asked(slicings(config.slices_of(given.model)), guard.slice)
            except (NotFound, InvalidParameter) as error:
                return str(error)
        if isinstance(guard, MetricGuard):
            known = config.metrics_of(given.model)
            if known is None or guard.metric in known:
                return ""
            return f"its outcomes have no '{guard.metric}': set ledger.metrics"
        return fault_of_figure(self._sources.scores(given.model, given.baseline), guard)


_NOT_WATCHED: Final = "no value is counted: set monitoring.enabled"


def _outputs_of(drift: Drift, model: str, version: int) -> list[str] | None:
    """Names of a version's outputs; None where it is not watched. On the thread of histories."""
    try:
        reference, _ = drift.alarms(model, version)
    except NotFound:
        return None
    return [column.name for frame, column in reference.columns if frame.role != "feature"]


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
