"""How likely a candidate's share of all failures is, by the odds ratio of its to the baseline's.

Knows counts. Knows nothing of what failed, or of what follows from it.

Of two samples of one moment, given how many failed in both together, how many of these are the
first one's depends on the odds ratio alone, and not on how likely failures are: so that may change
from one moment to the next, and with it the sizes of the samples. The distribution is Fisher's
noncentral hypergeometric one; its terms are summed from the most likely one to both sides, as far
as a double can tell.

Sources: Fisher (1935), The logic of inductive inference; the most likely value as in Liao and
Rosen (2001), Fast and stable algorithms for computing and sampling from the noncentral
hypergeometric distribution.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from kernels._counts import Floats
from kernels._jit import kernel

_NOTHING: Final = 1e-18
"""Part of the sum so far that a term must be to count; all further ones are smaller still."""


def log_probabilities(
    hits: int, trials: int, base_hits: int, base_trials: int, log_odds: Floats
) -> Floats:
    """The logarithm of how likely it is that so many of all hits are the first sample's.

    Args:
        hits: of the first sample, at most `trials`.
        trials: of it.
        base_hits: of the other, at most `base_trials`.
        base_trials: of it.
        log_odds: (n,) logarithms of odds ratios.

    Returns:
        (n,), at most 0; all 0 where nothing else was possible.

    Raises:
        ValueError: there are more hits than trials, or less than none.
    """
    _check(hits, trials, base_hits, base_trials)
    out = np.zeros(len(log_odds))
    _log_probabilities(
        hits, trials, base_hits, base_trials, np.ascontiguousarray(log_odds, np.float64), out
    )
    return out


def moments(together: int, trials: int, base_trials: int, log_odds: float) -> tuple[float, float]:
    """Mean and variance of how many of all hits are the first sample's.

    Args:
        together: hits of both samples, at most as many as trials of both.
        trials: of the first.
        base_trials: of the other.
        log_odds: logarithm of the odds ratio.

    Raises:
        ValueError: there are more hits than trials, or less than none.
    """
    _check(together, trials + base_trials, 0, 0)
    out = np.empty(3)
    _sum(together, trials, base_trials, log_odds, out)
    return float(out[1]), float(out[2])


def _check(hits: int, trials: int, base_hits: int, base_trials: int) -> None:
    for some, all_of_them in ((hits, trials), (base_hits, base_trials)):
        if not 0 <= some <= all_of_them:
            raise ValueError(f"hits: expected 0 to {all_of_them}, got {some}")


@kernel("int64(int64, int64, int64, float64)")
def _most_likely(together: int, trials: int, base_trials: int, odds: float) -> int:
    if math.isinf(odds):
        return min(together, trials)
    a = odds - 1.0
    b = (together + trials + 2.0) * odds + base_trials - together
    c = (trials + 1.0) * (together + 1.0) * odds
    found = int(2.0 * c / (b + math.sqrt(max(b * b - 4.0 * a * c, 0.0))))
    return min(max(found, together - base_trials, 0), together, trials)


@kernel("float64(int64, int64, int64, int64)")
def _log_ways(hits: int, together: int, trials: int, base_trials: int) -> float:
    """Logarithm of in how many ways so many hits are the first's, but for what all have alike."""
    base = together - hits
    found = -math.lgamma(hits + 1.0) - math.lgamma(trials - hits + 1.0)
    return found - math.lgamma(base + 1.0) - math.lgamma(base_trials - base + 1.0)


@kernel("int64(int64, int64, int64, float64, float64[::1])")
def _sum(together: int, trials: int, base_trials: int, log_odds: float, out: Floats) -> int:
    """Sum of all terms in units of the most likely one's, mean and variance; its place."""
    odds = math.exp(log_odds)
    start = _most_likely(together, trials, base_trials, odds)
    least, most = max(0, together - base_trials), min(together, trials)
    total, first, second = 1.0, 0.0, 0.0  # moments about the most likely one
    term = 1.0
    for k in range(start, most):
        term *= odds * (trials - k) * (together - k)
        term /= (k + 1.0) * (base_trials - together + k + 1.0)
        total += term
        first += term * (k + 1 - start)
        second += term * (k + 1.0 - start) * (k + 1.0 - start)
        if term < _NOTHING * total:
            break
    term = 1.0
    for k in range(start, least, -1):
        term *= k * (base_trials - together + k * 1.0)
        term /= odds * (trials - k + 1.0) * (together - k + 1.0)
        total += term
        first += term * (k - 1 - start)
        second += term * (k - 1.0 - start) * (k - 1.0 - start)
        if term < _NOTHING * total:
            break
    out[0] = total
    out[1] = start + first / total
    out[2] = max(second / total - (first / total) * (first / total), 0.0)
    return start


@kernel("void(int64, int64, int64, int64, float64[::1], float64[::1])")
def _log_probabilities(
    hits: int,
    trials: int,
    base_hits: int,
    base_trials: int,
    log_odds: Floats,
    out: Floats,
) -> None:
    together = hits + base_hits
    sums = np.empty(3)
    ways = _log_ways(hits, together, trials, base_trials)
    for at in range(len(log_odds)):
        start = _sum(together, trials, base_trials, log_odds[at], sums)
        apart = ways - _log_ways(start, together, trials, base_trials)
        out[at] = apart + (hits - start) * log_odds[at] - math.log(sums[0])
