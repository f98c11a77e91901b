"""How right a model was: every figure of what the records of a time add up to.

Knows sums (`kernels.performance`) and which room makes which figures of them. Knows nothing of
where they come from, of models or of time.

A figure that does not exist, for want of outcomes or of one class among them, is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gateway.outcomes import values
from gateway.outcomes.binary import confusion, decisions, roc_auc
from gateway.outcomes.calibration import Bin, calibration, reliability
from gateway.outcomes.classes import ClassLine, classes
from gateway.outcomes.estimate import UNCHECKED, Calibrator, Estimate, estimate
from gateway.outcomes.intervals import ALPHA, MIN_ASYMPTOTIC, Figure, Figures, Interval
from kernels import histogram
from kernels.performance import (
    BINARIES,
    CORRECTED,
    DELAY_MS,
    LABELLED,
    MAX_DELAY_MS,
    OTHER_CLASSES,
    RECORDS,
    THRESHOLD,
    UNSCORED,
    VALUES,
    Reals,
    Sums,
)

NAMES: Final = (
    *("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy", "mcc"),
    *("precision_weighted", "recall_weighted", "f1_weighted"),
    *("log_loss", "brier", "roc_auc", "roc_auc_error", "mean_score", "mean_outcome"),
    *("ece", "ece_equal_mass", "mce", "calibration_error_debiased"),
    *("calibration_in_the_large", "calibration_slope", "calibration_intercept"),
    *("brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within_bins"),
    *("mae", "rmse", "bias", "r2"),
    *(f"residual_{name}" for name in values.QUANTILES),
)
_DELAYS: Final = {"delay_p50_s": 0.5, "delay_p95_s": 0.95, "delay_p99_s": 0.99}


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
        delay_mean_s, delay_max_s: from answers to their outcomes; None without any.
        delay_p50_s, delay_p95_s, delay_p99_s: within 0.8 %, or 8 ms below a second.
        figures: by NAMES.
        n: of how many rows each is that exists.
        intervals: of those that have one, valid under continuous watching.
        without_interval: why each of the others has none.
        threshold: above which the positive class is predicted; None but for binary.
        confusion: tp, fp, tn, fn; None but for binary.
        reliability: calibration by bins.
        classes: those of several that came up.
        other_classes: outcomes of classes that are too many to be counted one by one.
        estimate: of all records that have a score, from their scores; None where these are no
            probabilities.
    """

    kind: str | None
    records: int
    unscored: int
    labelled: int
    corrected: int
    coverage: float | None
    delay_mean_s: float | None
    delay_max_s: float | None
    delay_p50_s: float | None
    delay_p95_s: float | None
    delay_p99_s: float | None
    figures: dict[str, float | None]
    n: dict[str, int] = field(default_factory=dict)
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    without_interval: dict[str, str] = field(default_factory=dict)
    threshold: float | None = None
    confusion: dict[str, int] | None = None
    reliability: list[Bin] = field(default_factory=list)
    classes: list[ClassLine] = field(default_factory=list)
    other_classes: int = 0
    estimate: Estimate | None = None


def performance(
    sums: Sums,
    threshold: float = THRESHOLD,
    calibrator: Calibrator = UNCHECKED,
    alpha: float = ALPHA,
) -> Performance:
    """Every figure of some records.

    Args:
        sums: of the records.
        threshold: the one that they were added up by.
        calibrator: what an estimate is made with.
        alpha: how often what a figure is of may ever lie outside of its interval.
    """
    totals = sums.totals
    kind = _kind(totals)
    found, lines = _figures(kind, sums, alpha)
    labelled, records = int(totals[LABELLED]), int(totals[RECORDS])
    known = {name: one for name, one in found.items() if one.value is not None}
    return Performance(
        kind=kind,
        records=records,
        unscored=int(totals[UNSCORED]),
        labelled=labelled,
        corrected=int(totals[CORRECTED]),
        coverage=labelled / records if records else None,
        **_delays(totals, sums.delays),
        figures=dict.fromkeys(NAMES) | {name: one.value for name, one in found.items()},
        n={name: one.n for name, one in known.items()},
        intervals={name: one.interval for name, one in known.items() if one.interval is not None},
        without_interval={
            name: _why(name, one.n) for name, one in known.items() if one.interval is None
        },
        threshold=threshold if kind == "binary" else None,
        confusion=confusion(totals) if kind == "binary" else None,
        reliability=reliability(sums.bins) if kind in ("binary", "multiclass") else [],
        classes=lines,
        other_classes=int(totals[OTHER_CLASSES]),
        estimate=estimate(sums, found, calibrator, threshold),
    )


def _why(name: str, n: int) -> str:
    """Why a figure of so many rows has no interval."""
    if name == "roc_auc_error":
        return "exact: how far bins put the area off"
    if name.startswith("residual_"):
        return "too few rows to have one surely below it and one surely above"
    if n < MIN_ASYMPTOTIC:
        return f"fewer than {MIN_ASYMPTOTIC} rows"
    return "the sums of these rows are too large, or outcomes may not vary at all"


def _kind(totals: Reals) -> str | None:
    labelled, binaries, numbers = totals[LABELLED], totals[BINARIES], totals[VALUES]
    if not labelled:
        return None
    if binaries == labelled:
        return "binary"
    if numbers == labelled:
        return "value"
    return "multiclass" if not binaries and not numbers else "mixed"


def _figures(kind: str | None, sums: Sums, alpha: float) -> tuple[Figures, list[ClassLine]]:
    totals = sums.totals
    if kind == "value":
        return values.values(totals, sums.residuals, alpha), []
    if kind not in ("binary", "multiclass"):
        return {}, []
    found = calibration(totals, sums.bins, sums.logits, alpha)
    if kind == "multiclass":
        figures, lines = classes(totals, sums.classes, alpha)
        return found | figures, lines
    area, error = roc_auc(sums.bins, alpha)
    both = {"roc_auc": area, "roc_auc_error": Figure(error, area.n)}
    return found | decisions(totals, alpha) | both, []


def _delays(totals: Reals, counts: Reals) -> dict[str, float | None]:
    names = ("delay_mean_s", "delay_max_s", *_DELAYS)
    if not totals[LABELLED]:
        return dict.fromkeys(names)
    whole, most = counts.astype(np.int64), totals[MAX_DELAY_MS]
    quantiles = [min(histogram.quantile(whole, share), most) for share in _DELAYS.values()]
    found = (totals[DELAY_MS] / totals[LABELLED], most, *quantiles)
    return {name: float(ms) / 1000.0 for name, ms in zip(names, found, strict=True)}
