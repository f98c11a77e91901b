"""Figures as scikit-learn has them."""

from __future__ import annotations

import numpy as np
import pytest

_NOTHING = {"zero_division": 0.0}
_EACH = ("precision", "recall", "f1")


def binary_by_scikit_learn(scores, outcomes, threshold):
    metrics = pytest.importorskip("sklearn.metrics")
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


def multiclass_by_scikit_learn(scores, outcomes, tops):
    """Of the class with the highest score, and of that score being right."""
    metrics = pytest.importorskip("sklearn.metrics")
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


def classes_by_scikit_learn(outcomes, tops):
    """(classes, 4): precision, recall, F1 and how often each came."""
    metrics = pytest.importorskip("sklearn.metrics")
    return np.array(metrics.precision_recall_fscore_support(outcomes, tops, **_NOTHING)).T


def values_by_scikit_learn(scores, outcomes):
    metrics = pytest.importorskip("sklearn.metrics")
    return {
        "mae": metrics.mean_absolute_error(outcomes, scores),
        "rmse": metrics.root_mean_squared_error(outcomes, scores),
        "r2": metrics.r2_score(outcomes, scores),
        "bias": float((scores - outcomes).mean()),
        "mean_score": float(scores.mean()),
        "mean_outcome": float(outcomes.mean()),
    }


def residual_quantiles(scores, outcomes):
    """What the quantiles of the error are to be within 1/64 of."""
    return {
        f"residual_p{share:02}": np.quantile(scores - outcomes, share / 100, method="inverted_cdf")
        for share in (5, 25, 50, 75, 95)
    }
