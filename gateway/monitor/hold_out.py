"""Chooses by chance the requests that get a fixed policy instead of what their score would decide.

Knows numbers of requests and a share. Knows nothing of scores, of answers, or of what a policy is.

Where scores decide whose outcome is ever seen, outcomes say nothing of the others. Of those that
are held out everybody's can be seen, and how probable it was to be one of them is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from kernels import marks
from kernels.ring import Words

_ALL: Final = 1 << 64
_MASK: Final = _ALL - 1


class HoldOut:
    """Of one model in one worker.

    Attributes:
        share: of requests, above 0 and below 1.
        policy: what whoever asked is to follow.
    """

    __slots__ = ("_limit", "_not_chosen", "_seed", "_yes", "policy", "share")

    def __init__(self, share: float, policy: str, seed: int) -> None:
        """Takes the share, the policy's name, and 64 random bits that chance begins with."""
        self.share = share
        self.policy = policy
        self._seed = seed
        self._limit = int(share * _ALL)
        self._yes = marks.chosen(share, held_out=True)
        self._not_chosen = marks.chosen(1.0 - share, held_out=False)

    def holds(self, sequence: int) -> bool:
        """Whether a request is held out: the same whenever it is asked of the same request.

        Source: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
        """
        mixed = (self._seed + (sequence + 1) * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31) < self._limit

    def marks(self, sequences: Sequence[int], rows: Sequence[int]) -> Words:
        """(all rows,) what `kernels.marks` says of each: its request's luck.

        Args:
            sequences: of the requests.
            rows: of each.
        """
        words = [self._yes if self.holds(one) else self._not_chosen for one in sequences]
        return np.repeat(np.array(words, np.int64), rows)
