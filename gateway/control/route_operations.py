"""What can be asked of routes through the control port: list, show, set, reset, stop, resume.

Knows parameters and answers. Knows nothing of how requests are divided. What an answer says has
happened holds: workers follow before it is written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Protocol

from gateway import config
from gateway.access.roles import Permission
from gateway.control.memory import Memory
from gateway.control.operations import Asked, Operation
from gateway.control.pulls import Pulls
from gateway.control.route_documents import (
    RouteLine,
    RouteList,
    RoutePath,
    RouteWanted,
    StopWanted,
)
from gateway.control.routes import Routes
from gateway.control.splits import Aliases, Wanted, fault, odd_ones, shadow_targets, targets
from gateway.errors import (
    ArenaFull,
    ConfigInvalid,
    Conflict,
    InvalidParameter,
    ModelNotFound,
    ModelRefused,
    NotFound,
    StoreFailed,
    VersionNotFound,
)
from gateway.plan import Absent, Plan, Route
from gateway.tensors import Signature


class Plans(Protocol):
    """What makes plans, as far as routes are concerned (`planner.Planner`)."""

    memory: Memory

    async def apply(self, name: str | None = None, alone: bool = False) -> Sequence[Absent]:
        """Loads what is wanted of a model, and waits until workers follow."""
        ...

    async def divide(self) -> None:
        """Divides requests as is wanted by now, and waits until workers follow."""

    def signatures(self, name: str) -> Mapping[int, Signature]:
        """What its versions that should run take and give."""
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


def operations(
    routes: Routes,
    pulls: Pulls,
    planner: Plans,
    differences: Callable[[str, int, int], str],
    forget: Callable[[str, Iterable[int]], None],
) -> tuple[Operation, ...]:
    """The table.

    Args:
        routes: as they are wanted.
        pulls: what was pulled of them.
        planner: makes plans.
        differences: what differs in the signatures of two versions of a model; it blocks.
        forget: gives versions of a model that were pulled another chance.
    """
    # One change after the other: each is held against what it replaces. None waits for what another
    # one loads, which may hang for minutes.
    changing = asyncio.Lock()

    async def list_routes(asked: Asked) -> Any:
        plan = planner.memory.plan
        names = {route.name for route in plan.routes} | routes.wanted().keys()
        return {"routes": [line(name) for name in sorted(names) if asked.may_see(name)]}

    async def show_route(asked: Asked) -> Any:
        return known(asked.path.model)

    async def set_route(asked: Asked) -> Any:
        name = asked.path.model
        route = config.Route.model_validate(asked.body.model_dump())
        async with changing:
            _check(name, route, planner)
            await _check_alike(name, route, planner, differences)
            await asyncio.to_thread(routes.set, asked.actor, name, route)
            # Whoever gives a version a share has said that it is to have one.
            await put_back(asked, name)
        await planner.apply(name, alone=True)
        return line(name)

    async def reset_route(asked: Asked) -> Any:
        name = asked.path.model
        async with changing:
            await asyncio.to_thread(routes.reset, asked.actor, name)
        await planner.apply(name, alone=True)
        return line(name)

    async def stop_route(asked: Asked) -> Any:
        name, wanted = asked.path.model, asked.body
        # Not after a change, which may read files of its versions first; nor after any disk.
        version, variant = _fallback(name, wanted.fallback, routes.at_hand(name), planner)
        routes.stop(asked.actor, name, version, variant, wanted.why)
        await planner.divide()
        with contextlib.suppress(StoreFailed):  # it is in force: the answer says what it lacks
            await asyncio.to_thread(routes.write)
        return described_as(name, pulls.without_at_hand(name, routes.at_hand(name)))

    async def resume_route(asked: Asked) -> Any:
        name = asked.path.model
        async with changing:
            if not await put_back(asked, name) or routes.of(name).stop is not None:
                await asyncio.to_thread(routes.resume, asked.actor, name)
        await planner.apply(name, alone=True)
        return line(name)

    async def put_back(asked: Asked, name: str) -> bool:
        ended = await pulls.put_back(asked.actor, name, "route put back")
        forget(name, [pull.version for pull in ended])
        return bool(ended)

    def known(name: str) -> dict[str, Any]:
        if _serving(planner.memory.plan, name) is None and name not in routes.wanted():
            raise ModelNotFound(f"route '{name}' is not found: no such model")
        return line(name)

    def line(name: str) -> dict[str, Any]:
        return described_as(name, pulls.without(name, routes.of(name)))

    def described_as(name: str, wanted: Wanted) -> dict[str, Any]:
        memory, signatures = planner.memory, planner.signatures(name)
        found = described(name, wanted, planner.aliases(name), memory.plan, signatures)
        return {**found, "unwritten": memory.unwritten.why_of(name) or None}

    changes = (ConfigInvalid, StoreFailed, ArenaFull)
    of_a_route: dict[str, Any] = {"scope": "model", "path_parameters": RoutePath}
    return (
        Operation(
            "GET",
            "/api/routes",
            list_routes,
            "Every model that clients call, and how its requests are divided",
            Permission.READ,
            scope="caller",
            answer=RouteList,
            errors=(StoreFailed,),
        ),
        Operation(
            "GET",
            "/api/routes/{model}",
            show_route,
            "How a model's requests are divided",
            Permission.READ,
            answer=RouteLine,
            errors=(ModelNotFound, StoreFailed),
            **of_a_route,
        ),
        Operation(
            "PUT",
            "/api/routes/{model}",
            set_route,
            "Divide a model's requests among versions, over what the document says",
            Permission.OPERATE,
            answer=RouteLine,
            body=RouteWanted,
            errors=(*changes, ModelNotFound, VersionNotFound, InvalidParameter, Conflict),
            **of_a_route,
        ),
        Operation(
            "DELETE",
            "/api/routes/{model}",
            reset_route,
            "Take back what was set over the document's route",
            Permission.OPERATE,
            answer=RouteLine,
            errors=(*changes, NotFound, Conflict),
            **of_a_route,
        ),
        Operation(
            "POST",
            "/api/routes/{model}/stop",
            stop_route,
            "Have one version answer alone, at once",
            Permission.OPERATE,
            answer=RouteLine,
            body=StopWanted,
            errors=(*changes, ModelNotFound, VersionNotFound),
            **of_a_route,
        ),
        Operation(
            "POST",
            "/api/routes/{model}/resume",
            resume_route,
            "Divide the requests of a stopped route again, and give pulled variants theirs",
            Permission.OPERATE,
            answer=RouteLine,
            errors=(*changes, NotFound),
            **of_a_route,
        ),
    )


def described(
    name: str,
    wanted: Wanted,
    aliases: Aliases,
    plan: Plan,
    signatures: Mapping[int, Signature] = MappingProxyType({}),
) -> dict[str, Any]:
    """One route, as it is wanted and as it serves."""
    route, serving = wanted.route, _serving(plan, name)
    deployments = {} if serving is None else serving.deployments
    reasons = {one.version: one.reason for one in plan.absent if one.name == name}
    given = "leader" if wanted.leader else "api" if wanted.given else "document"
    found = ""
    if route is not None:
        odd = odd_ones(route, aliases, signatures)
        found = fault(route, aliases, deployments, reasons, wanted.pulled, odd)
    return {
        "name": name,
        "source": "model" if route is None else given,
        "leader": wanted.leader or None,
        "variants": [] if route is None else _variants(route, aliases),
        "sticky": None if route is None else _sticky(route),
        "overrides": [] if route is None else _places(route.overrides),
        "shadows": [] if route is None else _shadow_lines(route, aliases, serving),
        "fallback": None if route is None else route.main.name,
        "stopped": None if wanted.stop is None else asdict(wanted.stop),
        "pulled": [asdict(pull) for _, pull in sorted(wanted.pulled.items())],
        "failing": None if route is None else route.failing.model_dump(),
        "serving": _shares(serving),
        "fault": found or None,
    }


def _variants(route: config.Route, aliases: Aliases) -> list[dict[str, Any]]:
    versions = targets(route, aliases)
    total = sum(one.weight for one in route.variants)
    return [
        {
            "name": one.name,
            "alias": one.alias,
            "version": versions[one.name],
            "weight": one.weight,
            "share": one.weight / total,
        }
        for one in route.variants
    ]


def _shadow_lines(
    route: config.Route, aliases: Aliases, serving: Route | None
) -> list[dict[str, Any]]:
    split = None if serving is None else serving.split
    running = () if split is None else [one.version for one in split.shadows]
    return [
        {
            "alias": one.alias,
            "version": version,
            "share": one.share,
            "running": version in running,
        }
        for one, version in zip(route.shadows, shadow_targets(route, aliases), strict=True)
    ]


def _sticky(route: config.Route) -> str | None:
    return None if route.sticky is None else _places(route.sticky)[0]


def _places(section: config.Sticky | config.Overrides) -> list[str]:
    found = {"header": section.header, "parameter": section.parameter}
    return [f"{kind} {name}" for kind, name in found.items() if name is not None]


def _shares(serving: Route | None) -> list[dict[str, Any]]:
    if serving is None or serving.version not in serving.deployments:
        return []
    if serving.split is None:
        return [{"variant": None, "version": serving.version, "share": 1.0}]
    total = sum(one.weight for one in serving.split.variants)
    return [
        {"variant": one.name, "version": one.version, "share": one.weight / total}
        for one in serving.split.variants
    ]


def _serving(plan: Plan, name: str) -> Route | None:
    return next((route for route in plan.routes if route.name == name), None)


def _check(name: str, route: config.Route, planner: Plans) -> None:
    """Refuses a route over what nobody has, with where it says so.

    Raises:
        ModelNotFound, VersionNotFound: no source has it.
        InvalidParameter: an alias that its model does not have.
    """
    if not planner.knows(name):
        raise ModelNotFound(f"route '{name}': no source has a model of this name")
    versions = planner.versions(name)
    retired = {
        one.version for one in planner.memory.plan.absent if one.name == name and one.retired
    }
    wanted: list[tuple[str, config.Variant | config.Shadow]] = [
        *((f"variants[{place}]", one) for place, one in enumerate(route.variants)),
        *((f"shadows[{place}]", one) for place, one in enumerate(route.shadows)),
    ]
    for where, one in wanted:
        if one.alias is not None and one.alias not in planner.aliases(name):
            known = ", ".join(sorted(planner.aliases(name))) or "none"
            raise InvalidParameter(
                f"{where}.alias: '{name}' has no alias '{one.alias}'; it has: {known}"
            )
        if one.version in retired:
            raise VersionNotFound(f"{where}.version: version {one.version} is retired")
        if one.version is not None and one.version not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise VersionNotFound(
                f"{where}.version: '{name}' has no version {one.version}; it has: {known}"
            )


async def _check_alike(
    name: str, route: config.Route, planner: Plans, differences: Callable[[str, int, int], str]
) -> None:
    """Refuses variants whose clients would notice which of them answers, and shadows alike.

    Raises:
        Conflict: one takes or gives other tensors than the route's main one.
    """
    versions = targets(route, planner.aliases(name))
    main = versions[route.main.name]
    shadows = shadow_targets(route, planner.aliases(name))
    named = [(f"variants[{n}]", versions[one.name]) for n, one in enumerate(route.variants)]
    named += [(f"shadows[{n}]", version) for n, version in enumerate(shadows)]
    for where, version in named:
        if main is None or version is None or version == main:
            continue
        try:
            differs = await asyncio.to_thread(differences, name, main, version)
        except ModelRefused:
            continue  # it will not load, which says why
        if differs:
            raise Conflict(
                f"{where}: version {version} answers otherwise than version {main}: {differs}"
            )


def _fallback(name: str, version: int | None, wanted: Wanted, planner: Plans) -> tuple[int, str]:
    """The version that is to answer alone, and its name in the route.

    Raises:
        ModelNotFound, VersionNotFound: it does not serve.
    """
    serving = _serving(planner.memory.plan, name)
    if serving is None:
        raise ModelNotFound(f"route '{name}' cannot be stopped: no version of it serves")
    versions = {} if wanted.route is None else targets(wanted.route, planner.aliases(name))
    if version is None:
        main = None if wanted.route is None else versions[wanted.route.main.name]
        version = main or serving.version
    if version not in serving.deployments:
        known = ", ".join(map(str, sorted(serving.deployments)))
        raise VersionNotFound(
            f"route '{name}': version {version} cannot answer alone: it does not serve; "
            f"serving: {known}"
        )
    return version, next((one for one, found in versions.items() if found == version), "")
