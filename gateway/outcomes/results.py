"""What became of outcomes, and how their sender is told.

Knows counts and words. Knows nothing of how outcomes are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from kernels.ledger import ACCEPTED, CORRECTED, DUPLICATE, Words

RESULTS: Final = (
    *("accepted", "duplicate", "corrected", "early"),
    *("ambiguous", "unsampled", "unknown", "expired", "invalid"),
)
_WRITTEN: Final = {ACCEPTED: "accepted", DUPLICATE: "duplicate", CORRECTED: "corrected"}
MAX_TOLD: Final = 10
_MAX_FAULT_CHARS: Final = 300


class Joined(NamedTuple):
    """What became of some outcomes.

    Attributes:
        counts: how many of each of RESULTS.
        faults: why some of those that were not joined were not.
    """

    counts: dict[str, int]
    faults: list[str]

    def refuse(self, what: str, fault: str) -> None:
        """One more, and why it was not joined."""
        self.counts[what] += 1
        if len(self.faults) < MAX_TOLD:
            self.faults.append(fault[-_MAX_FAULT_CHARS:])

    def written(self, became: Words) -> None:
        """So many became what `kernels.ledger` says."""
        for what, count in enumerate(np.bincount(became, minlength=len(_WRITTEN)).tolist()):
            self.counts[_WRITTEN[what]] += count


def nothing() -> Joined:
    """Of no outcomes."""
    return Joined(dict.fromkeys(RESULTS, 0), [])


def document(faults: Sequence[str], joined: Joined) -> dict[str, Any]:
    """The answer to whoever sent outcomes: those that could not be read are among the invalid."""
    counts = joined.counts | {"invalid": joined.counts["invalid"] + len(faults)}
    return {"counts": counts, "faults": [*faults, *joined.faults][:MAX_TOLD]}
