"""How right a model probably was, before anybody knows: from its own probabilities.

Knows sums (`kernels.performance`) and a calibrator's table. Knows nothing of where that comes from.

Where scores are probabilities, of the rows predicted positive with a sum of probabilities c so many
are expected to be positive: expected counts of right and wrong, and every figure that is made of
counts, follow from sums over all rows, labelled or not. True only as long as a score means what it
meant when the calibrator was fitted: a concept that drifts is not seen.

Source: confidence-based performance estimation, as NannyML's documentation describes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from gateway.outcomes.binary import area_of
from gateway.outcomes.intervals import Figure, Interval, known_radius
from kernels.performance import (
    ALL_BINARIES,
    ALL_N,
    ALL_S,
    ALL_SS,
    ALL_VALUES,
    BINARIES,
    BINS,
    CHOSEN,
    CHOSEN_S,
    CHOSEN_SS,
    FP,
    LABELLED,
    LABELLED_CHOSEN_S,
    LABELLED_CHOSEN_SS,
    RECORDS,
    SS,
    THRESHOLD,
    TP,
    UNSCORED,
    N,
    Reals,
    S,
    Sums,
)


class Calibrator(NamedTuple):
    """What makes scores probabilities.

    Attributes:
        calibrated: somebody held scores against labels.
        table: (BINS,) the probability of scores in each bin; None: scores as they are.
    """

    calibrated: bool = False
    table: Reals | None = None


UNCHECKED: Final = Calibrator()


@dataclass(frozen=True, slots=True)
class Beside:
    """An estimate beside the truth, of the same rows.

    Attributes:
        estimated, realised: the figure.
        difference: realised less estimated.
        low, high: where the realised one would lie, did scores mean what they say.
    """

    estimated: float
    realised: float
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected.

    Attributes:
        calibrated: scores were held against labels when the profile was made.
        rows: with a score: all of these are estimated of.
        labelled: of them, whose outcome is known.
        figures: by name; None where there is nothing to divide by.
        bands: where the truth of these rows would lie, by chance of their outcomes alone.
        beside: by name, of labelled rows alone.
    """

    calibrated: bool
    rows: int
    labelled: int
    figures: dict[str, float | None]
    bands: dict[str, Interval | None]
    beside: dict[str, Beside]


class _Rows(NamedTuple):
    """Rows as they are expected to be; the first line those predicted positive.

    Attributes:
        n: (2, BINS) how many.
        c: (2, BINS) positive ones, expected.
        v: (2, BINS) their variance.
    """

    n: Reals
    c: Reals
    v: Reals


def estimate(
    sums: Sums,
    realised: Mapping[str, Figure],
    calibrator: Calibrator = UNCHECKED,
    threshold: float = THRESHOLD,
) -> Estimate | None:
    """What is to be expected of some records; None where they hold no probabilities, or some.

    Args:
        sums: of the records.
        realised: figures of those with an outcome.
        calibrator: of the scores.
        threshold: the one that the records were added up by.
    """
    totals, bins = sums.totals, sums.bins
    rows = int(totals[RECORDS] - totals[UNSCORED])
    binaries = int(totals[ALL_BINARIES])
    if not rows or totals[ALL_VALUES] or binaries not in (0, rows):
        return None
    read = _decisions if binaries else _tops
    whole = (bins[:, [ALL_N, ALL_S, ALL_SS]], totals[[CHOSEN, CHOSEN_S, CHOSEN_SS]])
    found = read(_rows(*whole, threshold, calibrator.table))
    beside = {}
    if labelled := int(totals[LABELLED]):
        chosen = totals[TP] + totals[FP] if totals[BINARIES] else 0.0
        sides = np.array((chosen, *totals[[LABELLED_CHOSEN_S, LABELLED_CHOSEN_SS]]))
        of_them = read(_rows(bins[:, [N, S, SS]], sides, threshold, calibrator.table))
        beside = _beside(of_them, realised)
    return Estimate(
        calibrated=calibrator.calibrated,
        rows=rows,
        labelled=labelled,
        figures={name: one.value for name, one in found.items()},
        bands={name: one.interval for name, one in found.items()},
        beside=beside,
    )


