"""By how much two distributions differ, of what was counted of both moment by moment.

Knows counts by bins. Knows nothing of what they are of, or of guards.

At each edge between bins, or for each class, the share of the candidate's values up to it less the
baseline's of the same moment has the difference of the true shares as its mean, whatever these are
by then. Moments are weighted by `n m / (n + m)` of their sizes, which makes the variance of the
weighted sum the weights' sum times that of one value at most: p (1 - p), a quarter where p is a
half, and a twentieth for a class that has 5 %. By the average of all shares until now it is rather
too large, that being concave. So the sum less its mean stays within the boundary of a normal
mixture with probability 1 - alpha at all times at once, whatever the sizes are and however these
change; the variance being an estimate, that is so as rows grow, and few rows are taken for more
even than they are. Edges share alpha alike. Values that depend on each other have a variance so
many times as large as their design effect, which whoever asks has to know.

Sources: Robbins (1970); for sums with a bound on their exponential moments, Howard, Ramdas,
McAuliffe and Sekhon (2020), Time-uniform Chernoff bounds via nonnegative supermartingales; for
variances that are estimated, Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform
central limit theory and asymptotic confidence sequences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Reals = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]
Memory = Mapping[str, Any]

# The boundary is tightest, for 20 edges and alpha of 0.01, at some 1,000 rows of the candidate.
_TIGHTEST: Final = 15.0
# Rows of which half are up to each edge, beside those that came: what is rare is not certain yet.
_EVEN_ROWS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Differing:
    """The largest difference of a column.

    Attributes:
        found: of the shares, 0 to 1, at the edge or class where it is largest.
        least: what it surely is, at some edge or class.
        most: what it surely is not above, at any.
    """

    found: float
    least: float
    most: float


class Differences:
    """Of several columns. Values that are in no bin take no part."""

    def __init__(
        self, bins: Sequence[int], ordered: Sequence[bool], memory: Memory | None = None
    ) -> None:
        """Begins, or goes on from what was remembered of the same columns.

        Args:
            bins: of each column.
            ordered: whether they have an order.
            memory: of a predecessor; of other columns it is left alone.
        """
        self._ordered = np.array(ordered, bool)
        # Up to the last edge of ordered bins is everything.
        self._edges = [max(b - 1, 0) if o else b for b, o in zip(bins, ordered, strict=True)]
        width = max([1, *bins])
        there = np.arange(width) < np.array(self._edges, int).reshape(-1, 1)
        self._there = there
        # Weighted shares of the candidate and of the baseline.
        self._ours, self._theirs = np.zeros(there.shape), np.zeros(there.shape)
        self._weights = np.zeros(len(bins))
        if memory is not None and np.shape(memory.get("ours", ())) == there.shape:
            self._ours = np.array(memory["ours"], float).reshape(there.shape)
            self._theirs = np.array(memory["theirs"], float).reshape(there.shape)
            self._weights = np.array(memory["weights"], float)

    @property
    def edges(self) -> int:
        """Of all columns that have any: what alpha is shared out over."""
        return sum(self._edges)

    def add(self, candidate: Counts, baseline: Counts) -> None:
        """What was counted in one more moment, (columns, width) each."""
        n, m = (some.sum(axis=1).astype(float) for some in (candidate, baseline))
        both = (n > 0.0) & (m > 0.0)
        weights = np.where(both, n * m / np.maximum(n + m, 1.0), 0.0)
        counted = np.where(self._there, weights[:, None], 0.0)
        self._ours += counted * self._shares(candidate, n)
        self._theirs += counted * self._shares(baseline, m)
        self._weights += weights

    def found(self, alpha: float, effects: Reals) -> list[Differing | None]:
        """By how much each column differs; None where there is nothing to tell.

        Args:
            alpha: how often any of them is ever said to lie elsewhere than it does.
            effects: (columns,) by how much more than independent ones values scatter, >= 1; NaN:
                not known, and so nothing is that follows from it.
        """
        if not self.edges:
            return [None] * len(self._weights)
        variance = self._weights * effects / 4.0 + _TIGHTEST
        limits = np.log(variance / _TIGHTEST) + 2.0 * math.log(self.edges / alpha)
        reach = np.nan_to_num(np.sqrt(variance * limits), nan=math.inf)
        heights = np.abs(self._ours - self._theirs)
        radii = reach[:, None] * self._spread()
        return [
            _differing(heights[at, :edges] / weight, radii[at, :edges] / weight)
            if edges and weight > 0.0
            else None
            for at, (weight, edges) in enumerate(
                zip(self._weights.tolist(), self._edges, strict=True)
            )
        ]

    def memory(self) -> Memory:
        """What a successor goes on from, as JSON has it."""
        return {
            "ours": self._ours.tolist(),
            "theirs": self._theirs.tolist(),
            "weights": self._weights.tolist(),
        }

    def _spread(self) -> Reals:
        """(columns, width): of a value's being up to each edge, in units of the largest, a half."""
        rows = (self._weights + _EVEN_ROWS)[:, None]
        shares = np.stack([self._ours, self._theirs]) + _EVEN_ROWS / 2.0
        variances = (shares / rows) * (1.0 - shares / rows)
        spread: Reals = np.sqrt(4.0 * variances.max(axis=0))
        return spread

    def _shares(self, counts: Counts, rows: Reals) -> Reals:
        """(columns, width): up to each edge, or of each class."""
        upto = np.where(self._ordered[:, None], counts.cumsum(axis=1), counts)
        shares: Reals = upto[:, : self._there.shape[1]] / np.maximum(rows, 1.0)[:, None]
        return shares


def _differing(found: Reals, radii: Reals) -> Differing:
    """By the differences at each edge, and how far off each may be."""
    least, most = float((found - radii).max()), float((found + radii).max())
    return Differing(float(found.max()), max(least, 0.0), min(most, 1.0))
