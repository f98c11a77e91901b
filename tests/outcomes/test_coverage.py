"""Intervals of whole reports hold for whoever looks at them again and again, and are of use."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from gateway.outcomes.figures import performance
from kernels.performance import BINARY, VALUE, add, no_sums
from tests.outcomes.records import NOON_MS, records

RUNS, LOOKS = 40, (120, 400, 1000, 4000)
# 2 of 40 are to be expected at most; three standard deviations more would be chance.
MAX_MISSED = 2 + 3 * math.sqrt(1.9)


def binary(rng, count):
    """Scores that are a little too high, of rows that are mostly negative."""
    scores = rng.beta(0.4, 1.2, count)
    return scores, (rng.random(count) < scores**1.3).astype(float), BINARY


def classes(rng, count):
    probabilities = rng.dirichlet((0.3, 0.6, 0.9), count)
    edges = (probabilities**1.4).cumsum(axis=1)
    drawn = rng.random(count) * edges[:, -1]
    outcomes = (edges < drawn[:, None]).sum(axis=1).astype(float)
    return probabilities.max(axis=1), outcomes, probabilities.argmax(axis=1)


def values(rng, count):
    outcomes = rng.gamma(2.0, 3.0, count)
    return outcomes + rng.normal(0.2, 1.0, count) * (1.0 + outcomes / 10.0), outcomes, VALUE


WITHOUT = {"binary": {"roc_auc_error"}, "multiclass": set(), "value": set()}
# Of 4,000 rows, the widest interval that is of use.
USEFUL = {
    "binary": {"accuracy": 0.06, "precision": 0.12, "recall": 0.12, "f1": 0.1, "mcc": 0.25}
    | {"brier_resolution": 0.1, "brier_within_bins": 0.01}
    | {"roc_auc": 0.15, "log_loss": 0.08, "brier": 0.04, "ece": 0.08, "calibration_slope": 0.3},
    "multiclass": {"accuracy": 0.06, "f1": 0.15, "ece": 0.08, "log_loss": 0.1}
    | {"brier_resolution": 0.1, "brier_within_bins": 0.01, "mcc": 0.45},
    "value": {
        "mae": 0.12,
        "rmse": 0.2,
        "bias": 0.2,
        "r2": 0.15,
        "residual_p50": 0.3,
        "mean_score": 0.7,
    },
}


@pytest.mark.parametrize(
    ("kind", "draw"), [("binary", binary), ("multiclass", classes), ("value", values)]
)
def test_every_interval_holds_at_all_looks_and_is_of_use(kind, draw):
    rng = np.random.default_rng(12)
    truth = figures_of(no_sums(), *draw(rng, 1_000_000)).figures
    missed: Counter[str] = Counter()
    for _ in range(RUNS):
        wrong, sums, before = set(), no_sums(), 0
        scores, outcomes, tops = draw(rng, LOOKS[-1])
        for look in LOOKS:
            part = slice(before, look)
            some = tops if isinstance(tops, int) else tops[part]
            found = figures_of(sums, scores[part], outcomes[part], some)
            wrong |= {
                name
                for name, (low, high) in found.intervals.items()
                if not low <= truth[name] <= high
            }
            before = look
        missed.update(wrong)
    assert max(missed.values(), default=0) <= MAX_MISSED, missed
    there = {name for name, value in found.figures.items() if value is not None}
    assert there - found.intervals.keys() == found.without_interval.keys() == WITHOUT[kind]
    assert found.n.keys() == there
    assert all(low <= found.figures[name] <= high for name, (low, high) in found.intervals.items())
    widths = {name: high - low for name, (low, high) in found.intervals.items()}
    assert {name: w for name, w in widths.items() if w > USEFUL[kind].get(name, 1.0)} == {}


def figures_of(sums, scores, outcomes, tops):
    words = records(range(len(scores)), scores=scores, tops=tops, outcomes=outcomes)
    add(sums, words, 1, 0, 2 * NOON_MS)
    return performance(sums)
