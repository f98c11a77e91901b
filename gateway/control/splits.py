"""Works out how a model's requests are divided, from what was wanted and what serves.

Knows variants, aliases and versions. Knows nothing of stores, workers or time: the same arguments
always give the same answer.

Nothing is divided halfway: until every variant serves, and where one of them is not to be found,
the route stays as it last was. Where it never was anything, its main variant answers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from gateway import config
from gateway.control.signatures import differences
from gateway.plan import LOADING, Plan, Route, Shadow, Split, Variant
from gateway.tensors import Signature

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
class Pull:
    """A version was pulled: it fails, and gets no more requests of its model's route.

    Attributes:
        version: of the model.
        variant: its name in the route when it was pulled.
        why: one sentence, with the bound that was passed.
        at: seconds since 1970.
        evidence: the figures in it.
    """

    version: int
    variant: str
    why: str
    at: float
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one model's requests.

    Attributes:
        route: how they are divided; None: its default version has all.
        stop: goes before the route.
        given: somebody set the route besides the document.
        leader: whose the route is now ("rollout 7"); empty: it is as it was set.
        pulled: by version; others have their shares, whoever leads.
    """

    route: config.Route | None = None
    stop: Stop | None = None
    given: bool = False
    leader: str = ""
    pulled: Mapping[int, Pull] = field(default_factory=dict)


def settle(
    wanted: Wanted,
    aliases: Aliases,
    deployments: Collection[int],
    default: int,
    before: Route | None,
    odd: Collection[int] = (),
) -> tuple[int, Split | None]:
    """Which version stands for a model, and how its requests are divided.

    Args:
        wanted: of this model.
        aliases: that it has, and the version of each.
        deployments: the versions that serve.
        default: what would answer if nothing were wanted.
        before: the route as it is.
        odd: versions that take or give other tensors than the route's main one.
    """
    if wanted.stop is not None:
        return wanted.stop.version, _alone(wanted.stop, deployments)
    if wanted.route is None:
        return default, None
    versions = targets(wanted.route, aliases)
    main = versions[wanted.route.main.name] or default
    pulled = wanted.pulled.keys() - {main}
    asked = [version for version in versions.values() if version not in pulled]
    if all(version in deployments and version not in odd for version in asked):
        shadows = _shadows(wanted.route, aliases, {*deployments} - {*odd})
        return main, _without(_split(wanted.route, versions, shadows), pulled, main)
    if before is not None and _serves(before, deployments):
        split = _still(before.split, deployments)
        return before.version, _without(split, pulled, before.version)
    return _instead(wanted.route, versions, {*deployments} - pulled - {*odd}, main), None


def withheld(plan: Plan, wanted: Callable[[str], Wanted]) -> Plan:
    """The plan after another that is the same, but for what is stopped or pulled.

    For who knows no more than that of what is wanted: nothing comes into traffic by it.

    Args:
        plan: that stands.
        wanted: of a model's requests, as far as it is known.
    """
    routes = tuple(_withheld(route, wanted(route.name)) for route in plan.routes)
    return replace(plan, number=plan.number + 1, routes=routes)


def _withheld(route: Route, wanted: Wanted) -> Route:
    if wanted.stop is not None:
        split = _alone(wanted.stop, route.deployments)
        return replace(route, version=wanted.stop.version, split=split)
    pulled = wanted.pulled.keys() - {route.version}
    return replace(route, split=_without(route.split, pulled, route.version))


def _instead(
    route: config.Route, versions: Mapping[str, int | None], there: Collection[int], main: int
) -> int:
    """Who answers alone: the main one; the heaviest where that is gone and was to have nothing."""
    if main in there or route.main.weight:
        return main
    kept = [
        (one.weight, version)
        for one in route.variants
        if (version := versions[one.name]) in there and version is not None and one.weight
    ]
    return max(kept)[1] if kept else main


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


def shadow_targets(route: config.Route, aliases: Aliases) -> list[int | None]:
    """The version of each shadow; None where its alias names none."""
    return [one.version if one.alias is None else aliases.get(one.alias) for one in route.shadows]


