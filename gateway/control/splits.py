"""Works out how a model's requests are divided, from what was wanted and what serves.

Knows variants, aliases and versions. Knows nothing of stores, workers or time: the same arguments
always give the same answer.

Nothing is divided halfway: until every variant serves, and where one of them is not to be found,
the route stays as it last was. Where it never was anything, its main variant answers alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway import config
from gateway.plan import LOADING, Plan, Route, Split, Variant

Aliases = Mapping[str, int]
BASELINE = "baseline"
"""The one variant of a model without a route, for whoever leads it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One version answers alone, whatever was wanted before.

    Attributes:
        variant: its name in the route; empty where it is none of its variants.
        who, why, at: who stopped it, what for, and when (seconds since 1970).
    """

    version: int
    variant: str
    who: str
    why: str
    at: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one model's requests.

    Attributes:
        route: how they are divided; None: its default version has all.
        stop: goes before the route.
        given: somebody set the route besides the document.
        leader: whose the route is now ("rollout 7"); empty: it is as it was set.
    """

    route: config.Route | None = None
    stop: Stop | None = None
    given: bool = False
    leader: str = ""


def settle(
    wanted: Wanted,
    aliases: Aliases,
    deployments: Collection[int],
    default: int,
    before: Route | None,
) -> tuple[int, Split | None]:
    """Which version stands for a model, and how its requests are divided.

    Args:
        wanted: of this model.
        aliases: that it has, and the version of each.
        deployments: the versions that serve.
        default: what would answer if nothing were wanted.
        before: the route as it is.
    """
    if wanted.stop is not None:
        return wanted.stop.version, _alone(wanted.stop, deployments)
    if wanted.route is None:
        return default, None
    versions = targets(wanted.route, aliases)
    main = versions[wanted.route.main.name] or default
    if all(version in deployments for version in versions.values()):
        return main, _split(wanted.route, versions)
    if before is not None and _serves(before, deployments):
        return before.version, before.split
    return main, None


def targets(route: config.Route, aliases: Aliases) -> dict[str, int | None]:
    """The version of each variant; None where its alias names none."""
    return {
        one.name: one.version if one.alias is None else aliases.get(one.alias)
        for one in route.variants
    }


def basis(wanted: Wanted, serving: int) -> config.Route:
    """The route that a leader changes: as it is wanted, or of the version that serves without one.

    Args:
        wanted: of the model, beneath any leader.
        serving: the version that stands for it.
    """
    if wanted.route is not None:
        return wanted.route
    return config.Route(variants=[config.Variant(name=BASELINE, version=serving)])


def fault(
    route: config.Route, aliases: Aliases, deployments: Collection[int], reasons: Mapping[int, str]
) -> str:
    """Why a route is not as it is wanted; empty where it is.

    Args:
        route: as wanted.
        aliases: that its model has.
        deployments: the versions that serve.
        reasons: why others do not.
    """
    faults = []
    for place, variant in enumerate(route.variants):
        version = targets(route, aliases)[variant.name]
        where = f"variants[{place}] ({variant.name})"
        if version is None:
            faults.append(f"{where}: its model has no alias '{variant.alias}'")
        elif version not in deployments:
            why = reasons.get(version, "its model has no such version")
            faults.append(f"{where}: version {version} does not serve: {why}")
    return "; ".join(faults)


def faults(
    divided: Mapping[str, Wanted], aliases: Mapping[str, Aliases], plan: Plan
) -> dict[str, str]:
    """Why routes are not as they are wanted, by name; of those for which nothing is on its way."""
    routes = {route.name: route for route in plan.routes}
    coming = {one.name for one in plan.absent if one.state == LOADING}
    found = {}
    for name, wanted in divided.items():
        if wanted.route is not None and name not in coming:
            serving = routes[name].deployments if name in routes else ()
            reasons = {one.version: one.reason for one in plan.absent if one.name == name}
            if why := fault(wanted.route, aliases.get(name, {}), serving, reasons):
                found[name] = why
    return found


def _serves(route: Route, deployments: Collection[int]) -> bool:
    versions = [one.version for one in route.split.variants] if route.split else [route.version]
    return all(version in deployments for version in versions)


def _alone(stop: Stop, deployments: Collection[int]) -> Split | None:
    if not stop.variant or stop.version not in deployments:
        return None
    return Split((Variant(stop.variant, stop.version, 1.0),))


def _split(route: config.Route, versions: Mapping[str, int | None]) -> Split:
    sticky = route.sticky
    return Split(
        tuple(
            Variant(one.name, version, one.weight)
            for one in route.variants
            if (version := versions[one.name]) is not None
        ),
        (sticky and sticky.header) or "",
        (sticky and sticky.parameter) or "",
        route.overrides.header or "",
        route.overrides.parameter or "",
    )
