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
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.control.desired import UNLOADED, Desired
from gateway.control.served import difference
from gateway.errors import GatewayError
from gateway.plan import Absent, Held, Plan, Route

log = logging.getLogger("penstock.control")

CRASHES_TO_QUARANTINE = 2
_QUARANTINED = (
    "quarantined: it crashed a worker natively {} times; new content, or loading it by name, "
    "gives it another chance"
)
Trial = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Note(Protocol):
    """Writes a decision down (recorder.Recorder.note)."""

    def __call__(
        self,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Returns at once."""


class Publisher(Protocol):
    """Where plans go (links.Links)."""

    def publish(self, plan: Plan) -> None:
        """Sends a plan to every worker."""

    async def settled(self, number: int, deadline_s: float) -> dict[str, str]:
        """Waits until all follow plan `number`; what any refused, by deployment id."""
        ...

    def followed(self, number: int) -> bool:
        """All follow plan `number` or a newer one."""
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
        want: Callable[[Set[tuple[str, int]]], None],
        load_deadline_s: float,
        note: Note,
    ) -> None:
        """Takes its collaborators.

        Args:
            memory: what an earlier control left, or an empty one.
            publisher: carries plans to the workers.
            allocate: gives the offset of a version's counters.
            trial: tries a deployment out where a crash does no harm.
            gather: finds what should run now. Blocks; called on a thread.
            store: keeps the memory; called before each plan goes out.
            want: hears which versions are known, once all workers follow the plan that says so.
            load_deadline_s: how long workers may take to load.
            note: hears what is decided here, for the audit.
        """
        self.memory = memory
        self._publisher = publisher
        self._allocate = allocate
        self._trial = trial
        self._gather = gather
        self._store = store
        self._want = want
        self._load_deadline_s = load_deadline_s
        self._note = note
        self._applying = asyncio.Lock()

    async def apply(self) -> tuple[Absent, ...]:
        """Brings the workers to what should run now.

        Returns:
            What is known and does not serve, with reasons.
        """
        async with self._applying:
            desired = await asyncio.to_thread(self._gather, self.memory)
            old = self.memory.plan
            wanted, desired = self._held(desired)
            known = {held.id for held in old.held}
            self._tidy({held.id for held in wanted} | known, desired)
            fresh = [held for held in wanted if held.id not in known]
            self._announce(desired, wanted, fresh)
            await self._try_out(fresh)
            good = self._good(wanted)
            new = [held for held in good if held.id not in known]
            if new:
                both = {held.id: held for held in (*old.held, *new) if self._may_run(held)}
                self._publish(held=tuple(both.values()))
                refused = await self._settled()
                self._refuse({i: why for i, why in refused.items() if i not in known}, "workers")
                good = self._good(wanted)
            good += self._fallbacks(old, wanted, desired)
            absent = self._absent(desired, wanted)
            self._complain(absent, old)
            self._publish(held=tuple(good), routes=_routes(good, desired), absent=absent)
            await self._settled()
            self._forget_blocks(desired)
            if (change := difference(old, self.memory.plan)) is not None:
                self._note("serve", f"plan {self.memory.plan.number}", *change)
            return absent

    def resume(self) -> None:
        """Publishes the plan that an earlier control process left: workers born now serve."""
        if self.memory.plan.number:
            self._publisher.publish(self.memory.plan)

    async def crashed(self, blocks: Sequence[int]) -> None:
        """A worker crashed natively while it loaded or ran the models that count in `blocks`.

        Of several suspects only those with the most crashes behind them are blamed: the others were
        beside them.
        """
        crashes = self.memory.crashes
        suspects = [held.id for held in self.memory.plan.held if held.block in blocks]
        most = max((crashes.get(held, 0) for held in suspects), default=0)
        blamed = {held for held in suspects if crashes.get(held, 0) == most}
        for held in blamed:
            crashes[held] = most + 1
            self._note("blame crash", held, {"crashes": most}, {"crashes": most + 1})
            if most + 1 >= CRASHES_TO_QUARANTINE:
                self.memory.refused[held] = _QUARANTINED.format(most + 1)
                self._note("quarantine", held, None, {"crashes": most + 1})
        if most + 1 >= CRASHES_TO_QUARANTINE:
            # At once: a change may be waiting for the very worker that this model keeps killing.
            self._withdraw(blamed)
            await self.apply()
        else:
            self._store(self.memory)

    def reload(self, name: str) -> None:
        """Forgets what was held against a model and loads it anew at the next `apply`."""
        self.memory.unloaded.discard(name)
        self.memory.loads[name] = self.memory.loads.get(name, 0) + 1
        self.forget_refusals(name)

    def forget_refusals(self, name: str | None = None) -> None:
        """Gives refused deployments another chance: of all models, or of one, named on purpose.

        What is quarantined crashed workers, not just a trial: only who names it gets it back.
        """
        memory = self.memory
        for held in list(memory.refused):
            quarantined = memory.crashes.get(held, 0) >= CRASHES_TO_QUARANTINE
            if held.startswith(f"{name}/") if name is not None else not quarantined:
                del memory.refused[held]
                memory.crashes.pop(held, None)

    # ---- steps of a change ----------------------------------------------------------------------

    def _held(self, desired: Desired) -> tuple[list[Held], Desired]:
        """What to hold; candidates that cannot be counted join the faults."""
        held: list[Held] = []
        faults = list(desired.faults)
        for candidate in desired.candidates:
            try:
                block = self._allocate(candidate.name, candidate.version)
            except GatewayError as error:
                faults.append(Absent(candidate.name, candidate.version, "UNAVAILABLE", str(error)))
                continue
            held.append(
                Held(
                    name=candidate.name,
                    version=candidate.version,
                    folder=str(candidate.folder),
                    file=candidate.file,
                    digest=candidate.digest,
                    settings=candidate.settings,
                    declared=candidate.declared,
                    block=block,
                    load=self.memory.loads.get(candidate.name, 0),
                )
            )
        return held, dataclasses.replace(desired, faults=faults)

    def _tidy(self, ids: Set[str], desired: Desired) -> None:
        """Forgets what is remembered of deployments and models that are no more."""
        memory = self.memory
        memory.refused = {held: why for held, why in memory.refused.items() if held in ids}
        memory.crashes = {held: count for held, count in memory.crashes.items() if held in ids}
        names = {name for name, _ in _known(desired)}
        memory.loads = {name: count for name, count in memory.loads.items() if name in names}
        memory.unloaded &= names

    def _may_run(self, held: Held) -> bool:
        return held.id not in self.memory.refused

    def _good(self, wanted: Sequence[Held]) -> list[Held]:
        return [held for held in wanted if self._may_run(held)]

    def _announce(self, desired: Desired, wanted: Sequence[Held], fresh: Sequence[Held]) -> None:
        loading = {(held.name, held.version) for held in self._good(fresh)}
        served = {(route.name, v) for route in self.memory.plan.routes for v in route.deployments}
        announced = [Absent(n, v, "LOADING", "loading") for n, v in sorted(loading - served)]
        if announced or not self.memory.plan.number:
            self._publish(absent=(*announced, *self._absent(desired, wanted)))

    async def _try_out(self, new: Sequence[Held]) -> None:
        async def one(held: Held) -> None:
            report = await self._trial(dataclasses.asdict(held))
            if not report["ok"]:
                self._refuse({held.id: report["reason"]}, "trial")

        await asyncio.gather(*(one(h) for h in new if h.id not in self.memory.refused))

    def _refuse(self, reasons: Mapping[str, str], by: str) -> None:
        for held, reason in reasons.items():
            if self.memory.refused.get(held) != reason:
                self.memory.refused[held] = reason
                self._note("refuse", held, None, {"by": by, "reason": reason})

    def _fallbacks(self, old: Plan, wanted: Sequence[Held], desired: Desired) -> list[Held]:
        """A version whose new content cannot be served goes on serving its old content."""
        fine = {(held.name, held.version) for held in self._good(wanted)}
        failed = {(held.name, held.version) for held in wanted} - fine
        failed |= {(fault.name, fault.version) for fault in desired.faults if _broken(fault)}
        serving = {held for route in old.routes for held in route.deployments.values()}
        return [
            held
            for held in old.held
            # A fault of version 0 is the whole model's.
            if {(held.name, held.version), (held.name, 0)} & failed
            and (held.name, held.version) not in fine
            and held.name not in self.memory.unloaded
            and held.id in serving
            and self._may_run(held)
        ]

    def _absent(self, desired: Desired, wanted: Sequence[Held]) -> tuple[Absent, ...]:
        refused = self.memory.refused
        broken = [
            Absent(held.name, held.version, "UNAVAILABLE", refused[held.id])
            for held in wanted
            if held.id in refused
        ]
        return (*broken, *desired.faults)

    def _complain(self, absent: Sequence[Absent], old: Plan) -> None:
        """Logs what does not serve, once."""
        for one in absent:
            if one not in old.absent and _broken(one):
                log.error("model '%s' version %d: %s", one.name, one.version, one.reason)

    def _withdraw(self, ids: Set[str]) -> None:
        """Takes deployments out of the plan without waiting for anything."""
        plan = self.memory.plan
        routes = []
        for route in plan.routes:
            left = {v: held for v, held in route.deployments.items() if held not in ids}
            if left:
                version = route.version if route.version in left else max(left)
                routes.append(Route(route.name, version, left))
        gone = [
            Absent(held.name, held.version, "UNAVAILABLE", self.memory.refused[held.id])
            for held in plan.held
            if held.id in ids
        ]
        self._complain(gone, plan)
        kept = tuple(held for held in plan.held if held.id not in ids)
        self._publish(held=kept, routes=tuple(routes), absent=(*gone, *plan.absent))

    def _forget_blocks(self, desired: Desired) -> None:
        plan = self.memory.plan
        if self._publisher.followed(plan.number):
            self._want(_known(desired) | {(held.name, held.version) for held in plan.held})

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


def _known(desired: Desired) -> set[tuple[str, int]]:
    """Everything that some source has, whether it can serve or not."""
    known = {(candidate.name, candidate.version) for candidate in desired.candidates}
    return known | {(fault.name, fault.version) for fault in desired.faults}


def _broken(absent: Absent) -> bool:
    """Absent, and not because somebody wanted it so."""
    return absent.reason != UNLOADED


def _routes(good: Sequence[Held], desired: Desired) -> tuple[Route, ...]:
    by_name: dict[str, dict[int, str]] = {}
    for held in good:
        by_name.setdefault(held.name, {})[held.version] = held.id
    routes = []
    for name, deployments in sorted(by_name.items()):
        # A champion that cannot serve is not replaced by a version that nobody chose.
        version = desired.champions.get(name, max(deployments))
        routes.append(Route(name, version, deployments))
    return tuple(routes)