def fault(
    route: config.Route,
    aliases: Aliases,
    deployments: Collection[int],
    reasons: Mapping[int, str],
    pulled: Collection[int] = (),
    odd: Mapping[int, str] = MappingProxyType({}),
) -> str:
    """Why a route is not as it is wanted; empty where it is.

    Args:
        route: as wanted.
        aliases: that its model has.
        deployments: the versions that serve.
        reasons: why others do not.
        pulled: versions that need not.
        odd: what others take or give that the main one does not.
    """
    faults = []
    versions = targets(route, aliases)
    wanted = [
        (f"variants[{place}] ({one.name})", one.alias, versions[one.name])
        for place, one in enumerate(route.variants)
    ]
    shadows = enumerate(zip(route.shadows, shadow_targets(route, aliases), strict=True))
    wanted += [(f"shadows[{place}]", one.alias, version) for place, (one, version) in shadows]
    for where, alias, version in wanted:
        if version is None:
            faults.append(f"{where}: its model has no alias '{alias}'")
        elif version not in deployments and version not in pulled:
            why = reasons.get(version, "its model has no such version")
            faults.append(f"{where}: version {version} does not serve: {why}")
        elif version in odd and version not in pulled:
            faults.append(f"{where}: version {version} differs from the fallback's: {odd[version]}")
    return "; ".join(faults)


def odd_ones(
    route: config.Route, aliases: Aliases, signatures: Mapping[int, Signature]
) -> dict[int, str]:
    """What a route's versions take or give otherwise than its main one, as far as that is known.

    Args:
        route: as wanted.
        aliases: that its model has.
        signatures: of its model's versions.
    """
    versions = targets(route, aliases)
    main = signatures.get(versions[route.main.name] or 0)
    named = (*versions.values(), *shadow_targets(route, aliases))
    told = {one: signatures[one] for one in named if one in signatures and one}
    if main is None:
        return {}
    return {one: said for one, mine in told.items() if (said := differences(main, mine))}


def faults(
    divided: Mapping[str, Wanted],
    aliases: Mapping[str, Aliases],
    plan: Plan,
    signatures: Mapping[str, Mapping[int, Signature]] = MappingProxyType({}),
) -> dict[str, str]:
    """Why routes are not as they are wanted, by name; of those for which nothing is on its way.

    `signatures`: by model and version.
    """
    routes = {route.name: route for route in plan.routes}
    coming = {one.name for one in plan.absent if one.state == LOADING}
    found = {}
    for name, wanted in divided.items():
        if wanted.route is not None and name not in coming:
            serving = routes[name].deployments if name in routes else ()
            reasons = {one.version: one.reason for one in plan.absent if one.name == name}
            given = aliases.get(name, {})
            odd = odd_ones(wanted.route, given, signatures.get(name, {}))
            if why := fault(wanted.route, given, serving, reasons, wanted.pulled, odd):
                found[name] = why
    return found


def _serves(route: Route, deployments: Collection[int]) -> bool:
    versions = [one.version for one in route.split.variants] if route.split else [route.version]
    return all(version in deployments for version in versions)


def _alone(stop: Stop, deployments: Collection[int]) -> Split | None:
    if not stop.variant or stop.version not in deployments:
        return None
    return Split((Variant(stop.variant, stop.version, 1.0),))


def _without(split: Split | None, pulled: Collection[int], main: int) -> Split | None:
    """A split whose pulled versions get nothing; None where nothing of it is left."""
    if split is None:
        return None
    shadows = tuple(one for one in split.shadows if one.version not in pulled)
    split = replace(split, shadows=shadows)
    out = [one for one in split.variants if one.version in pulled]
    if not out:
        return split
    kept = [one for one in split.variants if one not in out]
    if not any(one.weight for one in kept):
        kept = [replace(one, weight=1.0) for one in kept if one.version == main]
    if not kept:
        return None
    heir = max(kept, key=lambda one: (one.version == main, one.weight)).name
    names = {name for one in out for name in (one.name, str(one.version))} | split.instead.keys()
    return replace(split, variants=tuple(kept), instead=dict.fromkeys(sorted(names), heir))


def _shadows(
    route: config.Route, aliases: Aliases, deployments: Collection[int]
) -> tuple[Shadow, ...]:
    """Those that serve; what does not keeps no request from being answered."""
    found: dict[int, Shadow] = {}
    for one, version in zip(route.shadows, shadow_targets(route, aliases), strict=True):
        if version is not None and version in deployments and version not in found:
            bounds = one.tolerance, one.max_waiting_rows, one.max_waiting_bytes
            found[version] = Shadow(version, one.share, *bounds)
    return tuple(found.values())


def _still(split: Split | None, deployments: Collection[int]) -> Split | None:
    """As it was, but for shadows that do not serve any more."""
    if split is None:
        return None
    shadows = tuple(one for one in split.shadows if one.version in deployments)
    return replace(split, shadows=shadows)


def _split(
    route: config.Route, versions: Mapping[str, int | None], shadows: tuple[Shadow, ...]
) -> Split:
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
        shadows=shadows,
    )
