"""What other shares would have come to, from rows that were left to chance.

Knows rewards, the chances of rows and what is wanted of each. Knows nothing of how rows are found.

A row of an arm that the other policy gives the share p, and that had the chance q, stands for p / q
rows (inverse propensity score). Their mean is unbiased, whatever policy answered (`ips`); divided
by the mean weight instead of 1 it varies less and is off by little (`snips`). Where chances were
small, few rows stand for many: `effective_rows` of them would say as much if all weighed alike, and
below FEW the estimate is not to be relied on.

Source: Horvitz and Thompson (1952); Swaminathan and Joachims, The self-normalized estimator for
counterfactual learning (2015); effective rows: Kish (1965). Intervals are those of `estimates`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gateway.experiments.estimates import Estimate, critical
from gateway.experiments.sums import CLUSTERS, MIN_CLUSTERS, Reals, Sums, Words, corrected
from gateway.outcomes.intervals import MIN_ASYMPTOTIC, around, asymptotic_radius

FEW: Final = 100.0
EXPECTED: Final = 10_000.0  # rows, about which intervals are narrowest
SMALL: Final = 0.01


@dataclass(frozen=True, slots=True)
class Replayed:
    """What another policy would have come to.

    Attributes:
        rows: that were left to chance and have a reward.
        mean: of their rewards, as they were answered.
        ips, snips: of the other policy.
        effective_rows: that would say as much.
        least_chance: the smallest of a row that the other policy gives a share; None: of none.
        most_weight: the largest weight of a row; None of none.
        warnings: why not to rely on it.
    """

    rows: int
    mean: Estimate
    ips: Estimate
    snips: Estimate
    effective_rows: float
    least_chance: float | None
    most_weight: float | None
    warnings: tuple[str, ...]


def _zeros() -> Reals:
    return np.zeros(CLUSTERS)


@dataclass(slots=True)
class Replay:
    """Grows by `add`."""

    _plain: Sums = field(default_factory=Sums)
    _weighed: Sums = field(default_factory=Sums)
    _weights: Reals = field(default_factory=_zeros)
    _squared_weights: float = 0.0
    _cross: float = 0.0  # weights squared, times rewards
    _least: float = math.inf
    _most: float = 0.0

    def add(self, rewards: Reals, chances: Reals, wanted: Reals, clusters: Words) -> None:
        """Takes rows.

        Args:
            rewards: (rows,) NaN: not known, left out.
            chances: (rows,) each had of the arm that it got, above 0.
            wanted: (rows,) the share that the other policy gives that arm.
            clusters: (rows,) as `Sums` has them.
        """
        known = ~np.isnan(rewards)
        some, weights, its = rewards[known], (wanted / chances)[known], clusters[known]
        self._plain.add(some, its)
        self._weighed.add(weights * some, its)
        self._weights += np.bincount(its, weights, CLUSTERS)
        self._squared_weights += float((weights**2).sum())
        self._cross += float((weights**2 * some).sum())
        taken = weights > 0.0
        if taken.any():
            self._least = min(self._least, float(chances[known][taken].min()))
            self._most = max(self._most, float(weights.max()))

    def found(self, alpha: float) -> Replayed:
        """What was found; intervals are wrong at any time with probability alpha."""
        total = float(self._weights.sum())
        effective = total**2 / self._squared_weights if self._squared_weights else 0.0
        least = self._least if math.isfinite(self._least) else None
        return Replayed(
            round(self._plain.n),
            _mean(self._plain, self._plain.independent, alpha),
            _mean(self._weighed, effective, alpha),
            self._snips(total, effective, alpha),
            effective,
            least,
            self._most or None,
            tuple(self._warnings(effective, least)),
        )

    def _snips(self, total: float, effective: float, alpha: float) -> Estimate:
        n = round(self._plain.n)
        if not total:
            return Estimate(n, None)
        value = float(self._weighed.totals.sum()) / total
        if self._plain.clusters < MIN_CLUSTERS or effective < MIN_ASYMPTOTIC:
            return Estimate(n, value)
        apart = self._weighed.totals - value * self._weights
        alone = self._weighed.squares - 2.0 * value * self._cross
        alone += value**2 * self._squared_weights
        spread = max(float((apart**2).sum()) * corrected(self._plain.clusters), alone)
        width = critical(effective, alpha, EXPECTED)
        low, high = around(value, width * math.sqrt(max(spread, 0.0)) / total)
        return Estimate(n, value, low, high)

    def _warnings(self, effective: float, least: float | None) -> list[str]:
        found = []
        if not round(self._plain.n):
            found.append("no row that was left to chance has a number of this")
        elif least is None:
            found.append("no row was answered by an arm that the other policy gives a share")
        elif least < SMALL:
            found.append(f"some rows had a chance of {least:.2g} alone, and stand for many")
        if 0.0 < effective < FEW:
            found.append(f"all rows say as much as {effective:.0f} that weigh alike")
        return found


def _mean(sums: Sums, effective: float, alpha: float) -> Estimate:
    if not sums.n:
        return Estimate(0, None)
    n, effect = round(sums.n), sums.effect
    few = math.isinf(effect) or effective < MIN_ASYMPTOTIC
    if few or not sums.variance > 0.0:
        return Estimate(n, sums.mean)
    independent = sums.independent
    radius = asymptotic_radius(independent, sums.variance, alpha, EXPECTED)
    return Estimate(n, sums.mean, *around(sums.mean, float(radius)), effect)
