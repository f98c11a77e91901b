"""Slow, obvious twins of `kernels.odds`: by fractions, term by term."""

from __future__ import annotations

from fractions import Fraction
from math import comb


def terms(together: int, trials: int, base_trials: int, odds: Fraction) -> dict[int, Fraction]:
    """How likely each number of the first sample's hits is, given those of both together."""
    found = {
        hits: comb(trials, hits) * comb(base_trials, together - hits) * odds**hits
        for hits in range(max(0, together - base_trials), min(together, trials) + 1)
    }
    total = sum(found.values())
    return {hits: one / total for hits, one in found.items()}


def mean_and_variance(likely: dict[int, Fraction]) -> tuple[Fraction, Fraction]:
    mean = sum((hits * one for hits, one in likely.items()), Fraction(0))
    return mean, sum(((hits - mean) ** 2 * one for hits, one in likely.items()), Fraction(0))
