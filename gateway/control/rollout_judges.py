"""Judges candidates by what workers count of them and of their baselines.

Knows counters of versions, and which kinds of guards have figures here. Knows nothing of statistics
(`gateway.rollouts.judging`) or of what a verdict is followed by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gateway.monitor.arena import Arena
from gateway.monitor.report import ModelCounters, answered_rows, find_model
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.judging import Judging
from gateway.rollouts.looks import Arm, Look
from gateway.rollouts.shares import Given

_COUNTED = frozenset({"errors", "refused", "latency"})


class RolloutJudges:
    """Makes a judge for each rollout."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena

    def faults(self, given: Given) -> Sequence[str]:
        """Why guards of a plan could never come to a verdict."""
        return [
            f"{guard.called}: there are no figures for guards of kind '{guard.kind}'"
            for guard in given.plan.guards
            if guard.kind not in _COUNTED
        ]

    def judge(self, given: Given, memory: Any, now: float) -> CountsJudge:
        """Judges from now on, or goes on from what was remembered."""
        return CountsJudge(self._arena, given, memory)

    def rows(self, given: Given, shadow: bool) -> int:
        """The rows that a candidate has answered."""
        return answered_rows(self._arena, given.model, given.candidate)


class CountsJudge:
    """Judges one candidate by the differences of counts between two looks."""

    def __init__(self, arena: Arena, given: Given, memory: Mapping[str, Any] | None) -> None:
        self._arena = arena
        self._versions = (given.candidate, given.baseline)
        self._model = given.model
        memory = memory or {}
        self._judging = Judging(given.plan.guards, memory.get("guards"))
        self._before: list[list[int]] | None = memory.get("before")

    def look(self, now: float) -> Sequence[Judgement]:
        """Takes in what was counted since it last looked."""
        counts = [_words(find_model(self._arena, self._model, one)) for one in self._versions]
        before = self._before or counts
        self._before = counts
        candidate, baseline = (_arm(old, new) for old, new in zip(before, counts, strict=True))
        return self._judging.take(Look(candidate, baseline))

    def memory(self) -> Mapping[str, Any]:
        """What a successor goes on from."""
        return {"guards": self._judging.memory(), "before": self._before}


def _words(found: ModelCounters | None) -> list[int]:
    if found is None:
        return [0, 0, 0]
    results = found.results
    total = found.histograms.get("total")
    latencies = [] if total is None else total.tolist()
    return [sum(results.values()), results["failed"], results["refused"], *latencies]


def _arm(before: Sequence[int], after: Sequence[int]) -> Arm:
    # A server that was started again counts from 0.
    old = before if len(before) <= len(after) and before[0] <= after[0] else [0, 0, 0]
    requests, errors, refused = (max(b - a, 0) for a, b in zip(old, after[:3], strict=False))
    latencies = None
    if len(after) > 3:
        latencies = np.array(after[3:])
        if len(old) > 3:
            latencies -= np.array(old[3:])
    return Arm(requests, errors, refused, latencies)
