"""How right a model was: every figure of what the records of a time add up to.

Knows sums (`kernels.performance`). Knows nothing of where they come from, of models or of time.

A figure that does not exist, for want of outcomes or of one class among them, is None. Calibration
is that of the positive class' probability or, with more classes, of the top class' being right.

Sources: Brier (1950) and, for its parts within bins, Murphy (1973) and Stephenson, Coelho and
Jolliffe (2008); ECE as Guo et al. (2017) have it; the debiased error of Kumar, Liang and Ma (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from gateway.outcomes.intervals import rate_interval
from kernels.performance import (
    ABS_ERROR,
    ACTUAL,
    AROUND_MEAN,
    BINARIES,
    BINS,
    CORRECTED,
    DELAY_MS,
    ERROR,
    FN,
    FP,
    LABELLED,
    LOG_LOSS,
    MAX_DELAY_MS,
    MEAN,
    OTHER_CLASSES,
    PREDICTED,
    RECORDS,
    RIGHT,
    SQ_ERROR,
    SS,
    SY,
    TN,
    TP,
    UNSCORED,
    VALUES,
    N,
    Reals,
    S,
    Sums,
    Y,
)

CALIBRATION_BINS: Final = 15
NAMES: Final = (
    *("accuracy", "precision", "recall", "f1", "log_loss", "brier"),
    *("roc_auc", "roc_auc_error", "mean_score", "mean_outcome"),
    *("ece", "ece_equal_mass", "mce", "calibration_error_debiased"),
    *("brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within_bins"),
    *("mae", "rmse", "bias", "r2"),
)
Figures = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Bin:
    """Outcomes of scores in (the bin before, `le`].

    Attributes:
        le: its upper edge.
        n: outcomes.
        mean_score, mean_outcome: of them; None where there are none.
    """

    le: float
    n: int
    mean_score: float | None
    mean_outcome: float | None


@dataclass(frozen=True, slots=True)
class ClassLine:
    """One class of several.

    Attributes:
        number: of the class.
        predicted, actual, right: records where it was the top, the outcome, and both.
        precision, recall, f1: of it.
    """

    number: int
    predicted: int
    actual: int
    right: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Performance:
    """All that is known of how right a model was.

    Attributes:
        kind: binary, multiclass, value, or several (mixed); None without outcomes.
        records: answered.
        unscored: of them, whose score is not a number or is no probability.
        labelled: of them, whose outcome is known: what every figure is of.
        corrected: of those, whose outcome was replaced.
        coverage: share of records that are labelled.
        delay_mean_s: from an answer to its outcome, on average.
        delay_max_s: the longest.
        figures: by NAMES.
        intervals: of those that are rates, valid under continuous watching.
        reliability: calibration by bins.
        classes: those of several that came up.
        other_classes: outcomes of classes that are too many to be counted one by one.
    """

    kind: str | None
    records: int
    unscored: int
    labelled: int
    corrected: int
    coverage: float | None
    delay_mean_s: float | None
    delay_max_s: float | None
    figures: Figures
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    reliability: list[Bin] = field(default_factory=list)
    classes: list[ClassLine] = field(default_factory=list)
    other_classes: int = 0


def performance(sums: Sums) -> Performance:
    """Every figure of some records."""
    totals = sums.totals
    kind = _kind(totals)
    figures: Figures = dict.fromkeys(NAMES)
    classes = _classes(sums.classes) if kind == "multiclass" else []
    intervals: dict[str, tuple[float, float] | None] = {}
    if kind == "value":
        figures |= _of_values(totals)
    elif kind in ("binary", "multiclass"):
        figures |= _of_calibration(sums.bins)
        figures["accuracy"] = _ratio(totals[TP] + totals[TN], totals[LABELLED])
        intervals["accuracy"] = rate_interval(totals[TP] + totals[TN], totals[LABELLED])
        if kind == "binary":
            figures |= _of_two(totals, sums.bins)
            intervals["precision"] = rate_interval(totals[TP], totals[TP] + totals[FP])
            intervals["recall"] = rate_interval(totals[TP], totals[TP] + totals[FN])
        else:
            figures |= _macro(classes)
    labelled = totals[LABELLED]
    delays = (None, None)
    if labelled:
        delays = (totals[DELAY_MS] / labelled / 1000.0, totals[MAX_DELAY_MS] / 1000.0)
    return Performance(
        kind=kind,
        records=int(totals[RECORDS]),
        unscored=int(totals[UNSCORED]),
        labelled=int(labelled),
        corrected=int(totals[CORRECTED]),
        coverage=_ratio(labelled, totals[RECORDS]),
        delay_mean_s=delays[0],
        delay_max_s=delays[1],
        figures={name: None if value is None else float(value) for name, value in figures.items()},
        intervals=intervals,
        reliability=_reliability(sums.bins) if kind in ("binary", "multiclass") else [],
        classes=classes,
        other_classes=int(totals[OTHER_CLASSES]),
    )


def _kind(totals: Reals) -> str | None:
    labelled, binaries, values = totals[LABELLED], totals[BINARIES], totals[VALUES]
    if not labelled:
        return None
    if binaries == labelled:
        return "binary"
    if values == labelled:
        return "value"
    return "multiclass" if not binaries and not values else "mixed"


def _of_two(totals: Reals, bins: Reals) -> Figures:
    tp, fp, fn = totals[TP], totals[FP], totals[FN]
    labelled = totals[LABELLED]
    auc, error = _roc_auc(bins)
    # Outcomes are 0 and 1: their squares are themselves.
    squares = bins[:, SS].sum() - 2.0 * bins[:, SY].sum() + bins[:, Y].sum()
    return {
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2.0 * tp, 2.0 * tp + fp + fn),
        "log_loss": _ratio(totals[LOG_LOSS], labelled),
        "brier": _ratio(squares, labelled),
        "roc_auc": auc,
        "roc_auc_error": error,
        **_brier_parts(bins),
    }


def _roc_auc(bins: Reals) -> tuple[float | None, float | None]:
    """The area, and how far it may lie from that of the scores themselves.

    Pairs in one bin count half; by their scores they could count 0 to 1.
    """
    positive, negative = bins[:, Y], bins[:, N] - bins[:, Y]
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return None, None
    above = positive.sum() - positive.cumsum()
    tied = (positive * negative).sum() / 2.0
    return ((above * negative).sum() + tied) / pairs, tied / pairs


def _brier_parts(bins: Reals) -> Figures:
    """Reliability - resolution + uncertainty + what scores vary within bins is the Brier score."""
    joined = _joined(bins)
    n, rates, scores = joined[:, N], _means(joined, Y), _means(joined, S)
    total = n.sum()
    rate = joined[:, Y].sum() / total
    spread = joined[:, SS] - n * scores**2
    together = joined[:, SY] - n * scores * rates
    return {
        "brier_reliability": (n * (scores - rates) ** 2).sum() / total,
        "brier_resolution": (n * (rates - rate) ** 2).sum() / total,
        "brier_uncertainty": rate * (1.0 - rate),
        "brier_within_bins": (spread - 2.0 * together).sum() / total,
    }


def _of_calibration(bins: Reals) -> Figures:
    joined = _joined(bins)
    n = joined[:, N]
    total = n.sum()
    apart = np.abs(_means(joined, S) - _means(joined, Y))
    equal = _joined(bins, _equal_mass(bins[:, N]))
    equal_apart = np.abs(_means(equal, S) - _means(equal, Y))
    return {
        "mean_score": joined[:, S].sum() / total,
        "mean_outcome": joined[:, Y].sum() / total,
        "ece": (n * apart).sum() / total,
        "ece_equal_mass": (equal[:, N] * equal_apart).sum() / total,
        "mce": apart.max(),
        "calibration_error_debiased": _debiased(joined),
    }


def _debiased(joined: Reals) -> float | None:
    """Squared calibration error without what chance adds to it; about 0 where there is none."""
    some = joined[joined[:, N] > 1.0]
    if not len(some):
        return None
    n, rates, scores = some[:, N], _means(some, Y), _means(some, S)
    noise = rates * (1.0 - rates) / (n - 1.0)
    return float((n * ((scores - rates) ** 2 - noise)).sum() / n.sum())


def _of_values(totals: Reals) -> Figures:
    n, squares, around = totals[VALUES], totals[SQ_ERROR], totals[AROUND_MEAN]
    return {
        "mae": totals[ABS_ERROR] / n,
        "rmse": math.sqrt(squares / n),
        "bias": totals[ERROR] / n,
        "r2": 1.0 - squares / around if around > 0.0 else None,
        "mean_outcome": totals[MEAN],
        "mean_score": totals[MEAN] + totals[ERROR] / n,
    }


def _classes(counts: Reals) -> list[ClassLine]:
    lines = []
    for number in np.flatnonzero(counts[:, [PREDICTED, ACTUAL]].any(axis=1)).tolist():
        predicted, actual, right = counts[number, [PREDICTED, ACTUAL, RIGHT]].tolist()
        lines.append(
            ClassLine(
                number,
                int(predicted),
                int(actual),
                int(right),
                _ratio(right, predicted),
                _ratio(right, actual),
                _ratio(2.0 * right, predicted + actual),
            )
        )
    return lines


def _macro(classes: list[ClassLine]) -> Figures:
    """Plain means over the classes that came up; what does not exist of one counts as 0."""
    if not classes:
        return {}
    return {
        name: sum(getattr(one, name) or 0.0 for one in classes) / len(classes)
        for name in ("precision", "recall", "f1")
    }


def _reliability(bins: Reals) -> list[Bin]:
    joined = _joined(bins)
    lines = []
    for number, one in enumerate(joined):
        n = one[N]
        means = (one[S] / n, one[Y] / n) if n else (None, None)
        lines.append(Bin((number + 1) / len(joined), int(n), *means))
    return lines


def _equal_mass(n: Reals) -> Any:
    """Which of CALIBRATION_BINS each bin goes to, whole, so that they hold about as many."""
    middles = n.cumsum() - n / 2.0
    return np.minimum(middles * CALIBRATION_BINS / n.sum(), CALIBRATION_BINS - 1).astype(np.int64)


def _joined(bins: Reals, places: Any = None) -> Reals:
    """(CALIBRATION_BINS, BIN_SUMS): bins joined to few; of equal width where no places are said."""
    if places is None:
        places = np.arange(BINS) * CALIBRATION_BINS // BINS
    joined = np.zeros((CALIBRATION_BINS, bins.shape[1]))
    np.add.at(joined, places, bins)
    return joined


def _means(bins: Reals, of: int) -> Reals:
    """Of each bin; 0 of an empty one."""
    means: Reals = bins[:, of] / np.maximum(bins[:, N], 1.0)
    return means


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