def _beside(found: Mapping[str, Figure], realised: Mapping[str, Figure]) -> dict[str, Beside]:
    lines = {}
    for name, one in found.items():
        truth = realised[name].value if name in realised else None
        if one.value is not None and truth is not None:
            ends = one.interval or (None, None)
            lines[name] = Beside(one.value, truth, truth - one.value, *ends)
    return lines


# ---- rows ---------------------------------------------------------------------------------------


def _rows(bins: Reals, chosen: Reals, threshold: float, table: Reals | None) -> _Rows:
    """Rows of bins, parted by what was predicted.

    Args:
        bins: (BINS, 3) counts, scores, squares.
        chosen: (3,) the same of all that are predicted positive.
        threshold: that they lie above.
        table: of a calibrator.
    """
    edge = max(math.ceil(threshold * BINS) - 1, 0)
    positive = np.where(np.arange(BINS)[:, None] > edge, bins, 0.0)
    # The threshold may lie within a bin. What was forgotten may be of another one, so what is left
    # for this bin is not taken for more than it holds.
    positive[edge] = np.clip(chosen - positive.sum(axis=0), 0.0, bins[edge])
    n, s, ss = np.stack((positive, bins - positive)).transpose(2, 0, 1)
    if table is None:
        return _Rows(n, s, np.maximum(s - ss, 0.0))
    return _Rows(n, n * table, n * table * (1.0 - table))


# ---- figures ------------------------------------------------------------------------------------


def _tops(rows: _Rows) -> dict[str, Figure]:
    """Of the top class: how often it is right."""
    n = rows.n.sum()
    return {"accuracy": _figure(rows, rows.c.sum(), n, lambda value: np.full((2, 1), 1.0) / n)}


def _decisions(rows: _Rows) -> dict[str, Figure]:
    """Each with what an outcome of 1 in the place of 0 adds to it."""
    n, p = rows.n.sum(), rows.c.sum()
    chosen, rest = rows.n.sum(axis=1)
    tp, fn = rows.c.sum(axis=1)
    first, second = np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]])
    return {
        "accuracy": _figure(rows, tp + rest - fn, n, lambda _: (first - second) / n),
        "precision": _figure(rows, tp, chosen, lambda _: first / chosen),
        "recall": _figure(rows, tp, p, lambda value: (first - value) / p),
        "specificity": _figure(rows, rest - fn, n - p, lambda value: (value - second) / (n - p)),
        "f1": _figure(rows, 2.0 * tp, chosen + p, lambda value: (2 * first - value) / (chosen + p)),
        "mean_outcome": _figure(rows, p, n, lambda _: (first + second) / n),
        "roc_auc": _roc_auc(rows),
    }


def _roc_auc(rows: _Rows) -> Figure:
    positive, n = rows.c.sum(axis=0), rows.n.sum(axis=0)
    negative = np.maximum(n - positive, 0.0)
    p, q = positive.sum(), negative.sum()
    if not p * q:
        return Figure(None, int(n.sum()))
    below = negative.cumsum() - negative / 2.0
    above = p - positive.cumsum() + positive / 2.0
    area = area_of(positive, negative)
    weights = ((below - above) / (p * q) - area / p + area / q)[None, :]
    return _figure(rows, area, 1.0, lambda _: weights)


def _figure(rows: _Rows, part: float, whole: float, weights: Callable[[float], Reals]) -> Figure:
    n = int(rows.n.sum())
    if not whole:
        return Figure(None, n)
    value = float(part / whole)
    each = np.where(rows.n > 0.0, weights(value), 0.0)
    variance, largest = float((each**2 * rows.v).sum()), float(np.abs(each).max())
    radius = known_radius(variance, largest) if largest else 0.0
    return Figure(value, n, (max(value - radius, 0.0), min(value + radius, 1.0)))
