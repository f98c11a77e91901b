"""What judging a candidate against its baseline comes to: a verdict for each guard.

Knows words. Knows nothing of how anything is judged, or of what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Verdict(StrEnum):
    """What is known of a candidate by one guard."""

    PASS = "pass"
    """It is shown to be no worse than is tolerated."""
    FAIL = "fail"
    """It is shown to be worse than is tolerated."""
    INCONCLUSIVE = "inconclusive"
    """Neither is shown yet."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A guard's verdict and what it rests on.

    Attributes:
        guard: its name in the plan.
        verdict: may be looked at as often as one likes.
        says: one sentence for a person: figure, candidate, baseline, tolerance, rows.
        figures: the numbers in it by name; None for those that are not known.
    """

    guard: str
    verdict: Verdict
    says: str
    figures: Mapping[str, float | None] = field(default_factory=dict)


class Judge(Protocol):
    """Judges one candidate against one baseline from the moment that it was made on."""

    def look(self, now: float) -> Sequence[Judgement]:
        """Takes in what was counted since it last looked; a judgement for each guard, in order.

        Args:
            now: seconds since 1970.
        """
        ...

    def memory(self) -> Mapping[str, Any]:
        """What a successor goes on from, as JSON has it."""
        ...
