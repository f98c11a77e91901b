"""How far the rate behind some trials may lie from what was counted, however often one looks.

Knows counts. Knows nothing of what is counted.

A fixed-size interval is wrong far more often than it says for whoever looks every day and stops at
what alarms them. This one holds at all times at once: the uniform mixture of likelihood ratios
against a rate p is a martingale under p that passes 1 / alpha with probability alpha at most, so
the rates that it has not passed for are a 1 - alpha confidence sequence.

Sources: Robbins (1970), Statistical methods related to the law of the iterated logarithm; Ville.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

ALPHA: Final = 0.05
_STEPS: Final = 60  # of a bisection: beyond what a double tells apart


def rate_interval(hits: float, trials: float, alpha: float = ALPHA) -> tuple[float, float] | None:
    """Where the rate of independent trials lies, with probability 1 - alpha at all times at once.

    Args:
        hits: whole, at most `trials`.
        trials: whole; each either a hit or not.
        alpha: how often it may ever be wrong.

    Returns:
        Lowest and highest rate; None without trials.
    """
    if not trials:
        return None
    limit = math.log(1.0 / alpha)
    misses = trials - hits
    mixture = math.lgamma(hits + 1.0) + math.lgamma(misses + 1.0) - math.lgamma(trials + 2.0)

    def passed(rate: float) -> bool:
        against = hits * math.log(rate) if hits else 0.0
        against += misses * math.log1p(-rate) if misses else 0.0
        return mixture - against >= limit

    found = hits / trials
    low = 0.0 if not hits else _edge(passed, 0.0, found)
    high = 1.0 if not misses else _edge(passed, 1.0, found)
    return low, high


def _edge(passed: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where between them it is passed no more; as wide as the last step leaves open."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2.0
        if passed(middle):
            outside = middle
        else:
            inside = middle
    return outside
