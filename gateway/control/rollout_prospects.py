"""Looks at a plan before it begins: which guards could never come to a verdict, or may not in time.

Knows what each kind of guard needs, and whether that is there. Knows nothing of statistics, or of
what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.config.guards import (
    CalibrationGuard,
    CostGuard,
    DisagreementGuard,
    DriftGuard,
    Guard,
    MetricGuard,
    PerformanceGuard,
    PredictionDriftGuard,
    RateGuard,
)
from gateway.control.drift import Drift
from gateway.control.rollout_sources import Sources
from gateway.control.slices import part_asked, slicings
from gateway.control.unseen import unseen
from gateway.errors import InvalidParameter, NotFound
from gateway.rollouts.reach import doubts_of_plan, fault_of_figure, fault_of_steps
from gateway.rollouts.shares import Given

_OutcomeGuard = CalibrationGuard | PerformanceGuard | MetricGuard


class Prospects:
    """Of all plans. Blocking: called on a thread."""

    def __init__(self, sources: Sources) -> None:
        """Takes the sources of figures."""
        self._sources = sources

    def faults(self, given: Given) -> list[str]:
        """Why guards of a plan could never come to a verdict; empty where all can."""
        found = ((one.called, self._fault(given, one)) for one in given.plan.guards)
        return [f"{name}: {fault}" for name, fault in found if fault]

    def doubts(self, given: Given) -> list[str]:
        """Why guards of a plan may not come to a verdict in time, or ever; empty: nothing."""
        return [
            f"{one.called}: {doubt}"
            for one in given.plan.guards
            for doubt in (*doubts_of_plan(given.plan, one), *self._doubts_of_outcomes(given, one))
        ]

    def _fault(self, given: Given, guard: Guard) -> str:
        return fault_of_steps(given.plan, guard) or self._fault_of_sources(given, guard)

    def _fault_of_sources(self, given: Given, guard: Guard) -> str:
        match guard:
            case CostGuard() | RateGuard(kind="non_finite"):
                asks_others = given.model in self._sources.config().llm.models
                return _NOTHING_RUNS[guard.kind] if asks_others else ""
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
            listed = config.metrics_of(given.model)
            if listed is None or guard.metric in listed:
                return ""
            return f"its outcomes have no '{guard.metric}': set ledger.metrics"
        return fault_of_figure(self._sources.scores(given.model, given.baseline), guard)

    def _doubts_of_outcomes(self, given: Given, guard: Guard) -> list[str]:
        """What has never come yet."""
        outcomes = self._sources.outcomes
        if isinstance(guard, MetricGuard):
            known = outcomes.metrics().result()
            return [] if guard.metric in known else [unseen(guard.metric, known)]
        if not isinstance(guard, CalibrationGuard | PerformanceGuard):
            return []
        asked = given.model, given.baseline, 0.0, guard.slice, guard.alpha
        try:
            came = outcomes.known(*asked).result().found.n
        except NotFound:
            came = {}
        if any(came.values()):
            return []
        of = "" if guard.slice is None else f" of {guard.slice}"
        return [f"no outcome{of} of the baseline, version {given.baseline}, has come yet"]


_NOTHING_RUNS: Final = {
    "cost": "a language model has no runs here: dollars are judged by"
    " {kind: prediction_drift, outputs: [cost_usd]}",
    "non_finite": "a language model answers with no numbers that could be none",
}
_NOT_WATCHED: Final = "no value is counted: set monitoring.enabled"


def _outputs_of(drift: Drift, model: str, version: int) -> list[str] | None:
    """Names of a version's outputs; None where it is not watched. On the thread of histories."""
    try:
        reference, _ = drift.alarms(model, version)
    except NotFound:
        return None
    return [column.name for frame, column in reference.columns if frame.role != "feature"]
