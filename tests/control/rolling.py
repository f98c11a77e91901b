"""Rollouts with a real store and routes, and fakes for workers, judges and the clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import config
from gateway.alerts.notices import Notice
from gateway.config import Config
from gateway.config.rollout import RolloutPlan
from gateway.control.audit import Actor, by_itself
from gateway.control.memory import Memory
from gateway.control.releases import Releases
from gateway.control.rollout_effects import Effects
from gateway.control.rollout_notices import notice
from gateway.control.rollout_store import RolloutStore
from gateway.control.rollouts import Rollouts
from gateway.control.routes import Routes
from gateway.control.splits import Pull, settle
from gateway.control.store import Store
from gateway.plan import LOADING, UNASKED, UNAVAILABLE, Absent, Plan, Route
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.shares import Given
from gateway.rollouts.stand import Stand
from tests.control.auditing import ANN
from tests.rollouts.machinery import plan_of

PLAN = plan_of({"percent": 10}, {"percent": 100}, watch_s=5)


@dataclass
class Workers:
    """A planner whose workers do as they are told, at once or when a test says so.

    Attributes:
        loaded: versions of `m` that serve.
        there: versions that its source has.
        named: aliases of `m`.
        broken: why versions cannot serve.
        out: those that somebody took out of service.
        lagging: no worker follows what is sent out.
    """

    routes: Routes
    document: Config
    loaded: set[int] = field(default_factory=lambda: {1})
    there: set[int] = field(default_factory=lambda: {1, 2, 3})
    named: dict[str, int] = field(default_factory=lambda: {"champion": 1})
    broken: dict[int, str] = field(default_factory=dict)
    out: dict[int, Absent] = field(default_factory=dict)
    slow: set[int] = field(default_factory=set)
    lagging: bool = False
    sent: list[dict[int, float]] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    known_aliases: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._look()

    def _look(self) -> None:
        self.known_aliases = dict(self.named)
        wanted = self.routes.versions(self.document, "m") | set(self.named.values())
        away = self.broken.keys() | self.out.keys()
        self.loaded |= {v for v in wanted & self.there if v not in self.slow | away}
        self.loaded -= away
        self.divide_soon()

    async def look(self, only: str | None = None) -> None:
        self._look()

    def divide_soon(self) -> int:
        old = self.memory.plan
        deployments = {version: f"m/{version}" for version in sorted(self.loaded)}
        default = self.known_aliases.get("champion", max(deployments, default=0))
        before = next(iter(old.routes), None)
        wanted = self.routes.of("m")
        version, split = settle(wanted, self.known_aliases, deployments, default, before)
        absent = tuple(self._absent(one) for one in sorted(self.there - self.loaded))
        routes = (Route("m", version, deployments, split),) if deployments else ()
        self.memory.plan = Plan(old.number + 1, (), routes, absent, True)
        if self.shares() != (self.sent[-1] if self.sent else None):
            self.sent.append(self.shares())
        return self.memory.plan.number

    def _absent(self, version: int) -> Absent:
        if version in self.out:
            return self.out[version]
        if version in self.broken:
            return Absent("m", version, UNAVAILABLE, self.broken[version])
        state, why = (LOADING, "loading") if version in self.slow else (UNAVAILABLE, UNASKED)
        return Absent("m", version, state, why)

    def shares(self) -> dict[int, float]:
        """Who answers how many of 100 requests."""
        if not self.memory.plan.routes:
            return {}
        (route,) = self.memory.plan.routes
        if route.split is None:
            return {route.version: 100.0}
        total = sum(one.weight for one in route.split.variants)
        return {
            one.version: round(100 * one.weight / total, 6)
            for one in route.split.variants
            if one.weight
        }

    def followed(self, number: int) -> bool:
        return not self.lagging

    def knows(self, name: str) -> bool:
        return name == "m"

    def versions(self, name: str) -> set[int]:
        return self.there

    def aliases(self, name: str) -> dict[str, int]:
        return self.known_aliases


@dataclass
class Verdicts:
    """Judges that say what a test wants.

    Attributes:
        says: by guard.
        impossible: why guards can never judge, by name.
        doubtful: why they may not in time.
        made: what each judge began with.
        counted: rows of the candidate.
    """

    says: dict[str, Verdict] = field(default_factory=lambda: {"errors": Verdict.INCONCLUSIVE})
    impossible: dict[str, str] = field(default_factory=dict)
    doubtful: list[str] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)
    looked: Counter[int] = field(default_factory=Counter)
    counted: int = 0

    def faults(self, given: Given) -> Sequence[str]:
        names = [one.called for one in given.plan.guards]
        return [f"{name}: {why}" for name, why in self.impossible.items() if name in names]

    def doubts(self, given: Given) -> Sequence[str]:
        return self.doubtful

    def judge(self, given: Given, memory: Any, now: float) -> _Judge:
        self.made.append(memory)
        return _Judge(self, 0 if memory is None else memory["looks"])

    def rows(self, given: Given, shadow: bool) -> int:
        return self.counted


@dataclass
class _Judge:
    verdicts: Verdicts
    looks: int

    def look(self, now: float) -> Sequence[Judgement]:
        self.looks += 1
        return [
            Judgement(name, said, f"seen {self.looks} times", {"looks": float(self.looks)})
            for name, said in self.verdicts.says.items()
        ]

    def memory(self) -> dict[str, Any]:
        return {"looks": self.looks}


class World:
    """A home and a control process on it, which may be killed and started again."""

    def __init__(self, home: Path, routes: str = "") -> None:
        self.home = home
        self.document = config.parse(f"routes: {{{routes}}}")
        self.store = Store.open(home)
        self.now = 1_000_000.0
        self.verdicts = Verdicts()
        self.differs = ""
        self.told: list[Notice] = []
        self.pulled: dict[int, Pull] = {}
        self.workers = Workers(Routes(self.store, lambda: self.document), self.document)
        self.rollouts = self.control()

    def control(self) -> Rollouts:
        """As a control process that has just started; workers go on as they are."""
        self.routes = Routes(self.store, lambda: self.document, lambda: self.now)
        self.workers.routes = self.routes
        self.releases = Releases(self.store, self.home, by_itself(), lambda: self.now)
        effects = Effects(self.routes, self.workers, self.point, self.releases, lambda: self.now)
        self.kept = RolloutStore(self.store)
        self.rollouts = Rollouts(
            self.kept,
            self.routes,
            self.workers,
            self.releases,
            self.verdicts,
            effects,
            lambda model: self.pulled,
            self.put_back,
            lambda: True,
            lambda model, baseline, candidate: self.differs,
            lambda: self.now,
            self.withhold,
            lambda rollout, event: self.told.append(notice(rollout, event)),
        )
        return self.rollouts

    def point(self, model: str, alias: str, version: int) -> None:
        self.workers.named[alias] = version

    def withhold(self, model: str, version: int, why: str) -> None:
        self.pulled[version] = Pull(version, "candidate", why, self.now, {"kind": "rollout"})

    async def put_back(self, actor: Actor, model: str, version: int) -> None:
        self.pulled.pop(version, None)

    async def start(self, version: int = 2, plan: RolloutPlan = PLAN, model: str = "m") -> int:
        return await self.rollouts.start(ANN, model, version, plan, "")

    async def looks(self, times: int = 1) -> None:
        """Looks that come a second apart."""
        for _ in range(times):
            self.now += 1.0
            await self.rollouts.look()

    def stand(self, number: int = 1) -> Stand:
        live = [kept for kept, _ in self.rollouts.live() if kept.number == number]
        return live[0].stand if live else RolloutStore(self.store).get(number).stand

    def story(self, number: int = 1) -> list[str]:
        return [event.says for event in RolloutStore(self.store).events(number)]

    def kinds(self, number: int = 1) -> list[str]:
        return [event.kind for event in RolloutStore(self.store).events(number)]

    def close(self) -> None:
        self.store.close()


async def all_of(*tasks: Any) -> list[Any]:
    """What each came to, errors included."""
    return await asyncio.gather(*tasks, return_exceptions=True)
