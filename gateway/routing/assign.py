"""Divides requests among variants by their weights: by a key, or one after the other.

Knows names, weights and keys. Knows nothing of requests, of loaded models or of time: the same
arguments give the same variant, in every process and on every host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import log

_MASK = (1 << 64) - 1
# 2^64 by the golden ratio: multiples of it, modulo 2^64, divide the range more evenly than those of
# any other number, and so do those of every second, third, ... alone. A client whose requests
# alternate among two kinds gets the same shares of each.
_STEP = 0x9E3779B97F4A7C15
_UNIT = 2.0**-53


class ByKey:
    """Weighted rendezvous: each variant draws by the key, and the best draw has it.

    A draw is -log(u) / weight, of u in (0, 1) by a hash of route, variant and key: an exponential
    time with that rate, of which variant i has the shortest with probability weight_i / total.
    Raising one weight shortens that variant's times and no other's, so keys move to it alone;
    names, not places, are hashed, so that a variant that comes or goes moves no others' keys.

    Source: highest random weight hashing of Thaler and Ravishankar, Using name-based mappings to
    increase hit rates (1998), weighted as by Schindelhauer and Schomaker, Weighted distributed hash
    tables (2005).
    """

    __slots__ = ("_drawers",)

    def __init__(self, route: str, weights: Mapping[str, float]) -> None:
        """Takes weights, >= 0 and one at least above, by variant.

        Args:
            route: other routes assign the same keys independently.
            weights: relative: shares are those of their sum.
        """
        self._drawers = tuple(
            (
                hashlib.blake2b(key=_digest(route, name), digest_size=8),
                -1.0 / weight,
                name,
            )
            for name, weight in sorted(weights.items())
            if weight > 0
        )

    def of(self, key: bytes) -> str:
        """The variant that a key belongs to."""
        best, shortest = "", float("inf")
        for blank, scale, name in self._drawers:
            drawer = blank.copy()
            drawer.update(key)
            # 53 bits and a half keep the draw strictly inside (0, 1): its logarithm is finite and
            # below zero.
            bits = int.from_bytes(drawer.digest(), "little") >> 11
            time = log((bits + 0.5) * _UNIT) * scale
            if time < shortest:
                best, shortest = name, time
        return best


class InTurn:
    """One variant after the other, in shares that are exact at every moment, not just on average.

    Of n requests in a row a variant gets its share of n, but for a few requests whatever n is: the
    sequence of additive recurrences with the least discrepancy.
    """

    __slots__ = ("_at", "_bounds")

    def __init__(self, start: int = 0) -> None:
        """`start`: where the first turn is; processes that begin together begin apart."""
        self._at = start & _MASK
        self._bounds: tuple[tuple[int, str], ...] = ()

    def divide(self, weights: Mapping[str, float]) -> None:
        """From the next turn on these are the weights; turns go on where they were."""
        total, upto, bounds = sum(weights.values()), 0.0, []
        for name, weight in weights.items():
            if weight > 0:
                upto += weight
                bounds.append((round(upto / total * (_MASK + 1)), name))
        # The last takes what rounding leaves.
        self._bounds = (*bounds[:-1], (_MASK + 1, bounds[-1][1]))

    def next(self) -> str:
        """The variant whose turn it is."""
        self._at = at = (self._at + _STEP) & _MASK
        for bound, name in self._bounds:
            if at < bound:
                return name
        raise AssertionError("the last bound is above every turn")


def _digest(route: str, variant: str) -> bytes:
    """The key of a variant's hash; names of any length, kept apart."""
    return hashlib.sha256(f"{len(route)}/{route}/{variant}".encode()).digest()
