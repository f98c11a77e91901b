"""Sees how a rollout does: whether its candidate serves, what holds it up, how it is judged.

Knows plans, routes and judges. Knows nothing of what follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set

from gateway.control.pulls import Pulled
from gateway.control.rollout_run import Judges, Plans, Run
from gateway.control.routes import Routes
from gateway.plan import LOADING
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.shares import Given
from gateway.rollouts.stand import Seen, State
from gateway.rollouts.words import because


class Sight:
    """Lives on control's event loop; judges on a thread."""

    def __init__(
        self, routes: Routes, planner: Plans, judges: Judges, pulled: Callable[[str], Pulled]
    ) -> None:
        """Takes its collaborators; `pulled` are the versions of a model that were, and why."""
        self._routes = routes
        self._planner = planner
        self._judges = judges
        self._pulled = pulled

    async def look(self, run: Run, now: float) -> Seen:
        """What is to be seen of a rollout now.

        Args:
            run: its rows and judgements are taken up here.
            now: seconds since 1970.
        """
        rows = 0
        judgements: Sequence[Judgement] = ()
        if run.stand.doing is not State.PENDING and not run.stand.taken_back:
            judgements, rows = await asyncio.to_thread(self._judge, run, now)
            run.judgements = judgements
        return Seen(
            serves=run.given.candidate in self._serving(run.given.model),
            followed=self._planner.followed(run.plan),
            refusal=self._refusal(run.given),
            held_up=self.held_up(run.given),
            rows=rows,
            judgements=judgements,
        )

    def held_up(self, given: Given) -> str:
        """Why nothing can go on; empty where it can."""
        stop = self._routes.of(given.model).stop
        if stop is not None:
            return because(f"the route is stopped by {stop.who}", stop.why)
        if given.baseline not in self._serving(given.model):
            return f"the baseline, version {given.baseline}, does not serve"
        return ""

    def missing(self, given: Given) -> str:
        """Why its candidate cannot have all requests now; empty where it can."""
        serves = given.candidate in self._serving(given.model)
        return "" if serves else f"the candidate, version {given.candidate}, does not serve"

    def _judge(self, run: Run, now: float) -> tuple[Sequence[Judgement], int]:
        """What its judge says now, and how many rows came since the last look."""
        memory = run.kept.memory or {}
        if run.judge is None:
            run.judge = self._judges.judge(run.given, memory.get("judge"), now)
            run.rows = memory.get("rows")
        total = self._judges.rows(run.given, run.stand.doing is State.SHADOWING)
        before = total if run.rows is None else run.rows
        run.rows = total
        # A server that was started again counts from 0.
        return tuple(run.judge.look(now)), total - before if total >= before else total

    def _refusal(self, given: Given) -> str:
        """Why the candidate cannot serve, where that is certain."""
        if (pull := self._pulled(given.model).get(given.candidate)) is not None:
            return pull.why
        if given.candidate in self._serving(given.model):
            return ""
        if given.candidate not in self._planner.versions(given.model):
            return "its model has no such version any more"
        for one in self._planner.memory.plan.absent:
            if (one.name, one.version) == (given.model, given.candidate):
                certain = one.state != LOADING and not one.unasked
                return one.reason if certain else ""
        return ""

    def _serving(self, model: str) -> Set[int]:
        routes = self._planner.memory.plan.routes
        return {version for one in routes if one.name == model for version in one.deployments}
