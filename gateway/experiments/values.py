"""The number of each row that an experiment adds up: a figure of its outcome, or a metric's.

Knows the words of a record, and numbers beside it. Knows nothing of arms, or of time.
"""

from __future__ import annotations

import numpy as np

from gateway.config.experiments import Figure, Measure
from gateway.experiments.sums import Reals
from kernels.ledger import OUTCOME, SCORE, TOP_AND_CORRECTIONS, Words
from kernels.performance import BINARY, VALUE

KINDS: dict[Figure, frozenset[str]] = {
    "outcome": frozenset({"binary", "value"}),
    "accuracy": frozenset({"binary", "multiclass"}),
    "error_rate": frozenset({"binary", "multiclass"}),
    "squared_error": frozenset({"binary", "value"}),
    "absolute_error": frozenset({"value"}),
}
"""The kinds of scores that a figure is of."""


def values_of(records: Words, measure: Measure, numbers: Reals | None, threshold: float) -> Reals:
    """(records,) a number each, NaN where it is not known.

    Args:
        records: (records, ledger.RECORD_WORDS).
        measure: what is wanted.
        numbers: (records,) of its metric, NaN where nothing is known; None: of no row.
        threshold: above which a positive class is predicted.
    """
    if measure.metric is not None:
        found = np.full(len(records), np.nan) if numbers is None else numbers
    else:
        found = _figure(records, measure.name, threshold)
    return np.where(np.isnan(found), 0.0, found) if measure.absent == "zero" else found


def _figure(records: Words, name: str, threshold: float) -> Reals:
    reals = np.ascontiguousarray(records).view(np.float64)
    scores, outcomes = reals[:, SCORE], reals[:, OUTCOME]
    if name == "outcome":
        return outcomes
    if name == "squared_error":
        return (scores - outcomes) ** 2
    if name == "absolute_error":
        return np.abs(scores - outcomes)
    right = _right(records[:, TOP_AND_CORRECTIONS] >> 32, scores, outcomes, threshold)
    return right if name == "accuracy" else 1.0 - right


def _right(tops: Words, scores: Reals, outcomes: Reals, threshold: float) -> Reals:
    """1 where what was predicted came, 0 where not; NaN of values, and where nothing is known."""
    hit = np.where(tops == BINARY, (scores > threshold) == (outcomes == 1.0), outcomes == tops)
    return np.where((tops == VALUE) | np.isnan(outcomes) | np.isnan(scores), np.nan, hit)
