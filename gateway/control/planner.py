"""Turns what should run into plans: tries new models out, publishes, waits, moves routes, drops.

Knows the order in which a change is safe. Knows nothing of where models come from (desired.py), of
how messages travel (links.py), or of HTTP.

A change takes two plans. The first holds old and new and leaves the routes alone; once every worker
has loaded the new, the second moves the routes and lets the old go. No request meets a missing
model.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.control.desired import Desired
from gateway.plan import Absent, Held, Plan, Route

log = logging.getLogger("penstock.control")

CRASHES_TO_QUARANTINE = 2
Trial = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Publisher(Protocol):
    """Where plans go (links.Links)."""

    def publish(self, plan: Plan) -> None:
        """Sends a plan to every worker."""

    async def settled(self, number: int, deadline_s: float) -> dict[str, str]:
        """Waits until all follow plan `number`; what any refused, by deployment id."""
        ...


@dataclass(slots=True)
class Memory:
    """What outlives a control process: it is stored with each plan."""

    plan: Plan = field(default_factory=lambda: Plan(0))
    crashes: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unloaded: set[str] = field(default_factory=set)
    loads: dict[str, int] = field(default_factory=dict)


class Planner:
    """The one place where plans are made. Changes are applied one after the other."""

    def __init__(
        self,
        memory: Memory,
        publisher: Publisher,
        allocate: Callable[[str, int], int],
        trial: Trial,
        gather: Callable[[Memory], Desired],
        store: Callable[[Memory], None],
        load_deadline_s: float,
    ) -> None:
        self.memory = memory
        self._publisher = publisher
        self._allocate = allocate
        self._trial = trial
        self._gather = gather
        self._store = store
        self._load_deadline_s = load_deadline_s
        self._applying = asyncio.Lock()

    async def apply(self) -> tuple[Absent, ...]:
        """Brings the workers to what should run now.

        Returns:
            What is known and does not serve, with reasons.
        """
        async with self._applying:
            desired = await asyncio.to_thread(self._gather, self.memory)
            old = self.memory.plan
            wanted = self._held(desired)
            known = {held.id for held in old.held}
            self._announce(desired, [held for held in wanted if held.id not in known])
            await self._try_out([held for held in wanted if held.id not in known])
            good = [held for held in wanted if held.id not in self.memory.refused]
            new = [held for held in good if held.id not in known]
            if new:
                both = {held.id: held for held in (*old.held, *new)}
                self._publish(held=tuple(both.values()))
                refused = await self._settled()
                self.memory.refused |= {i: why for i, why in refused.items() if i not in known}
                good = [held for held in good if held.id not in self.memory.refused]
            good += self._fallbacks(old, wanted)
            absent = self._absent(desired, wanted)
            self._publish(held=tuple(good), routes=_routes(good, desired), absent=absent)
            await self._settled()
            return absent

    def resume(self) -> None:
        """Publishes the plan that an earlier control process left: workers born now serve."""
        if self.memory.plan.number:
            self._publisher.publish(self.memory.plan)

    async def crashed(self, blocks: Sequence[int]) -> None:
        """A worker crashed natively while it ran the models that count in `blocks`."""
        for held in self.memory.plan.held:
            if held.block in blocks:
                count = self.memory.crashes.get(held.id, 0) + 1
                self.memory.crashes[held.id] = count
                if count >= CRASHES_TO_QUARANTINE:
                    reason = f"quarantined: it crashed a worker natively {count} times"
                    self.memory.refused[held.id] = reason
                    log.error("model '%s' version %d is %s", held.name, held.version, reason)
        self._store(self.memory)
        if any(held.id in self.memory.refused for held in self.memory.plan.held):
            await self.apply()

    def reload(self, name: str) -> None:
        """Forgets what was held against a model and loads it anew at the next `apply`."""
        self.memory.unloaded.discard(name)
        self.memory.loads[name] = self.memory.loads.get(name, 0) + 1
        self.forget_refusals(name)

    def forget_refusals(self, name: str | None = None) -> None:
        """Gives refused deployments (of one model, or all) another chance."""
        for table in (self.memory.refused, self.memory.crashes):
            for held in [i for i in table if name is None or i.startswith(f"{name}/")]:
                del table[held]

    # ---- steps of a change ----------------------------------------------------------------------

    def _held(self, desired: Desired) -> list[Held]:
        return [
            Held(
                name=candidate.name,
                version=candidate.version,
                folder=str(candidate.folder),
                file=candidate.file,
                digest=candidate.digest,
                settings=candidate.settings,
                declared=candidate.declared,
                block=self._allocate(candidate.name, candidate.version),
                load=self.memory.loads.get(candidate.name, 0),
            )
            for candidate in desired.candidates
        ]

    def _announce(self, desired: Desired, new: Sequence[Held]) -> None:
        loading = {(h.name, h.version) for h in new if h.id not in self.memory.refused}
        served = {(route.name, v) for route in self.memory.plan.routes for v in route.deployments}
        announced = [Absent(n, v, "LOADING", "loading") for n, v in sorted(loading - served)]
        if announced or not self.memory.plan.number:
            self._publish(absent=(*announced, *desired.faults))

    async def _try_out(self, new: Sequence[Held]) -> None:
        async def one(held: Held) -> None:
            report = await self._trial(dataclasses.asdict(held))
            if not report["ok"]:
                self.memory.refused[held.id] = report["reason"]

        await asyncio.gather(*(one(h) for h in new if h.id not in self.memory.refused))

    def _fallbacks(self, old: Plan, wanted: Sequence[Held]) -> list[Held]:
        """A version whose new content was refused goes on serving its old content."""
        refused = self.memory.refused
        failed = {(held.name, held.version) for held in wanted if held.id in refused}
        serving = {held for route in old.routes for held in route.deployments.values()}
        return [
            held
            for held in old.held
            if (held.name, held.version) in failed and held.id in serving and held.id not in refused
        ]

    def _absent(self, desired: Desired, wanted: Sequence[Held]) -> tuple[Absent, ...]:
        refused = self.memory.refused
        broken = [
            Absent(held.name, held.version, "UNAVAILABLE", refused[held.id])
            for held in wanted
            if held.id in refused
        ]
        for absent in broken:
            log.error("model '%s' version %d: %s", absent.name, absent.version, absent.reason)
        return (*broken, *desired.faults)

    def _publish(
        self,
        held: tuple[Held, ...] | None = None,
        routes: tuple[Route, ...] | None = None,
        absent: tuple[Absent, ...] | None = None,
    ) -> None:
        old = self.memory.plan
        plan = Plan(
            old.number + 1,
            old.held if held is None else held,
            old.routes if routes is None else routes,
            old.absent if absent is None else absent,
        )
        self.memory.plan = plan
        self._store(self.memory)
        self._publisher.publish(plan)

    async def _settled(self) -> dict[str, str]:
        return await self._publisher.settled(self.memory.plan.number, self._load_deadline_s)


def _routes(good: Sequence[Held], desired: Desired) -> tuple[Route, ...]:
    by_name: dict[str, dict[int, str]] = {}
    for held in good:
        by_name.setdefault(held.name, {})[held.version] = held.id
    routes = []
    for name, deployments in sorted(by_name.items()):
        champion = desired.champions.get(name)
        version = champion if champion in deployments else max(deployments)
        routes.append(Route(name, version, deployments))
    return tuple(routes)
