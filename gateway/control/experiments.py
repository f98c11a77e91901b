"""Carries experiments out: looks at each every few seconds, and has done what follows.

Knows which are under way, and that what follows is written down before it is done. Knows nothing of
statistics (`gateway.experiments`), of how records are read, or of HTTP.

An experiment leads its route from its start to its end, and what it wants can be done twice:
whoever starts again after being killed at any point goes on from what was written down. An A/B test
keeps its shares; a bandit's are worked out anew and set, so that each row has the share of its arm
at that time as its chance, and the ledger keeps it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from gateway import config
from gateway.config import Config
from gateway.config.experiments import AbTest, Bandit
from gateway.control.audit import Actor, by_itself
from gateway.control.experiment_readings import Readings
from gateway.control.experiment_reports import of_ab_test, of_bandit, policy_of
from gateway.control.experiment_start import (
    Checked,
    base_of,
    check,
    check_figures,
    divides,
    given_to,
    led,
    not_serving,
)
from gateway.control.experiment_store import (
    MAX_EVENTS,
    OWNER,
    Event,
    Experiment,
    ExperimentStore,
    Given,
)
from gateway.control.route_operations import Plans
from gateway.control.routes import Routes
from gateway.control.splits import Pull
from gateway.errors import Conflict, InvalidParameter, ModelNotFound, NotFound
from gateway.experiments.assessment import Evidence, assess
from gateway.experiments.bandits import shares
from gateway.experiments.decisions import DECIDED, FUTILE, HARMFUL, RUNNING
from gateway.rollouts.words import because

LOOK_S: Final = 5.0
# Reading ten million records takes a second or two: no more than this part of a core.
PART: Final = 0.05
STOPPED: Final = "stopped"
# Shares that move by less are not worth a message to each worker.
_MOVES: Final = 0.001


class Experiments:
    """Lives on control's event loop; reads and writes the store on threads.

    Attributes:
        found: those under way, with their newest figures, by number.
    """

    def __init__(
        self,
        store: ExperimentStore,
        routes: Routes,
        planner: Plans,
        readings: Readings,
        document: Callable[[], Config],
        pulled: Callable[[str], Mapping[int, Pull]],
        differences: Callable[[str, int, int], str],
        scores: Callable[[str, int], str],
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes its collaborators.

        Args:
            store: keeps experiments.
            routes: of which experiments lead some.
            planner: knows what serves.
            readings: what the ledger says.
            document: in force.
            pulled: versions of a model that were pulled because they fail.
            differences: what differs in the signatures of two versions of a model; empty: nothing.
            scores: of which kind a version's are, as it is set or by its outputs; empty: not known.
            wall: seconds since 1970; may jump.
            clock: seconds that do not.
        """
        self._store = store
        self._routes = routes
        self._planner = planner
        self._readings = readings
        self._document = document
        self._pulled = pulled
        self._differences = differences
        self._scores = scores
        self._wall = wall
        self._clock = clock
        self._turn = asyncio.Lock()
        self._known: dict[int, Experiment] | None = None
        self._due: dict[int, float] = {}
        self.found: Mapping[int, Experiment] = {}

    # ---- what is asked ---------------------------------------------------------------------------

    async def start(self, actor: Actor, model: str, spec: AbTest | Bandit) -> Experiment:
        """Starts one; workers follow its shares when this returns.

        Raises:
            ModelNotFound: no source has it.
            Conflict: its route is none for it, or is not free.
            InvalidParameter: it asks for what there is not.
        """
        if not self._planner.knows(model):
            raise ModelNotFound(f"route '{model}': no source has a model of this name")
        async with self._turn:
            under_way = await self._running()
            checked = self._check(model, spec, await self._readings.metrics())
            await asyncio.to_thread(self._check_models, model, spec, checked)
            given = Given(
                spec,
                checked.versions,
                checked.control,
                checked.shares,
                actor.who,
                self._wall(),
                checked.warnings,
            )
            kept = await asyncio.to_thread(self._store.start, actor, model, given)
            under_way[kept.number] = kept  # from now on it is, even if whoever asked is gone
            try:
                await self._lead(actor, kept, checked.route)
                self._check_serves(model)
            except Exception as error:  # nothing of it is to stay behind
                await self._end(kept, actor, STOPPED, f"it could not begin: {error}")
                raise
            self._tell()
        return kept

    async def stop(self, actor: Actor, number: int, why: str, winner: str = "") -> Experiment:
        """Ends one.

        Args:
            actor: on whose behalf.
            number: of it.
            why: for people.
            winner: the arm that is to have all from now on; empty: the route is as it was before.

        Raises:
            NotFound: there is no such experiment.
            Conflict: it is over.
            InvalidParameter: it has no such arm.
        """
        async with self._turn:
            one = (await self._running()).get(number)
            if one is None:
                one = await asyncio.to_thread(self._store.get, number)
            if one.over:
                raise Conflict(f"experiment {number} is over: it is {one.stand.state}")
            if winner and winner not in one.given.versions:
                told = ", ".join(one.given.versions)
                raise InvalidParameter(f"winner: expected one of {told}, got '{winner}'")
            said = because(f"{actor.who} stopped it", why)
            return await self._end(one, actor, STOPPED, said, winner)

    async def get(self, number: int) -> Experiment:
        """One, with figures of now.

        Raises:
            NotFound: there is none of this number.
        """
        async with self._turn:
            one = (await self._running()).get(number)
            if one is not None:
                return await self._look_at(one)
        return await asyncio.to_thread(self._store.get, number)

    async def newest(self) -> list[Experiment]:
        """All that are kept, the newest first, with the figures of the last look."""
        kept = await asyncio.to_thread(self._store.newest)
        return [self.found.get(one.number, one) for one in kept]

    # ---- once a second ---------------------------------------------------------------------------

    async def look(self) -> None:
        """Looks at those that are due; what fails with one keeps no other from being looked at.

        Call it about once a second.
        """
        failed: Exception | None = None
        async with self._turn:
            for one in list((await self._running()).values()):
                began = self._clock()
                if began < self._due.get(one.number, 0.0):
                    continue
                try:
                    await self._look_at(one)
                except Exception as error:
                    failed = failed or error
                pause_s = max(_pause_s(one), (self._clock() - began) / PART)
                self._due[one.number] = self._clock() + pause_s
        if failed is not None:
            raise failed

    async def _look_at(self, one: Experiment) -> Experiment:
        wanted = self._routes.of(one.model)
        if wanted.leader != one.owner or not divides(wanted.route, one.stand.shares):
            # Its shares are written down before it leads by them, and control may have been killed
            # in between; or a document took its route away.
            try:
                await self._lead(by_itself(), one, self._base(one))
            except Conflict as error:
                return await self._end(one, by_itself(), STOPPED, str(error))
        if wanted.stop is not None:
            says = "the route is stopped: no row is assigned until it is resumed"
            return await self._noted(one, says)
        for name, version in one.given.versions.items():
            pull = self._pulled(one.model).get(version)
            if pull is not None:
                why = f"'{name}' was pulled: {pull.why}"
                return await self._end(one, by_itself(), HARMFUL, why)
        spec = one.given.spec
        evidence = await self._readings.evidence(one)
        if isinstance(spec, AbTest):
            return await self._judge(one, spec, evidence)
        return await self._divide(one, spec, evidence)

    async def _judge(self, one: Experiment, spec: AbTest, evidence: Evidence) -> Experiment:
        found = assess(spec, one.given.control, one.given.shares, evidence, self._over(one))
        verdict = found.verdict
        one = self._reported(one, of_ab_test(found), verdict.why)
        if found.mismatch.alarm:
            one = await self._noted(one, "arms do not get the shares that they were given")
        for harm in verdict.harms:
            one = await self._noted(one, f"'{harm.arm}' is shown to harm {harm.measure}")
        if verdict.state == RUNNING:
            return one
        takes = verdict.winner if spec.at_end == "winner" and verdict.state == DECIDED else ""
        return await self._end(one, by_itself(), verdict.state, verdict.why, takes, verdict.winner)

    async def _divide(self, one: Experiment, spec: Bandit, evidence: Evidence) -> Experiment:
        sums, policy = evidence.sums[0], policy_of(spec)
        now = self._wall()
        divided = shares(policy, sums, seed=one.number * 1_000_003 + int(now))
        one = self._reported(one, of_bandit(evidence), "")
        if self._over(one):
            best = max(divided, key=lambda name: divided[name])
            return await self._end(one, by_itself(), FUTILE, f"its time is over; '{best}' led")
        moved = max(abs(divided[name] - share) for name, share in one.stand.shares.items())
        if moved >= _MOVES:
            one = replace(one, stand=replace(one.stand, shares=divided))
            await asyncio.to_thread(self._store.save, one)
            self._keep(one)
            await self._lead(by_itself(), one, self._base(one))
        return one

    # ---- what is done ----------------------------------------------------------------------------

    async def _lead(self, actor: Actor, one: Experiment, route: config.Route) -> None:
        first = self._routes.leader(one.model) != one.owner
        wanted = led(route, one.given.versions, one.stand.shares)
        await asyncio.to_thread(self._routes.lead, actor, one.model, one.owner, wanted)
        if first:
            await self._planner.apply(one.model, alone=True)
        else:
            await self._planner.divide()

    async def _end(
        self,
        one: Experiment,
        actor: Actor,
        state: str,
        why: str,
        takes: str = "",
        winner: str = "",
    ) -> Experiment:
        """Ends one: `takes` has all from now on, or the route is as it was."""
        now = self._wall()
        events = (*one.stand.events, Event(now, f"{state}: {why}"))
        stand = replace(
            one.stand,
            state=state,
            why=why,
            winner=winner or takes,
            takes=takes,
            ended_at=now,
            events=events[-MAX_EVENTS:],
        )
        ended = replace(one, stand=stand)
        await asyncio.to_thread(self._store.save, ended, actor, now)
        await asyncio.to_thread(self._release, ended, actor)
        if self._known is not None:
            self._known.pop(one.number, None)
        self._tell()
        await self._planner.apply(one.model, alone=True)
        return ended

    def _release(self, one: Experiment, actor: Actor) -> None:
        """On a thread: lets its route go, to whom it was to have all, or as it was."""
        route = None
        if takes := one.stand.takes:
            aliases = self._planner.aliases(one.model)
            route = given_to(self._base(one), takes, one.given.versions[takes], aliases)
        self._routes.let_go(actor, one.model, one.owner, route)

    def _release_ended(self) -> None:
        """On a thread: routes of those that ended just before this process was killed."""
        for model, wanted in self._routes.wanted().items():
            kind, _, number = wanted.leader.partition(" ")
            if kind != OWNER:
                continue
            try:
                one = self._store.get(int(number))
            except NotFound:  # so long ago that it is forgotten
                self._routes.let_go(by_itself(), model, wanted.leader)
                continue
            if one.over:
                self._release(one, by_itself())

    async def _noted(self, one: Experiment, says: str) -> Experiment:
        """Tells something, and writes it down, once."""
        if any(event.says == says for event in one.stand.events):
            return one
        events = (*one.stand.events, Event(self._wall(), says))
        one = replace(one, stand=replace(one.stand, events=events[-MAX_EVENTS:]))
        await asyncio.to_thread(self._store.save, one)
        return self._keep(one)

    def _reported(self, one: Experiment, report: Mapping[str, Any], why: str) -> Experiment:
        return self._keep(replace(one, stand=replace(one.stand, report=report, why=why)))

    def _keep(self, one: Experiment) -> Experiment:
        if self._known is not None:
            self._known[one.number] = one
        self._tell()
        return one

    def _tell(self) -> None:
        # Replaced, not changed: a scrape reads it on another thread.
        self.found = dict(self._known or {})

    # ---- what there is ---------------------------------------------------------------------------

    async def _running(self) -> dict[int, Experiment]:
        """Read once, when first needed."""
        if self._known is None:
            some = await asyncio.to_thread(self._store.under_way)
            await asyncio.to_thread(self._release_ended)
            self._known = {one.number: one for one in some}
            self._tell()
        return self._known

    def _check(self, model: str, spec: AbTest | Bandit, known: Mapping[str, int]) -> Checked:
        wanted, aliases = self._routes.of(model), self._planner.aliases(model)
        found = check(model, spec, wanted, aliases, self._document(), known)
        for name, version in found.versions.items():
            if version in self._pulled(model):
                raise Conflict(f"route '{model}': '{name}' was pulled: resume the route first")
        return found

    def _check_models(self, model: str, spec: AbTest | Bandit, checked: Checked) -> None:
        """On a thread.

        Raises:
            Conflict: an arm takes or gives what control does not.
            InvalidParameter: a figure is asked for that control's scores do not have.
        """
        control = checked.versions[checked.control]
        check_figures(model, spec, self._scores(model, control))
        for name, version in checked.versions.items():
            if name != checked.control and (why := self._differences(model, control, version)):
                raise Conflict(
                    f"route '{model}': '{name}' cannot be compared with '{checked.control}': {why}"
                )

    def _check_serves(self, model: str) -> None:
        """Raises Conflict where arms do not serve, saying why."""
        wanted, aliases = self._routes.of(model), self._planner.aliases(model)
        if why := not_serving(model, wanted, aliases, self._planner.memory.plan):
            raise Conflict(f"route '{model}' cannot be divided: {why}")

    def _base(self, one: Experiment) -> config.Route:
        return base_of(self._routes.beneath(one.model).route, one.given)

    def _over(self, one: Experiment) -> bool:
        most = one.given.spec.max_duration_s
        return most is not None and self._wall() >= one.given.at + most


def _pause_s(one: Experiment) -> float:
    spec = one.given.spec
    return spec.every_s if isinstance(spec, Bandit) else LOOK_S
