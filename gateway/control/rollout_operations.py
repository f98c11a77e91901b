"""What can be asked of rollouts through the control port: start, list, show, and move them.

Knows parameters and answers. Knows nothing of how a rollout goes on. What an answer says has
happened holds: workers follow before it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from gateway.access.roles import Permission
from gateway.config.rollout import RolloutPlan
from gateway.control.audit import Actor
from gateway.control.operations import Asked, Operation
from gateway.control.rollout_documents import (
    RolloutList,
    RolloutPath,
    RolloutQuery,
    RolloutShown,
    StartWanted,
    WhyWanted,
)
from gateway.control.rollout_store import Rollout, RolloutStore
from gateway.control.rollouts import Rollouts
from gateway.control.route_documents import RoutePath
from gateway.errors import (
    Conflict,
    Forbidden,
    ModelNotFound,
    ModelRefused,
    NotFound,
    StoreFailed,
    VersionNotFound,
)
from gateway.rollouts import shares
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.stand import Event
from gateway.rollouts.words import awaits

Move = Callable[[int, Actor, str], Awaitable[None]]


def operations(
    rollouts: Rollouts, store: RolloutStore, follow: Callable[[], Awaitable[None]]
) -> tuple[Operation, ...]:
    """The table.

    Args:
        rollouts: those under way.
        store: all of them.
        follow: waits until workers divide requests as is wanted by now.
    """

    async def list_rollouts(asked: Asked) -> Any:
        found = await asyncio.to_thread(store.newest, asked.query.model)
        live = {one.number: one for one, _ in rollouts.live()}
        shown = [live.get(one.number, one) for one in found if asked.may_see(one.given.model)]
        return {"rollouts": [line(one) for one in shown]}

    async def show_rollout(asked: Asked) -> Any:
        return await shown(asked, asked.path.number)

    async def start_rollout(asked: Asked) -> Any:
        body: StartWanted = asked.body
        plan = body.plan or RolloutPlan()
        number = await rollouts.start(asked.actor, asked.path.model, body.to, plan, body.why)
        return await shown(asked, number)

    async def pause_rollout(asked: Asked) -> Any:
        return await moved(asked, rollouts.pause)

    async def resume_rollout(asked: Asked) -> Any:
        return await moved(asked, rollouts.resume)

    async def approve_rollout(asked: Asked) -> Any:
        return await moved(asked, rollouts.approve)

    async def promote_rollout(asked: Asked) -> Any:
        return await moved(asked, rollouts.promote)

    async def abort_rollout(asked: Asked) -> Any:
        return await moved(asked, rollouts.abort)

    async def moved(asked: Asked, move: Move) -> Any:
        number = asked.path.number
        await seen(asked, number)
        await move(number, asked.actor, asked.body.why)
        await follow()
        return await shown(asked, number)

    async def seen(asked: Asked, number: int) -> Rollout:
        """One that its caller may know of."""
        live = {one.number: one for one, _ in rollouts.live()}
        found = live[number] if number in live else await asyncio.to_thread(store.get, number)
        if not asked.may_see(found.given.model):
            raise NotFound(f"there is no rollout {number}")
        return found

    async def shown(asked: Asked, number: int) -> Any:
        kept = await seen(asked, number)
        events = await story(number)
        live = {one.number: (one, judged) for one, judged in rollouts.live()}
        rollout, judgements = live.get(number, (kept, ()))
        untold = rollouts.untold(number)
        found = described(rollout, judgements, events)
        return {**found, "unwritten": None if untold is None else untold.why}

    async def story(number: int) -> Sequence[Event]:
        untold = rollouts.untold(number)
        if untold is None:
            return await asyncio.to_thread(store.events, number)
        try:
            return [*await asyncio.to_thread(store.events, number), *untold.events]
        except StoreFailed:  # who has aborted it is to hear of that
            return untold.events

    return (
        Operation(
            "GET",
            "/api/rollouts",
            list_rollouts,
            "Rollouts, the newest first",
            Permission.READ,
            scope="caller",
            answer=RolloutList,
            query=RolloutQuery,
            errors=(StoreFailed,),
        ),
        Operation(
            "GET",
            "/api/rollouts/{number}",
            show_rollout,
            "A rollout's story: what happened, when, why, and by which figures",
            Permission.READ,
            scope="caller",
            answer=RolloutShown,
            path_parameters=RolloutPath,
            bulky=True,
            errors=(NotFound, StoreFailed),
        ),
        Operation(
            "POST",
            "/api/routes/{model}/rollouts",
            start_rollout,
            "Have a version take a route over, step by step, for as long as its guards let it",
            Permission.OPERATE,
            scope="model",
            answer=RolloutShown,
            path_parameters=RoutePath,
            body=StartWanted,
            errors=(ModelNotFound, VersionNotFound, ModelRefused, Conflict, StoreFailed),
        ),
        _moving("pause", pause_rollout, "Hold a rollout where it is"),
        _moving("resume", resume_rollout, "Go on with a paused rollout"),
        _moving(
            "approve",
            approve_rollout,
            "Let a rollout go on that waits for it, by somebody who did not start it",
            Permission.APPROVE,
        ),
        _moving("promote", promote_rollout, "Promote a candidate now, or end its watch"),
        _moving("abort", abort_rollout, "Take a candidate back"),
    )


def _moving(
    action: str,
    handle: Callable[[Asked], Awaitable[Any]],
    summary: str,
    permission: Permission = Permission.OPERATE,
) -> Operation:
    return Operation(
        "POST",
        f"/api/rollouts/{{number}}/{action}",
        handle,
        summary,
        permission,
        scope="caller",
        answer=RolloutShown,
        path_parameters=RolloutPath,
        body=WhyWanted,
        errors=(NotFound, Conflict, Forbidden, StoreFailed),
    )


def line(rollout: Rollout) -> dict[str, Any]:
    """A rollout as a line of the list."""
    given, stand = rollout.given, rollout.stand
    return {
        "number": rollout.number,
        "route": given.model,
        "candidate": given.candidate,
        "baseline": given.baseline,
        "state": stand.state,
        "step": stand.step + 1,
        "steps": len(given.plan.steps),
        "percent": shares.percent(given, stand),
        "waits": stand.waits,
        "over": rollout.over,
        "started_at": given.at,
        "started_by": given.starter,
        "why": given.why,
    }


def described(
    rollout: Rollout, judgements: Sequence[Judgement], events: Sequence[Event]
) -> dict[str, Any]:
    """A rollout with its story."""
    return {
        **line(rollout),
        "plan": rollout.given.plan.model_dump(mode="json"),
        "warnings": list(rollout.given.warnings),
        "judgements": [asdict(one) for one in judgements],
        "awaits": awaits(rollout.given.plan, rollout.stand),
        "story": [{**event.as_json(), "step": event.step + 1} for event in events],
    }
