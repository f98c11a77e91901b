"""Fits what makes a model's scores probabilities: a table, by isotonic regression.

Knows scores and whether they were right. Knows nothing of models, or of where either comes from.

Scores are added up in bins, as live ones are, so the table is exact for what it is applied to. It
is kept only where it helps: five times a fifth of the rows, which the table was not fitted with, is
held against it, and against the scores as they are.

Source: pool adjacent violators (Ayer, Brunk, Ewing, Reid and Silverman 1955).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from gateway.profiles.values import Calibration
from gateway.tensors import Array

BINS: Final = 960  # as outcomes are added up in
FOLDS: Final = 5
MIN_ROWS: Final = 100  # fewer say too little of what a score means
_ECE_BINS: Final = 10  # of equal mass
_N, _Y, _S = range(3)


class Fit:
    """Takes scores in, gives a calibration.

    Args:
        scores: what a score is, as the configuration says it.
        seed: of who is in which fifth.
    """

    def __init__(self, scores: Mapping[str, Any], seed: int = 0) -> None:
        self._scores = dict(scores)
        self._rng = np.random.default_rng(seed)
        self._sums = np.zeros((FOLDS, BINS, 3))

    def add(self, scores: Array, hits: Array) -> None:
        """Takes rows in.

        Args:
            scores: (rows,) of them; what is no probability is left out.
            hits: (rows,) 1 where it was so, 0 where not, NaN where that is not known.
        """
        scores, hits = scores.astype(np.float64), hits.astype(np.float64)
        folds = self._rng.integers(FOLDS, size=len(scores))
        with np.errstate(invalid="ignore"):
            kept = (scores >= 0.0) & (scores <= 1.0) & ~np.isnan(hits)
        scores, hits, folds = scores[kept], hits[kept], folds[kept]
        places = np.maximum(np.ceil(scores * BINS).astype(np.int64) - 1, 0)
        cells = folds * BINS + places
        for which, values in ((_N, None), (_Y, hits), (_S, scores)):
            found = np.bincount(cells, values, FOLDS * BINS)
            self._sums[:, :, which] += found.reshape(FOLDS, BINS)

    def calibration(self) -> Calibration | None:
        """What was found; None where there are too few rows, or all of one outcome."""
        whole = self._sums.sum(axis=0)
        rows, right = whole[:, [_N, _Y]].sum(axis=0)
        if rows < MIN_ROWS or not 0.0 < right < rows:
            return None
        before, after = self._errors(whole)
        upto, probabilities = steps(whole[:, _N], whole[:, _Y]) if after < before else ((), ())
        return Calibration(self._scores, int(rows), before, after, BINS, upto, probabilities)

    def _errors(self, whole: Array) -> tuple[float, float]:
        """Mean calibration error of the fifths, of scores and of what tables make of them."""
        found = []
        for held_out in self._sums:
            n = held_out[:, _N]
            if n.any():
                others = whole - held_out
                calibrated = n * table_of(*steps(others[:, _N], others[:, _Y]))
                found.append([_ece(held_out, sums) for sums in (held_out[:, _S], calibrated)])
        before, after = np.mean(found, axis=0).tolist()
        return before, after


def _ece(bins: Array, scores: Array) -> float:
    """Of bins of about equal mass.

    Args:
        bins: (BINS, 3).
        scores: (BINS,) their sum in each.
    """
    n = bins[:, _N]
    middles = n.cumsum() - n / 2.0
    places = np.minimum(middles * _ECE_BINS / n.sum(), _ECE_BINS - 1).astype(np.int64)
    apart = np.bincount(places, bins[:, _Y] - scores)
    return float(np.abs(apart).sum() / n.sum())


def steps(n: Array, y: Array) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The ascending steps that are nearest to the rates of bins.

    Args:
        n: (BINS,) rows.
        y: (BINS,) of them, that were so.

    Returns:
        How many bins lie up to the end of each step, and its rate. A bin without rows belongs to
        the step below it.
    """
    pooled: list[list[float]] = []  # rows, hits, first bin
    for place in np.flatnonzero(n).tolist():
        pooled.append([float(n[place]), float(y[place]), place])
        while len(pooled) > 1 and pooled[-2][1] * pooled[-1][0] >= pooled[-1][1] * pooled[-2][0]:
            rows, hits, _ = pooled.pop()
            pooled[-1][0] += rows
            pooled[-1][1] += hits
    firsts = [int(first) for _, _, first in pooled[1:]]
    return (*firsts, len(n)), tuple(hits / rows for rows, hits, _ in pooled)


def table_of(upto: tuple[int, ...], probabilities: tuple[float, ...]) -> Array:
    """(bins,) the probability in each bin."""
    return np.repeat(probabilities, np.diff(upto, prepend=0))
