"""All guards of one rollout.

Knows which judge is for which kind of guard. Knows nothing of what is counted, or of clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.config.guards import (
    CostGuard,
    DisagreementGuard,
    DriftGuard,
    Guard,
    LatencyGuard,
    PredictionDriftGuard,
    RateGuard,
)
from gateway.rollouts.cost import CostJudge
from gateway.rollouts.distributions import PredictionDriftJudge
from gateway.rollouts.figures import DriftJudge, FigureJudge
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.latency import LatencyJudge
from gateway.rollouts.looks import Look
from gateway.rollouts.rates import BoundJudge, RateJudge


class GuardJudge(Protocol):
    """Judges by one guard."""

    def take(self, look: Look) -> None:
        """Takes in what was counted since the last look."""

    def judge(self) -> Judgement:
        """What is known by now."""
        ...

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        ...


class Judging:
    """Judges by all guards of a plan."""

    def __init__(self, guards: Sequence[Guard], memory: Mapping[str, Any] | None = None) -> None:
        """Begins, or goes on from what was remembered of guards of the same names."""
        memory = memory or {}
        self._judges = {one.called: _judge_of(one, memory.get(one.called)) for one in guards}

    def take(self, look: Look) -> Sequence[Judgement]:
        """Takes in what was counted; a judgement for each guard, in their order."""
        for judge in self._judges.values():
            judge.take(look)
        return [judge.judge() for judge in self._judges.values()]

    def memory(self) -> dict[str, Any]:
        """What a successor goes on from, as JSON has it."""
        return {name: judge.memory() for name, judge in self._judges.items()}


def _judge_of(guard: Guard, memory: Mapping[str, Any] | None) -> GuardJudge:
    match guard:
        case RateGuard():
            if guard.max is None:
                return RateJudge(guard, memory)
            return BoundJudge(guard, guard.max, memory)
        case DisagreementGuard():
            return BoundJudge(guard, guard.max, memory)
        case LatencyGuard():
            return LatencyJudge(guard, memory)
        case CostGuard():
            return CostJudge(guard, memory)
        case PredictionDriftGuard():
            return PredictionDriftJudge(guard, memory)
        case DriftGuard():
            return DriftJudge(guard, memory)
        case _:
            return FigureJudge(guard, memory)
