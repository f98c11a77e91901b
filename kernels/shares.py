"""Chooses a share of requests by their numbers alone: whoever knows one knows whether it is chosen.

Knows numbers. Knows nothing of requests.

Numbers are multiplied by the golden ratio, modulo 1: those that follow each other fall evenly over
the whole, so that any stretch of them holds the share but for a request or two.
"""

from __future__ import annotations

from typing import Final

_GOLDEN: Final = 0x9E3779B97F4A7C15  # of 2^64
_WHOLE: Final = 1 << 64
_MASK: Final = _WHOLE - 1


def limit(share: float) -> int:
    """What `chosen` takes for a share from 0 to 1."""
    return round(share * _WHOLE)


def chosen(number: int, limit: int) -> bool:
    """Whether a request is; of two shares the larger holds all that the smaller does."""
    return (number * _GOLDEN & _MASK) < limit
