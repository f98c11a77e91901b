"""Which guards could never come to a verdict, or not in time, by a plan and a model's scores.

Knows plans, guards and kinds of scores. Knows nothing of what is counted, or of where.
"""

from __future__ import annotations

from typing import Final

from gateway.config.guards import (
    CalibrationGuard,
    CostGuard,
    DisagreementGuard,
    DriftGuard,
    Guard,
    LatencyGuard,
    MetricGuard,
    PerformanceGuard,
    PredictionDriftGuard,
    RateGuard,
)
from gateway.config.rollout import RolloutPlan, Step
from gateway.rollouts.evidence import MIN_MOMENTS

# Of scores that are values these have intervals, and of them the means of all scores.
_OF_VALUES: Final = frozenset({"mae", "rmse", "bias", "r2", "mean_score", "mean_outcome"})
_OF_VALUES_ALONE: Final = _OF_VALUES - {"mean_score", "mean_outcome"}
_OF_BINARY_ALONE: Final = frozenset({"specificity", "roc_auc"})
_OF_MULTICLASS_ALONE: Final = frozenset({"precision_weighted", "recall_weighted", "f1_weighted"})


def fault_of_steps(plan: RolloutPlan, guard: Guard) -> str:
    """Why a guard has no baseline to compare with in any step; empty where it has or needs none."""
    if not _compares(guard) or any((step.percent or 100.0) < 100.0 for step in plan.steps):
        return ""
    answered = isinstance(guard, RateGuard | LatencyGuard | CostGuard) and guard.kind != "contract"
    if not answered and any(step.is_shadow for step in plan.steps):
        return ""  # a shadow's values are counted, and its requests are not
    fault = "in no step do both versions answer requests: add one of less than 100 %"
    return fault + _BOUNDS.get(guard.kind, ", or set min or max")


def doubts_of_plan(plan: RolloutPlan, guard: Guard) -> list[str]:
    """Why a plan may be over before a guard has come to a verdict; empty: it lasts long enough."""
    steps = [step for step in plan.steps if _learns(guard, step)]
    if any(step.require == "pass" for step in steps):
        return []  # it lasts until there is a verdict
    lasts_s = sum(step.bake_s for step in steps) + (0.0 if _compares(guard) else plan.watch_s)
    rows = sum(step.min_rows for step in steps)
    found = []
    needs_s, why = _least(guard)
    if lasts_s < needs_s:
        found.append(
            f"there is no verdict before {needs_s:g} s{why}, and the steps that it judges may be"
            f" over after {lasts_s:g} s"
        )
    if rows < guard.min_rows:
        found.append(
            f"there is no verdict before {guard.min_rows} rows of the candidate (`min_rows`), and"
            f" the steps that it judges wait for {rows}"
        )
    return found


def _learns(guard: Guard, step: Step) -> bool:
    """Whether what is counted in a step tells a guard something."""
    match guard:
        case DisagreementGuard():
            return step.is_shadow
        case CalibrationGuard() | PerformanceGuard() | MetricGuard():
            return not step.is_shadow  # outcomes of what both answered come later, too
        case PredictionDriftGuard() | DriftGuard() | RateGuard(kind="contract"):
            answers = True
        case _:
            answers = not step.is_shadow
    return answers and not (_compares(guard) and step.percent == 100.0)


def _least(guard: Guard) -> tuple[float, str]:
    """Seconds that a guard has to see before it can come to a verdict, and what of."""
    match guard:
        case RateGuard(max=None):
            return MIN_MOMENTS, f" (to fail it, as many with {_HITS[guard.kind]})"
        case RateGuard() | LatencyGuard() | CostGuard() | DisagreementGuard():
            return MIN_MOMENTS, ""
        case PredictionDriftGuard():
            return _DEPENDENCE_S, " (to know how much rows depend on each other)"
        case _:
            return 0.0, ""


def fault_of_figure(kind: str, guard: CalibrationGuard | PerformanceGuard) -> str:
    """Why a figure does not exist for a model, or has no interval; empty where it has.

    Args:
        kind: of its scores: `binary`, `multiclass` or `value`; empty: not known.
        guard: on the figure.
    """
    if not kind or _has(kind, guard.figure):
        return ""
    return f"'{guard.figure}' has no interval for {kind} scores, which the model has"


def _has(kind: str, figure: str) -> bool:
    if kind == "value":
        return figure in _OF_VALUES
    others = _OF_MULTICLASS_ALONE if kind == "binary" else _OF_BINARY_ALONE
    return figure not in _OF_VALUES_ALONE | others


_HITS: Final = {
    "errors": "failures",
    "non_finite": "answers without a number",
    "refused": "refusals",
    "contract": "breaches",
}
_DEPENDENCE_S: Final = 17.0  # of `drift.design_effect`, where nothing was learnt before
_BOUNDS: Final = {
    **dict.fromkeys(("errors", "non_finite", "refused", "contract"), ", or set max"),
    "latency": ", or set max_ms",
    **dict.fromkeys(("cost", "prediction_drift"), ""),
}


def _compares(guard: Guard) -> bool:
    match guard:
        case RateGuard():
            return guard.max is None
        case LatencyGuard():
            return guard.max_ms is None
        case CalibrationGuard() | PerformanceGuard() | MetricGuard():
            return guard.min is None and guard.max is None
        case _:
            return isinstance(guard, CostGuard | PredictionDriftGuard)
