"""What the numbers of one arm add up to, and how surely their mean is known.

Knows numbers, weights and clusters. Knows nothing of records, or of what a number means.

Rows of one sticky key, or of one request, are not independent, and taking them as such finds
differences where there are none. Numbers are added up by cluster (`kernels.arms`), of
which each holds all rows of its keys; the variance of a mean is that of these totals, where it is
the larger one. Each row then counts as 1/effect of an independent one (Kish's design effect).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kernels.lots import UNITS

Reals = np.ndarray[Any, np.dtype[np.float64]]
Words = np.ndarray[Any, np.dtype[np.int64]]

CLUSTERS: Final = UNITS + 1
# Of fewer clusters a variance cannot be told.
MIN_CLUSTERS: Final = 30


def _zeros() -> Reals:
    return np.zeros(CLUSTERS)


@dataclass(slots=True)
class Sums:
    """Grows by `add`.

    Attributes:
        weights: (CLUSTERS,) what the numbers of each cluster weigh; how many, where each weighs 1.
        totals: (CLUSTERS,) weighted numbers.
        squares: of all numbers, weighted.
        least, most: of all numbers.
    """

    weights: Reals = field(default_factory=_zeros)
    totals: Reals = field(default_factory=_zeros)
    squares: float = 0.0
    least: float = np.inf
    most: float = -np.inf

    def add(self, values: Reals, clusters: Words, weights: Reals | None = None) -> None:
        """Takes numbers.

        Args:
            values: (rows,) NaN: unknown, left out.
            clusters: (rows,) from 0 to UNITS.
            weights: (rows,) >= 0; None: all weigh 1.
        """
        known = ~np.isnan(values)
        some, where = values[known], clusters[known]
        if not len(some):
            return
        its = np.ones(len(some)) if weights is None else weights[known]
        self.weights += np.bincount(where, its, CLUSTERS)
        self.totals += np.bincount(where, its * some, CLUSTERS)
        self.squares += float((its * some * some).sum())
        self.least = min(self.least, float(some.min()))
        self.most = max(self.most, float(some.max()))

    def merge(self, more: Sums) -> None:
        """Takes the numbers of others, too."""
        self.weights += more.weights
        self.totals += more.totals
        self.squares += more.squares
        self.least, self.most = min(self.least, more.least), max(self.most, more.most)

    @property
    def n(self) -> float:
        """What all numbers weigh."""
        return float(self.weights.sum())

    @property
    def mean(self) -> float:
        """Of all numbers; NaN of none."""
        n = self.n
        return float(self.totals.sum()) / n if n else np.nan

    @property
    def variance(self) -> float:
        """Of one number."""
        return max(self.squares / self.n - self.mean**2, 0.0) if self.n else np.nan

    @property
    def binary(self) -> bool:
        """Every number is 0 or 1."""
        within = self.least >= 0.0 and self.most <= 1.0
        # Squares of 0 and 1, and of no other numbers between, are the numbers themselves.
        return within and abs(self.squares - float(self.totals.sum())) <= 1e-9 * self.n

    @property
    def clusters(self) -> int:
        """That hold a number."""
        return int((self.weights > 0).sum())

    @property
    def effect(self) -> float:
        """How many rows are worth one independent one, 1 at least; infinite: it cannot be told."""
        if self.clusters < MIN_CLUSTERS:
            return np.inf
        alone = self.n * self.variance
        if not alone > 0.0:
            return 1.0
        apart = self.totals - self.mean * self.weights
        return max(float((apart**2).sum()) * corrected(self.clusters) / alone, 1.0)

    @property
    def independent(self) -> float:
        """So many independent rows say as much as all of these."""
        return self.n / self.effect


def corrected(clusters: int) -> float:
    """What makes a variance of clusters around their own mean one around the true one."""
    return clusters / (clusters - 1.0)
