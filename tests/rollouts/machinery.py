"""A rollout on a clock that tests turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.config.rollout import RolloutPlan
from gateway.rollouts import machine
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.machine import Move, Told
from gateway.rollouts.stand import Event, Seen, Stand

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def plan_of(*steps: dict[str, Any], **rest: Any) -> RolloutPlan:
    """A plan whose steps bake 10 s and need no rows, unless they say otherwise."""
    quick = [{"bake_s": 10, "min_rows": 0, **step} for step in steps]
    return RolloutPlan.model_validate({"guards": [{"kind": "errors"}], **rest, "steps": quick})


def judged(**verdicts: Verdict) -> tuple[Judgement, ...]:
    return tuple(
        Judgement(name, said, f"{name} of the candidate", {"candidate": 0.5})
        for name, said in verdicts.items()
    )


@dataclass
class World:
    """A rollout and the time."""

    plan: RolloutPlan
    now: float = 1_000_000.0
    stand: Stand = field(default_factory=Stand)
    events: list[Event] = field(default_factory=list)

    def move(self, move: Move) -> Stand:
        self.stand = move.stand
        self.events += move.events
        return self.stand

    def look(self, seconds: float = 1.0, **seen: Any) -> Stand:
        """A look some seconds later."""
        self.now += seconds
        return self.move(machine.look(self.plan, self.stand, Seen(**seen), self.now))

    def looks(self, times: int, **seen: Any) -> Stand:
        for _ in range(times):
            self.look(**seen)
        return self.stand

    def told(self, who: str = "ann", why: str = "") -> Told:
        return Told(self.now, who, why)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]
