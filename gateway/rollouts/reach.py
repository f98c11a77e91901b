"""Which guards could never come to a verdict, by a plan's steps and a model's scores.

Knows plans, guards and kinds of scores. Knows nothing of what is counted, or of where.
"""

from __future__ import annotations

from typing import Final

from gateway.config.guards import (
    CalibrationGuard,
    CostGuard,
    Guard,
    LatencyGuard,
    MetricGuard,
    PerformanceGuard,
    PredictionDriftGuard,
    RateGuard,
)
from gateway.config.rollout import RolloutPlan

# Of scores that are values these have intervals, and of them `mean_outcome` of all scores.
_OF_VALUES: Final = frozenset({"mae", "rmse", "bias", "r2", "mean_outcome"})
_OF_VALUES_ALONE: Final = _OF_VALUES - {"mean_outcome"}
_OF_BINARY_ALONE: Final = frozenset({"specificity", "roc_auc", "mcc"})
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
