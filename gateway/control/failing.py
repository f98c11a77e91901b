"""Pulls versions that fail: at once, whatever their share of a route, wherever the evidence is.

Knows counts of versions, who stands for a route, and when failures are too many
(`rollouts.failing`). Knows nothing of how a version is pulled, or of what else follows from it.

Nothing here waits for a tick, where clients get the answers. A worker rings when a version has
failed; a crash that a version is blamed for is told by the supervisor. Counts of all workers are in
the arena by then, so that one look adds them up. Shadows, which fail nobody, are looked at every
second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.config import Failing as Bounds
from gateway.control.splits import Wanted
from gateway.monitor.arena import Arena
from gateway.monitor.report import results
from gateway.plan import Held, Plan, Route
from gateway.rollouts.failing import Evidence, Tally, Watch, crash

log = logging.getLogger("penstock.control")

OnFailing = Callable[[str, int, Evidence], None]
"""Hears of every version whose failures are too many: model, version, and what shows it. Returns at
once. It is called again and again for as long as that version goes on failing."""
NOTHING = Tally(0, 0)


class Pulling(Protocol):
    """Takes a version out of its route, in every worker (`pulls.Pulls`, and then a plan)."""

    def __call__(self, model: str, version: int, variant: str, evidence: Evidence) -> None:
        """Returns at once."""


class Failing:
    """Lives on control's event loop.

    Attributes:
        listeners: hear of versions that fail, pulled or not: one that stands for its route is not.
    """

    def __init__(
        self,
        arena: Arena,
        plan: Callable[[], Plan],
        wanted: Callable[[str], Wanted],
        pull: Pulling,
        copies: Callable[[str, int], tuple[int, int]] = lambda model, version: (0, 0),
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: what workers count.
            plan: the newest.
            wanted: of one model's requests.
            pull: takes a version out of its route.
            copies: of requests, that a shadow of a model ran and that it failed.
        """
        self._arena = arena
        self._plan = plan
        self._wanted = wanted
        self._pull = pull
        self._copies = copies
        self._watches: dict[tuple[str, int], Watch] = {}
        self._shadows: dict[tuple[str, int], tuple[Tally, Watch]] = {}
        self.listeners: list[OnFailing] = []

    def rang(self, blocks: Iterable[int]) -> None:
        """A worker says that the versions that count there have failed requests."""
        plan = self._plan()
        there = {held.block: held for held in plan.held}
        for held in (there[block] for block in blocks if block in there):
            route = _route(plan, held.name)
            bounds = self._bounds(held.name)
            if bounds.enabled:
                evidence = self._look(held, self._other(plan, route, held.version), bounds)
                if evidence is not None:
                    self._decide(route, held.name, held.version, evidence)

    def crashed(self, blamed: Iterable[str], worker: int, how: str) -> None:
        """A worker crashed natively, and these deployments are blamed for it."""
        plan = self._plan()
        for held in plan.held:
            if held.id in blamed and self._bounds(held.name).enabled:
                route = _route(plan, held.name)
                self._decide(route, held.name, held.version, crash(worker, how))

    def look_at_shadows(self) -> None:
        """Pulls those that fail their copies as often as would have a variant pulled.

        What they copy was answered, so that there is nothing else whose fault it could be.
        """
        shadows = [(route, one) for route in self._plan().routes for one in _shadows(route)]
        running = {(route.name, version) for route, version in shadows}
        self._shadows = {key: one for key, one in self._shadows.items() if key in running}
        for route, version in shadows:
            bounds, counts = self._bounds(route.name), self._copies(route.name, version)
            evidence = self._look_at_copies((route.name, version), Tally(*counts), bounds)
            if evidence is not None and bounds.enabled:
                self._decide(route, route.name, version, evidence, ("a shadow",))

    def _look_at_copies(self, key: tuple[str, int], own: Tally, bounds: Bounds) -> Evidence | None:
        before, watch = self._shadows.get(key, (own, Watch(own, NOTHING)))
        if own.failed < before.failed or own.ok < before.ok:  # their block was made anew
            watch = Watch(NOTHING, NOTHING)
        self._shadows[key] = own, watch
        return watch.look(own, NOTHING, bounds)

    def forget(self, model: str, versions: Iterable[int]) -> None:
        """They get another chance: what they failed before is not held against them."""
        for version in versions:
            self._watches.pop((model, version), None)
            self._shadows.pop((model, version), None)

    def _bounds(self, model: str) -> Bounds:
        route = self._wanted(model).route
        return Bounds() if route is None else route.failing

    def _other(self, plan: Plan, route: Route | None, version: int) -> Tally:
        """The counts of what would answer in the place of a version."""
        if route is None or route.version == version:
            return NOTHING
        main = route.deployments.get(route.version)
        return next((self._tally(held) for held in plan.held if held.id == main), NOTHING)

    def _look(self, held: Held, other: Tally, bounds: Bounds) -> Evidence | None:
        own = self._tally(held)
        watch = self._watches.get((held.name, held.version))
        if watch is None:
            # What it failed before the first ring is known of nothing but that: it rang at once.
            watch = Watch(Tally(own.ok, max(own.failed - 1, 0)), other)
            self._watches[held.name, held.version] = watch
        return watch.look(own, other, bounds)

    def _tally(self, held: Held) -> Tally:
        return Tally(*results(self._arena, held.block))

    def _decide(
        self,
        route: Route | None,
        model: str,
        version: int,
        evidence: Evidence,
        names: Sequence[str] = (),
    ) -> None:
        names = names or _pullable(route, version, evidence)
        if names and version not in self._wanted(model).pulled:
            variant = ", ".join(names)
            log.error(
                "route '%s': variant '%s' (version %d) is pulled: %s",
                *(model, variant, version, evidence.says),
            )
            self._pull(model, version, variant, evidence)
        for listener in self.listeners:
            listener(model, version, evidence)


def _route(plan: Plan, model: str) -> Route | None:
    return next((route for route in plan.routes if route.name == model), None)


def _pullable(route: Route | None, version: int, evidence: Evidence) -> Sequence[str]:
    """The variants of a version that others can stand in for; none where it stands for all.

    A shadow that crashes takes its worker along; what it fails of its own requests, by paths that
    name its version, is none of the route's.
    """
    if route is None or route.split is None or route.version == version:
        return ()
    names = [one.name for one in route.split.variants if one.version == version]
    shadows = route.split.shadows if evidence.kind == "crash" else ()
    return names or ["a shadow" for one in shadows if one.version == version]


def _shadows(route: Route) -> list[int]:
    """Versions that run copies of a route's requests and answer none of them."""
    if route.split is None:
        return []
    answering = {route.version, *(one.version for one in route.split.variants)}
    return [one.version for one in route.split.shadows if one.version not in answering]
