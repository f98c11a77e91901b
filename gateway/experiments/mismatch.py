"""Whether arms get the shares that they were given (sample-ratio mismatch), at any time.

Knows counts of requests by arm and cluster. Knows nothing of why they came.

Where they do not, something is lost on the way of one arm, and what is compared is not alike: no
figure of the experiment is to be trusted. The e-value is the ratio of two probabilities of what was
counted, under shares scattered around the given ones and under these; it passes 1/ALPHA ever, with
probability ALPHA at most, however often one looks (Ville). Counts of keys that come again enter
divided by their design effect, with which that holds approximately.

Source: Lindon and Malek, Anytime-valid inference for multinomial count data (2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.experiments.sums import MIN_CLUSTERS, Reals, corrected

ALPHA: Final = 0.001
# Mismatches of a tenth to a thousandth are scattered like samples of so many; the e-value is the
# mean over these.
_CONCENTRATIONS: Final = 10.0 ** np.arange(1, 7)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What is known of it.

    Attributes:
        requests: by arm.
        expected: their shares.
        effect: requests that are worth one independent one; None: it cannot be told yet.
        log10_e: evidence of a mismatch; 0 while nothing can be told.
        alarm: that passed 1/ALPHA.
    """

    requests: tuple[int, ...]
    expected: tuple[float, ...]
    effect: float | None
    log10_e: float

    @property
    def alarm(self) -> bool:
        """Figures are not to be trusted."""
        return self.log10_e >= -math.log10(ALPHA)


def mismatch(requests: Sequence[Reals], weights: Sequence[float]) -> Mismatch:
    """Looks for one.

    Args:
        requests: of each arm, (CLUSTERS,) counts.
        weights: of each arm, above 0.
    """
    shares = np.array(weights, float) / sum(weights)
    table = np.array(requests, float)
    counts = table.sum(axis=1)
    told = tuple(int(count) for count in counts), tuple(float(share) for share in shares)
    effect = _effect(table)
    if effect is None:
        return Mismatch(*told, None, 0.0)
    return Mismatch(*told, effect, log_e(counts / effect, shares) / math.log(10.0))


def log_e(counts: Reals, shares: Reals) -> float:
    """The natural logarithm of the e-value of counts, which may be divided ones."""
    n = counts.sum()
    found = []
    for concentration in _CONCENTRATIONS:
        prior = concentration * shares
        total = math.lgamma(concentration) - math.lgamma(concentration + n)
        for own, count in zip(prior, counts, strict=True):
            total += math.lgamma(own + count) - math.lgamma(own)
        found.append(total)
    given = float((counts * np.log(shares)).sum())
    return float(np.logaddexp.reduce(found)) - math.log(len(found)) - given


def _effect(table: Reals) -> float | None:
    """The largest of all arms; None of too few clusters."""
    of_clusters = table.sum(axis=0)
    clusters, n = int((of_clusters > 0).sum()), of_clusters.sum()
    if clusters < MIN_CLUSTERS:
        return None
    shares = table.sum(axis=1) / n
    apart = ((table - shares[:, None] * of_clusters) ** 2).sum(axis=1) * corrected(clusters)
    alone = n * shares * (1.0 - shares)
    some = alone > 0.0
    return float(np.maximum(apart[some] / alone[some], 1.0).max(initial=1.0))
