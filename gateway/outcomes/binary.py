"""How well two classes are told apart: figures of probabilities of a positive class.

Knows sums (`kernels.performance`). Knows nothing of calibration.

Sources: F1 is 2 J / (1 + J) of the share J of those predicted or really positive that are both;
Matthews (1975) for MCC, here by the four rates that it is made of (Chicco and Jurman 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from gateway.outcomes.intervals import ALPHA, Figure, Figures, Interval, rate_intervals
from kernels.performance import BINS, FN, FP, TN, TP, N, Reals, Y


def confusion(totals: Reals) -> dict[str, int]:
    """Counts of what was predicted and what was."""
    return {name: int(totals[one]) for name, one in zip(_NAMES, (TP, FP, TN, FN), strict=True)}


_NAMES: Final = ("tp", "fp", "tn", "fn")


def decisions(totals: Reals, alpha: float = ALPHA) -> Figures:
    """Figures of what is predicted above the threshold."""
    tp, fp, tn, fn = totals[[TP, FP, TN, FN]].tolist()
    whole, either = tp + fp + tn + fn, tp + fp + fn
    # Of right ones: of all, of those predicted or really positive, and of each side of the table.
    hits = np.array((tp + tn, tp, tp, tp, tn, tn))
    trials = np.array((whole, either, tp + fp, tp + fn, tn + fp, tn + fn))
    accuracy, jaccard, *sides = _rates(hits, trials, alpha)
    return {
        "accuracy": accuracy,
        "precision": sides[0],
        "recall": sides[1],
        "specificity": sides[2],
        "f1": _f1(jaccard),
        "balanced_accuracy": _balanced(_rates(hits[3:5], trials[3:5], alpha / 2.0), whole),
        "mcc": _mcc(_rates(hits[2:], trials[2:], alpha / 4.0), whole),
    }


def _rates(hits: Reals, trials: Reals, alpha: float) -> list[Figure]:
    ends = zip(*rate_intervals(hits, trials, alpha), strict=True)
    return [
        Figure(hit / n, int(n), (float(low), float(high))) if n else Figure(None, 0)
        for hit, n, (low, high) in zip(hits.tolist(), trials.tolist(), ends, strict=True)
    ]


def _f1(jaccard: Figure) -> Figure:
    if jaccard.value is None or jaccard.interval is None:
        return jaccard
    value, low, high = (2.0 * one / (1.0 + one) for one in (jaccard.value, *jaccard.interval))
    return Figure(value, jaccard.n, (low, high))


def _balanced(sides: list[Figure], n: float) -> Figure:
    """Mean of recall and specificity."""
    return _monotone(sides, n, lambda rates: sum(rates) / 2.0)


def _mcc(sides: list[Figure], n: float) -> Figure:
    return _monotone(
        sides,
        n,
        lambda rates: (
            math.sqrt(math.prod(rates)) - math.sqrt(math.prod(1.0 - one for one in rates))
        ),
    )


def _monotone(rates: list[Figure], n: float, of: Callable[[list[float]], float]) -> Figure:
    """What grows with each of some rates: its ends are at their ends."""
    values = [one.value for one in rates if one.value is not None]
    ends = [one.interval for one in rates if one.interval is not None]
    if len(values) < len(rates):
        return Figure(None, int(n))
    low, high = (of([one[side] for one in ends]) for side in (0, 1))
    return Figure(of(values), int(n), (low, high))


# ---- area under the curve -----------------------------------------------------------------------


def roc_auc(bins: Reals, alpha: float = ALPHA) -> tuple[Figure, float | None]:
    """The area, and how far it may lie from that of the scores themselves.

    Pairs in one bin count half; by their scores they could count 0 to 1.
    """
    positive, negative = bins[:, Y], bins[:, N] - bins[:, Y]
    n, pairs = int(bins[:, N].sum()), positive.sum() * negative.sum()
    if not pairs:
        return Figure(None, n), None
    tied = (positive * negative).sum() / 2.0 / pairs
    area = area_of(positive, negative)
    return Figure(area, n, _auc_interval(positive, negative, alpha)), float(tied)


def area_of(positive: Reals, negative: Reals) -> float:
    """Share of pairs of which the positive one scores higher; of one bin, half of them.

    Args:
        positive: (bins,) how many, ascending in the score.
        negative: (bins,) the same.
    """
    above = positive.sum() - positive.cumsum()
    pairs = positive.sum() * negative.sum()
    return float(((above + positive / 2.0) * negative).sum() / pairs)


def _auc_interval(positive: Reals, negative: Reals, alpha: float) -> Interval:
    """By the shares of both classes below each edge of a bin, all of them at once.

    The area is least where positive scores are as low and negative ones as high as may be, and
    those of one bin lie the wrong way round: so it holds of the scores themselves.
    """
    each = alpha / (2 * (BINS - 1))
    low_p, high_p = _distribution(positive, each)
    low_n, high_n = _distribution(negative, each)
    least = (np.diff(high_p) * low_n[:-1]).sum()
    most = (np.diff(low_p) * high_n[1:]).sum()
    return float(least), float(most)


def _distribution(counts: Reals, alpha: float) -> tuple[Reals, Reals]:
    """(bins + 1,) lowest and highest share of scores up to each edge, from 0 on."""
    upto = counts.cumsum()[:-1]
    low, high = rate_intervals(upto, np.full(len(upto), counts.sum()), alpha)
    low, high = np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]
    return np.concatenate(([0.0], low, [1.0])), np.concatenate(([0.0], high, [1.0]))
