"""How well more than two classes are told apart, by the class with the highest score.

Knows sums (`kernels.performance`). Knows nothing of scores, nor of the names of classes. What a
model gave the other classes is not written down, so figures of all probabilities do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.outcomes.correlation import mcc
from gateway.outcomes.intervals import ALPHA, Figure, Figures, Interval, rate, rate_intervals
from kernels.performance import (
    ACTUAL,
    FP,
    OTHER_CLASSES,
    PREDICTED,
    TP,
    Reals,
)

_RATES = ("precision", "recall", "f1")


@dataclass(frozen=True, slots=True)
class ClassLine:
    """One class of several.

    Attributes:
        number: of the class.
        predicted, actual, right: records where it was the top, the outcome, and both.
        precision, recall, f1: of it.
        intervals: of those of these that exist, each by itself.
    """

    number: int
    predicted: int
    actual: int
    right: int
    precision: float | None
    recall: float | None
    f1: float | None
    intervals: dict[str, Interval]


def classes(totals: Reals, counts: Reals, alpha: float = ALPHA) -> tuple[Figures, list[ClassLine]]:
    """Figures of all classes, and those of each that came up."""
    numbers = np.flatnonzero(counts[:, [PREDICTED, ACTUAL]].any(axis=1))
    some = counts[numbers]
    own = _intervals(some, np.full(len(some), alpha))
    right, wrong = totals[TP], totals[FP]
    found = {"accuracy": rate(right, right + wrong, alpha)}
    lines = [
        _line(number, one, ends)
        for number, one, ends in zip(numbers.tolist(), some.tolist(), own, strict=True)
    ]
    if lines and not totals[OTHER_CLASSES]:
        found |= _of_all(numbers, counts, lines, found["accuracy"], alpha)
    return found, lines


def _line(number: int, counts: list[float], ends: Reals) -> ClassLine:
    predicted, actual, right = counts
    precision, recall = right / predicted if predicted else None, right / actual if actual else None
    f1 = 2.0 * right / (predicted + actual)
    known = zip(_RATES, (precision, recall, f1), ends.tolist(), strict=True)
    intervals = {name: (low, high) for name, value, (low, high) in known if value is not None}
    whole = int(predicted), int(actual), int(right)
    return ClassLine(number, *whole, precision, recall, f1, intervals)


def _of_all(
    numbers: Any, counts: Reals, lines: list[ClassLine], accuracy: Figure, alpha: float
) -> Figures:
    """Means over the classes that came up; what does not exist of one counts as 0."""
    some = counts[numbers]
    n = int(some[:, ACTUAL].sum())
    # Numbers of classes are fixed beforehand, which classes come up is not: each has its share of
    # alpha, the first a half, the next a sixth, then a twelfth; all of them together are alpha.
    each = _intervals(some, alpha / ((numbers + 1.0) * (numbers + 2.0)))
    found: Figures = {}
    plain, by_outcomes = np.full(len(some), 1.0 / len(some)), some[:, ACTUAL] / n
    present = some[:, ACTUAL] > 0.0
    for place, name in enumerate(_RATES):
        known = [getattr(line, name) for line in lines]
        ends = each[:, place]
        found[name] = _mean(known, ends, plain, n)
        found[f"{name}_weighted"] = _mean(known, ends, by_outcomes, n)
        if name == "recall":
            found["balanced_accuracy"] = _mean(known, ends, present / present.sum(), n)
    found["recall_weighted"] = accuracy  # the same
    found["mcc"] = mcc(counts, alpha)
    return found


def _mean(known: list[float | None], ends: Reals, weights: Reals, n: int) -> Figure:
    exists = np.array([one is not None for one in known])
    value = (np.array([one or 0.0 for one in known]) * weights).sum()
    low, high = (ends[exists] * weights[exists, None]).sum(axis=0).tolist()
    # Of a class that came up, but not so that this exists, anything may turn out.
    return Figure(float(value), n, (low, min(high + float(weights[~exists].sum()), 1.0)))


def _intervals(some: Reals, alphas: Reals) -> Reals:
    """(classes, rates, 2) of each of _RATES."""
    predicted, actual, right = some.T
    trials = np.stack((predicted, actual, predicted + actual - right), axis=1)
    hits = np.repeat(right[:, None], len(_RATES), axis=1)
    ends = np.stack(rate_intervals(hits, trials, alphas[:, None]), axis=2)
    shares = ends[:, 2]
    ends[:, 2] = 2.0 * shares / (1.0 + shares)
    return ends
