"""How low and how high the rate behind some trials may be, however often one looks.

Knows counts. Knows nothing of what is counted, or of when anybody looks.

The uniform mixture of likelihood ratios against a rate is a martingale under it, and passes 1/alpha
with probability alpha at most (Ville): the rates that it has not passed for are a confidence
sequence. Ends are found by bisection, to 2^-40.

Source: Robbins (1970), Statistical methods related to the law of the iterated logarithm.
"""

from __future__ import annotations

import math
from typing import Final

from kernels._jit import kernel

_STEPS: Final = 40


@kernel("float64(float64, float64)")
def log_mixture(hits: float, trials: float) -> float:
    """Logarithm of the likelihood of these trials, averaged over all rates."""
    return math.lgamma(hits + 1.0) + math.lgamma(trials - hits + 1.0) - math.lgamma(trials + 2.0)


@kernel("float64(float64, float64, float64)")
def log_likelihood(hits: float, trials: float, rate: float) -> float:
    """That of one rate."""
    found = hits * math.log(rate) if hits > 0.0 else 0.0
    if trials > hits:
        found += (trials - hits) * math.log1p(-rate)
    return found


@kernel("boolean(float64, float64, float64, float64)")
def exceeds(hits: float, trials: float, rate: float, log_limit: float) -> bool:
    """Whether the rate behind trials is above `rate`, for sure.

    Args:
        hits: whole, at most `trials`.
        trials: whole.
        rate: from 0 to 1.
        log_limit: ln(1 / alpha).
    """
    if rate >= 1.0 or hits <= rate * trials:
        return False
    return log_mixture(hits, trials) - log_likelihood(hits, trials, rate) >= log_limit


@kernel("float64(float64, float64, float64)")
def lowest(hits: float, trials: float, log_limit: float) -> float:
    """The lowest rate that may be behind trials; 0 where there are none."""
    if hits <= 0.0:
        return 0.0
    mixture = log_mixture(hits, trials) - log_limit
    outside, inside = 0.0, hits / trials
    for _ in range(_STEPS):
        middle = (outside + inside) / 2.0
        if mixture >= log_likelihood(hits, trials, middle):
            outside = middle
        else:
            inside = middle
    return outside


@kernel("float64(float64, float64, float64)")
def highest(hits: float, trials: float, log_limit: float) -> float:
    """The highest rate that may be behind trials; 1 where there are none."""
    return 1.0 - lowest(trials - hits, trials, log_limit)
