"""When requests are due: the arrivals of an open loop.

Knows rates and seeds. Knows nothing of clocks or of whether anyone keeps to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

Arrivals = Literal["poisson", "uniform"]
# Drawn in pieces: a long run must not hold millions of floats.
PIECE = 4096


def arrivals(rate: float, kind: Arrivals, seed: int, seconds: float) -> Iterator[float]:
    """Times of arrival in seconds from the start, ascending, all below `seconds`.

    Args:
        rate: mean arrivals per second, > 0.
        kind: `poisson` (independent users) or `uniform` (evenly spaced, first at 0).
        seed: equal seeds give equal Poisson arrivals.
        seconds: where the schedule ends.

    Raises:
        ValueError: the rate is not above zero, or there is no such kind.
    """
    if rate <= 0:
        raise ValueError(f"rate: expected > 0, got {rate}")
    if kind == "uniform":
        return _uniform(rate, seconds)
    if kind == "poisson":
        return _poisson(rate, seed, seconds)
    raise ValueError(f"arrivals: expected poisson or uniform, got {kind!r}")


def _uniform(rate: float, seconds: float) -> Iterator[float]:
    for number in range(int(np.ceil(seconds * rate))):
        yield number / rate


def _poisson(rate: float, seed: int, seconds: float) -> Iterator[float]:
    rng, at = np.random.default_rng(seed), 0.0
    while True:
        for due in (at + np.cumsum(rng.exponential(1 / rate, PIECE))).tolist():
            if due >= seconds:
                return
            yield due
            at = due
