"""The guard on prediction drift: the candidate's outputs against the baseline's of the same time.

Knows counts by bins and how far two distributions differ. Knows nothing of other kinds of guards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gateway.config.guards import PredictionDriftGuard
from gateway.rollouts.differences import Differences, Differing, Memory
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.looks import Look, Outputs, Reals


class PredictionDriftJudge:
    """Of one guard. It begins anew where columns or bins are no longer the same."""

    def __init__(self, guard: PredictionDriftGuard, memory: Memory | None = None) -> None:
        """Begins, or goes on from what was remembered."""
        memory = memory or {}
        self._guard = guard
        self._known: list[list[Any]] | None = memory.get("columns")  # names, bins, ordered
        self._remembered: Memory | None = memory.get("differences")
        self._differences: Differences | None = None
        self._effects: Reals | None = None  # a successor learns it at its first look
        self._rows, self._base_rows = map(int, memory.get("rows", (0, 0)))
        self._failed: str | None = memory.get("failed")

    def take(self, look: Look) -> None:
        """Takes in what was counted."""
        if look.outputs is None:
            return
        outputs = _chosen(look.outputs, self._guard.outputs)
        self._of(outputs).add(outputs.candidate, outputs.baseline)
        self._effects = outputs.effects
        self._rows += int(outputs.candidate.sum(axis=1).max(initial=0))
        self._base_rows += int(outputs.baseline.sum(axis=1).max(initial=0))

    def judge(self) -> Judgement:
        """What is known by now."""
        guard = self._guard
        name, worst = self._worst()
        if worst is None:
            says = "outputs: nothing was counted of both by the baseline's profile yet"
            return Judgement(guard.called, Verdict.INCONCLUSIVE, says, self._figures(None))
        says = (
            f"output {name}: shares differ by {worst.found:.3f} (surely {worst.least:.3f} to"
            f" {worst.most:.3f}) of {self._rows} rows against the baseline's {self._base_rows};"
            f" tolerated: {guard.floor:g}"
        )
        enough = self._rows >= guard.min_rows
        if enough and worst.least > guard.floor:
            self._failed = self._failed or says
        if self._failed is not None:
            return Judgement(guard.called, Verdict.FAIL, self._failed, self._figures(worst))
        passed = enough and self._most() <= guard.floor
        verdict = Verdict.PASS if passed else Verdict.INCONCLUSIVE
        return Judgement(guard.called, verdict, says, self._figures(worst))

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        found = self._remembered if self._differences is None else self._differences.memory()
        return {
            "columns": self._known,
            "differences": found,
            "rows": [self._rows, self._base_rows],
            "failed": self._failed,
        }

    def _of(self, outputs: Outputs) -> Differences:
        names, bins, ordered = list(outputs.names), list(outputs.bins), list(outputs.ordered)
        if self._known != [names, bins, ordered]:
            self._known = [names, bins, ordered]
            self._remembered, self._differences = None, None
            self._rows = self._base_rows = 0
        if self._differences is None:
            self._differences = Differences(bins, ordered, self._remembered)
        return self._differences

    def _worst(self) -> tuple[str, Differing | None]:
        """The column that surely differs most or, where none does, seems to."""
        found = [(name, one) for name, one in self._found() if one is not None]
        return max(found, key=lambda one: (one[1].least, one[1].found), default=("", None))

    def _most(self) -> float:
        return max((one.most for _, one in self._found() if one is not None), default=1.0)

    def _found(self) -> list[tuple[str, Differing | None]]:
        if self._differences is None or self._known is None or self._effects is None:
            return []
        found = self._differences.found(self._guard.alpha, self._effects)
        return list(zip(self._known[0], found, strict=True))

    def _figures(self, worst: Differing | None) -> dict[str, float | None]:
        return {
            "difference": None if worst is None else worst.found,
            "difference_low": None if worst is None else worst.least,
            "difference_high": None if worst is None else worst.most,
            "floor": self._guard.floor,
            "candidate_rows": float(self._rows),
            "baseline_rows": float(self._base_rows),
        }


def _chosen(outputs: Outputs, names: list[str]) -> Outputs:
    """The columns that a guard is about."""
    if not names:
        return outputs
    places = [place for place, name in enumerate(outputs.names) if name in names]
    return Outputs(
        [outputs.names[place] for place in places],
        [outputs.bins[place] for place in places],
        [outputs.ordered[place] for place in places],
        outputs.candidate[places],
        outputs.baseline[places],
        np.asarray(outputs.effects)[places],
    )
