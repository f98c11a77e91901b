"""What can be asked about retiring versions through the control port: callers, retire, undo, list.

Knows who may be retired: what nothing names and nobody calls. Knows nothing of how a version leaves
the workers. What an answer says has happened holds: workers follow before it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gateway.access.roles import Permission
from gateway.control.drift_documents import VersionPath
from gateway.control.operations import Asked, Operation
from gateway.control.retirement_documents import (
    Callers,
    CallersQuery,
    RetirementLine,
    RetirementList,
    RetirementWanted,
    Unretired,
)
from gateway.control.retirements import Retirements
from gateway.control.route_operations import Plans
from gateway.control.version_use import VersionUse
from gateway.errors import (
    ArenaFull,
    ConfigInvalid,
    Conflict,
    NotFound,
    StoreFailed,
    VersionNotFound,
)
from gateway.plan import READY, Plan

MAX_TOLD = 20

Record = Callable[[str, int], Mapping[str, Any]]
"""What is known of a version besides its callers. Blocks."""


def operations(
    retirements: Retirements,
    use: VersionUse,
    planner: Plans,
    routed: Callable[[str], Awaitable[frozenset[int]]],
    record: Record,
) -> tuple[Operation, ...]:
    """The table.

    Args:
        retirements: those there are.
        use: who called what.
        planner: makes plans.
        routed: the versions of a model that its route, a stop of it or a leader names.
        record: what is kept of a version that leaves.
    """
    changing = asyncio.Lock()

    async def version_callers(asked: Asked) -> Any:
        model, version, days = asked.path.model, asked.path.version, int(asked.query.days)
        _known(planner, model, version)
        callers = await use.of(model, version, days)
        return {"model": model, "version": version, "days": days, "callers": callers}

    async def list_retired(asked: Asked) -> Any:
        every = await asyncio.to_thread(retirements.all)
        return {"retired": [asdict(one) for one in every if asked.may_see(one.model)]}

    async def retire_version(asked: Asked) -> Any:
        model, version = asked.path.model, asked.path.version
        wanted: RetirementWanted = asked.body
        async with changing:
            _known(planner, model, version)
            successor = _successor(planner, model, version, wanted.successor)
            if names := await named_by(model, version):
                raise Conflict(
                    f"model '{model}': version {version} cannot be retired: {'; '.join(names)}"
                )
            callers = await use.of(model, version, wanted.days)
            if callers and not wanted.force:
                raise Conflict(_still_called(model, version, wanted.days, callers))
            kept = {
                **await asyncio.to_thread(record, model, version),
                "callers": callers[:MAX_TOLD],
                "forced": bool(callers),
            }
            made = await asyncio.to_thread(
                retirements.retire, asked.actor, model, version, successor, wanted.why, kept
            )
        await planner.apply(model, alone=True)
        return asdict(made)

    async def unretire_version(asked: Asked) -> Any:
        model, version = asked.path.model, asked.path.version
        async with changing:
            await asyncio.to_thread(retirements.undo, asked.actor, model, version)
        absent = await planner.apply(model, alone=True)
        found = [one for one in absent if (one.name, one.version) == (model, version)]
        state, reason = (found[0].state, found[0].reason) if found else (READY, "")
        return {"model": model, "version": version, "state": state, "reason": reason}

    async def named_by(model: str, version: int) -> list[str]:
        """What still leads clients to a version."""
        aliases = planner.aliases(model).items()
        names = [f"alias '{name}' names it" for name, of in aliases if of == version]
        if version in await routed(model):
            names.append("its model's route names it")
        elif _answers_for_others(planner.memory.plan, model, version):
            names.append("it answers requests that name no version: point `champion` at another")
        return names

    changes = (ConfigInvalid, StoreFailed, ArenaFull)
    of_a_version: dict[str, Any] = {"scope": "model", "path_parameters": VersionPath}
    place = "/api/models/{model}/versions/{version}"
    return (
        Operation(
            "GET",
            f"{place}/callers",
            version_callers,
            "Who called a version of late",
            Permission.READ,
            query=CallersQuery,
            answer=Callers,
            errors=(VersionNotFound, StoreFailed),
            **of_a_version,
        ),
        Operation(
            "POST",
            f"{place}/retire",
            retire_version,
            "Take a version out of service for good, and tell its callers of its successor",
            Permission.OPERATE,
            body=RetirementWanted,
            answer=RetirementLine,
            errors=(*changes, VersionNotFound, Conflict),
            **of_a_version,
        ),
        Operation(
            "POST",
            f"{place}/unretire",
            unretire_version,
            "Let a retired version serve again",
            Permission.OPERATE,
            answer=Unretired,
            errors=(*changes, NotFound),
            **of_a_version,
        ),
        Operation(
            "GET",
            "/api/retired",
            list_retired,
            "Every version that was retired, and what was known of it",
            Permission.READ,
            scope="caller",
            answer=RetirementList,
            errors=(StoreFailed,),
        ),
    )


def _known(planner: Plans, model: str, version: int) -> None:
    versions = planner.versions(model)
    if version not in versions:
        known = ", ".join(map(str, sorted(versions))) or "none"
        raise VersionNotFound(f"model '{model}' has no version {version}; it has: {known}")


def _successor(planner: Plans, model: str, version: int, wanted: int | None) -> int | None:
    """Whom callers are sent to: who was named, or else what answers for the model."""
    if wanted is None:
        routes = planner.memory.plan.routes
        serving = next((route.version for route in routes if route.name == model), None)
        return None if serving == version else serving
    if wanted == version:
        raise Conflict(f"model '{model}': version {version} cannot be its own successor")
    _known(planner, model, wanted)
    return wanted


def _answers_for_others(plan: Plan, model: str, version: int) -> bool:
    """Whether requests without a version would go to another one, unasked."""
    route = next((one for one in plan.routes if one.name == model), None)
    return route is not None and route.version == version and len(route.deployments) > 1


def _still_called(model: str, version: int, days: int, callers: Sequence[Mapping[str, Any]]) -> str:
    told = ", ".join(
        f"{one['caller'] or 'clients (access is open)'}: {one['requests']} requests"
        for one in callers[:MAX_TOLD]
    )
    more = f" and {len(callers) - MAX_TOLD} others" if len(callers) > MAX_TOLD else ""
    return (
        f"model '{model}': version {version} was called within {days} days by {told}{more};"
        " force it to retire it nonetheless"
    )
