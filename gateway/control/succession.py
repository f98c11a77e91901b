"""Works out which plan follows, from how far each deployment has come.

Knows what goes on serving until something newer can. Knows nothing of trials, workers or time: the
same arguments always give the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

from gateway.control.desired import Desired
from gateway.control.splits import Wanted, odd_ones, settle
from gateway.plan import LOADING, UNAVAILABLE, Absent, Held, Plan, Route


@dataclass(frozen=True, slots=True)
class Stand:
    """How far each deployment that is wanted has come.

    Attributes:
        ready: routed, or loaded by all: may be routed.
        coming: neither that nor refused.
        passed: those of `coming` that workers should load.
        refused: what may not run, wanted or not: deployment to reason.
    """

    ready: Sequence[Held]
    coming: Sequence[Held]
    passed: Sequence[Held]
    refused: Mapping[str, str]


def successor(
    old: Plan,
    desired: Desired,
    wanted: Sequence[Held],
    unloaded: Set[str],
    stand: Stand,
    divided: Mapping[str, Wanted] = MappingProxyType({}),
) -> Plan:
    """The plan after `old`; equal to it but for the number where nothing has changed.

    Args:
        old: the plan that stands.
        desired: faults, and which versions were chosen to answer.
        wanted: what should run.
        unloaded: models that were taken out of service on purpose.
        stand: how far `wanted` has come.
        divided: how requests for models are to be divided among versions, by name.
    """
    serving = [*stand.ready, *_going_on(old, desired, wanted, unloaded, stand)]
    routes = _routes(old, desired, serving, stand.coming, divided)
    return Plan(
        old.number + 1,
        tuple(sorted((*serving, *stand.passed), key=lambda held: held.id)),
        routes,
        _absent(desired, wanted, routes, stand),
        old.settled or not stand.coming,
    )


def known(desired: Desired) -> set[tuple[str, int]]:
    """Everything that some source has, whether it can serve or not."""
    found = {(candidate.name, candidate.version) for candidate in desired.candidates}
    return found | {(fault.name, fault.version) for fault in desired.faults}


def _going_on(
    old: Plan, desired: Desired, wanted: Sequence[Held], unloaded: Set[str], stand: Stand
) -> list[Held]:
    """What serves, is not wanted as it is, and goes on because nothing replaces it yet.

    That is the old content of a version while its new content is not ready, or for as long as that
    cannot be served; and all of a model of which nothing that is wanted is ready yet.
    """
    done = {(held.name, held.version) for held in stand.ready}
    lacking = {(held.name, held.version) for held in wanted}
    lacking |= {(fault.name, fault.version) for fault in desired.faults if fault.broken}
    begins = {held.name for held in stand.coming} - {held.name for held in stand.ready}
    routed = old.routed
    return [
        held
        for held in old.held
        if held.id in routed
        and held.id not in stand.refused
        and held.name not in unloaded
        and (held.name, held.version) not in done
        # A fault of version 0 is the whole model's.
        and (held.name in begins or {(held.name, held.version), (held.name, 0)} & lacking)
    ]


def _routes(
    old: Plan,
    desired: Desired,
    serving: Sequence[Held],
    coming: Sequence[Held],
    divided: Mapping[str, Wanted],
) -> tuple[Route, ...]:
    by_name: dict[str, dict[int, str]] = {}
    for held in serving:
        by_name.setdefault(held.name, {})[held.version] = held.id
    before = {route.name: route for route in old.routes}
    awaited = {(held.name, held.version) for held in coming}
    signatures = desired.signatures if divided else {}
    routes = []
    for name, deployments in sorted(by_name.items()):
        # A champion that cannot serve is not replaced by a version that nobody chose; while it is
        # on its way, whoever answered goes on.
        version = desired.champions.get(name, max(deployments))
        now = before.get(name)
        if (name, version) in awaited and now is not None and now.version in deployments:
            version = now.version
        split = None
        if name in divided:
            aliases, wanted = desired.aliases.get(name, {}), divided[name].route
            odd = {} if wanted is None else odd_ones(wanted, aliases, signatures.get(name, {}))
            version, split = settle(divided[name], aliases, deployments, version, now, odd)
        routes.append(Route(name, version, deployments, split))
    return tuple(routes)


def _absent(
    desired: Desired, wanted: Sequence[Held], routes: Sequence[Route], stand: Stand
) -> tuple[Absent, ...]:
    served = {(route.name, version) for route in routes for version in route.deployments}
    loading = {(held.name, held.version) for held in stand.coming} - served
    refused = (
        Absent(held.name, held.version, UNAVAILABLE, stand.refused[held.id])
        for held in wanted
        if held.id in stand.refused
    )
    on_their_way = (Absent(n, v, LOADING, "loading") for n, v in sorted(loading))
    return (*on_their_way, *refused, *desired.faults)
