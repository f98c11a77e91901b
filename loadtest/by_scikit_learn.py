"""Figures of outcomes as scikit-learn has them, for tests and benchmarks to hold ours against.

Knows scores and outcomes. Knows nothing of records, of sums or of servers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sklearn import metrics

Reals = np.ndarray[Any, np.dtype[np.float64]]
Figures = dict[str, float]

_NOTHING: Final = {"zero_division": 0.0}
_EACH: Final = ("precision", "recall", "f1")


def binary(scores: Reals, outcomes: Reals, threshold: float = 0.5) -> Figures:
    said = scores > threshold
    recalls = [metrics.recall_score(outcomes, said, pos_label=one, **_NOTHING) for one in (1, 0)]
    both = 0.0 < outcomes.mean() < 1.0
    return {
        "accuracy": metrics.accuracy_score(outcomes, said),
        "precision": metrics.precision_score(outcomes, said, **_NOTHING),
        "recall": recalls[0],
        "specificity": recalls[1],
        "f1": metrics.f1_score(outcomes, said, **_NOTHING),
        "balanced_accuracy": metrics.balanced_accuracy_score(outcomes, said) if both else 0.0,
        "mcc": metrics.matthews_corrcoef(outcomes, said),
        "log_loss": metrics.log_loss(outcomes, scores, labels=[0, 1]),
        "brier": metrics.brier_score_loss(outcomes, scores),
    }


def multiclass(scores: Reals, outcomes: Reals, tops: Any) -> Figures:
    """Of the class with the highest score, and of that score being right."""
    found = {
        "accuracy": metrics.accuracy_score(outcomes, tops),
        "balanced_accuracy": metrics.balanced_accuracy_score(outcomes, tops),
        "mcc": metrics.matthews_corrcoef(outcomes, tops),
        "brier": metrics.brier_score_loss(outcomes == tops, scores),
        "log_loss": metrics.log_loss(outcomes == tops, scores, labels=[0, 1]),
    }
    for average, ending in (("macro", ""), ("weighted", "_weighted")):
        means = metrics.precision_recall_fscore_support(outcomes, tops, average=average, **_NOTHING)
        found |= dict(zip((f"{name}{ending}" for name in _EACH), means[:3], strict=True))
    return found


def classes(outcomes: Reals, tops: Any) -> Reals:
    """(classes, 4): precision, recall, F1 and how often each came."""
    return np.array(metrics.precision_recall_fscore_support(outcomes, tops, **_NOTHING)).T


def values(scores: Reals, outcomes: Reals) -> Figures:
    return {
        "mae": metrics.mean_absolute_error(outcomes, scores),
        "rmse": metrics.root_mean_squared_error(outcomes, scores),
        "r2": metrics.r2_score(outcomes, scores),
        "bias": float((scores - outcomes).mean()),
        "mean_score": float(scores.mean()),
        "mean_outcome": float(outcomes.mean()),
    }


def residual_quantiles(scores: Reals, outcomes: Reals) -> Figures:
    """What the quantiles of the error are to be within 1/64 of."""
    errors = scores - outcomes
    return {
        f"residual_p{share:02}": float(np.quantile(errors, share / 100, method="inverted_cdf"))
        for share in (5, 25, 50, 75, 95)
    }


def roc_auc(scores: Reals, outcomes: Reals) -> float:
    return float(metrics.roc_auc_score(outcomes, scores))
