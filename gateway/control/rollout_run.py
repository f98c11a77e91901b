"""A rollout that is under way, and whom those who carry it out work with.

Knows the words. Knows nothing of what is done in which order.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from gateway import config
from gateway.control.audit import Actor
from gateway.control.memory import Memory
from gateway.control.rollout_store import Rollout
from gateway.control.splits import Aliases
from gateway.rollouts.judgements import Judge, Judgement
from gateway.rollouts.shares import Given
from gateway.rollouts.stand import Event, Stand


@dataclass(frozen=True, slots=True)
class Untold:
    """What a person did to a rollout that is in force and not written down yet.

    Attributes:
        events: as the story will tell it.
        actor: who did it.
        why: it is not written down.
    """

    events: Sequence[Event]
    actor: Actor
    why: str


class Plans(Protocol):
    """What makes plans, as far as rollouts are concerned (`planner.Planner`)."""

    memory: Memory

    async def look(self, only: str | None = None) -> None:
        """Looks at what should run now, and takes the first step there."""

    def divide_soon(self) -> int:
        """Divides requests as is wanted by now; the number of the plan that says so."""
        ...

    def followed(self, number: int) -> bool:
        """Whether every worker follows a plan of this number or a newer one."""
        ...

    def knows(self, name: str) -> bool:
        """Whether some source has a model of this name."""
        ...

    def versions(self, name: str) -> Set[int]:
        """The versions that sources have of it."""
        ...

    def aliases(self, name: str) -> Aliases:
        """Its aliases."""
        ...


class Judges(Protocol):
    """Who judges candidates. Blocking: called on a thread, once at a time."""

    def faults(self, given: Given) -> Sequence[str]:
        """Why guards of a plan could never come to a verdict; empty where all can."""
        ...

    def doubts(self, given: Given) -> Sequence[str]:
        """Why guards of a plan may not come to a verdict in time, or ever; empty: nothing."""
        ...

    def judge(self, given: Given, memory: Any, now: float) -> Judge:
        """Judges from now on.

        Args:
            given: candidate, baseline and guards.
            memory: what an earlier one left; None: nothing.
            now: seconds since 1970.
        """
        ...

    def rows(self, given: Given, shadow: bool) -> int:
        """The rows that a candidate has had: answered, or run as a shadow."""
        ...


@dataclass(slots=True)
class Run:
    """A rollout that is under way.

    Attributes:
        kept: as it was written down last.
        stand: as it is.
        judge: from its first step on.
        judgements: of the last look.
        rows: that had been counted then; None: not looked yet.
        wanted: how the route is led by now; None: not known.
        plan: number of the plan that says so.
        pointed: the alias of what it promoted was moved.
        untold: what is in force already; None: all is written down.
    """

    kept: Rollout
    stand: Stand
    judge: Judge | None = None
    judgements: Sequence[Judgement] = ()
    rows: int | None = None
    wanted: config.Route | None = None
    plan: int = 0
    pointed: bool = False
    untold: Untold | None = None

    @property
    def given(self) -> Given:
        """What it is of."""
        return self.kept.given

    def memory(self) -> Any:
        """What a successor goes on from."""
        if self.judge is None:
            return self.kept.memory
        return {"judge": self.judge.memory(), "rows": self.rows}
