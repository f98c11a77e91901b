"""Figures as scikit-learn has them."""

from __future__ import annotations

import pytest


def binary_by_scikit_learn(scores, outcomes, threshold):
    metrics = pytest.importorskip("sklearn.metrics")
    said, nothing = scores > threshold, {"zero_division": 0.0}
    recalls = [metrics.recall_score(outcomes, said, pos_label=label, **nothing) for label in (1, 0)]
    both = 0.0 < outcomes.mean() < 1.0
    return {
        "accuracy": metrics.accuracy_score(outcomes, said),
        "precision": metrics.precision_score(outcomes, said, **nothing),
        "recall": recalls[0],
        "specificity": recalls[1],
        "f1": metrics.f1_score(outcomes, said, **nothing),
        "balanced_accuracy": metrics.balanced_accuracy_score(outcomes, said) if both else 0.0,
        "mcc": metrics.matthews_corrcoef(outcomes, said),
        "log_loss": metrics.log_loss(outcomes, scores, labels=[0, 1]),
        "brier": metrics.brier_score_loss(outcomes, scores),
    }
