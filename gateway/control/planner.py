"""Turns what should run into plans: tries new models out, publishes, moves routes, drops.

Knows the order in which a change is safe. Knows nothing of where models come from (desired.py), of
how messages travel (links.py), or of HTTP.

A change takes two plans. The first holds old and new and leaves the routes alone; once every worker
has loaded the new, the second moves the routes and lets the old go. No request meets a missing
model.

That order is kept for each deployment by itself: wanted, tried out, held, loaded by all, routed.
`_step` works the next plan out from how far each has come, and publishes it where it differs. It
never waits. What moves things on (a change of the sources, a trial that ends, a worker that has
loaded something or cannot, a deadline) takes a step; so a slow model holds up nobody but those who
wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import Any, Protocol

from gateway.control.desired import Candidate, Desired
from gateway.control.memory import Memory
from gateway.control.recorder import Note
from gateway.control.served import difference
from gateway.control.splits import Aliases, Wanted, faults, withheld
from gateway.control.succession import Stand, known, successor
from gateway.errors import GatewayError
from gateway.plan import LLM, UNAVAILABLE, Absent, Held, Plan
from gateway.taken import Taken, Watched
from gateway.tensors import Signature

log = logging.getLogger("penstock.control")

# What happens within it goes into one plan: the acknowledgements of several workers, say. Where a
# step takes long because there are many models, the pause is so many times as long.
PAUSE_S = 0.02
PAUSE_STEPS = 5
# Workers take a message within a turn of their loop.
DIVIDED_WITHIN_S = 5.0
Trial = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Publisher(Protocol):
    """Where plans go (links.Links)."""

    def publish(self, plan: Plan) -> None:
        """Sends a plan to every worker."""

    def followed(self, number: int) -> bool:
        """All follow plan `number` or a newer one."""
        ...

    def loading(self, held_id: str) -> bool:
        """Some worker has not loaded this deployment yet."""
        ...

    def refusal(self, held_id: str) -> str | None:
        """Why some worker could not load it, if one could not."""
        ...


class Planner:
    """The one place where plans are made. Lives on control's event loop."""

    def __init__(
        self,
        memory: Memory,
        publisher: Publisher,
        allocate: Callable[[str, int], int],
        watch: Callable[[Candidate], tuple[Taken, ...]],
        trial: Trial,
        gather: Callable[[Memory, str | None], Desired],
        store: Callable[[Memory], None],
        want: Callable[[Set[tuple[str, int]], Set[int]], None],
        load_deadline_s: float,
        note: Note,
        divided: Callable[[], Mapping[str, Wanted]] = dict,
        place: Callable[[Plan], Plan] = lambda plan: plan,
        at_hand: Callable[[str], Wanted] = lambda name: Wanted(),
    ) -> None:
        """Takes its collaborators.

        Args:
            memory: what an earlier control left, or an empty one.
            publisher: carries plans to the workers.
            allocate: gives the offset of a version's counters.
            watch: where a version's values go.
            trial: tries a deployment out where a crash does no harm; bounds how many at once.
            gather: finds what should run now, looking at one model's own sources where one is
                named. Blocks; called on a thread, once at a time.
            store: keeps the memory; called before each plan goes out.
            want: hears which versions are known and which blocks are counted into, once all workers
                follow the plan that says so.
            load_deadline_s: how long workers may take to load a deployment.
            note: hears what is decided here, for the audit.
            divided: how requests are to be divided among versions now, by model.
            place: gives a plan what is counted because of how it divides requests, and in what.
            at_hand: what is wanted of a model's requests, as far as that is known without a disk.
        """
        # fixed at start
        self._publisher = publisher
        self._allocate = allocate
        self._watch = watch
        self._trial = trial
        self._gather = gather
        self._store = store
        self._want = want
        self._load_deadline_s = load_deadline_s
        self._note = note
        self._divided = divided
        self._place = place
        self._at_hand = at_hand
        self._loop = asyncio.get_running_loop()
        # until replaced
        self.memory = memory
        plan = memory.plan
        routed = plan.routed
        self._wanted = [held for held in plan.held if held.id in routed]
        self._watched = _own(plan)
        self._desired = Desired((), plan.absent, {r.name: r.version for r in plan.routes})
        self._looked = False  # until then what a predecessor had begun is left as it was
        self._gathering = asyncio.Lock()
        self._progress = asyncio.Event()
        self._due: asyncio.TimerHandle | None = None
        self._pause_s = PAUSE_S
        self._route_faults: Mapping[str, str] = {}
        self._was_broken = _broken(memory.plan.absent)
        self._coming: set[str] = set()  # wanted, and by the plan neither routed nor refused
        self._told = 0  # number of the plan after which `want` was last called
        # per deployment, by id
        self._trials: dict[str, asyncio.Task[None]] = {}
        # What was held before this process came had passed its trial.
        self._passed = {held.id for held in plan.held}
        self._held_since: dict[str, tuple[int, float]] = {}

    async def look(self, only: str | None = None) -> None:
        """Finds out what should run now, of one model or of all, and takes the first step there."""
        async with self._gathering:
            # The first look is at everything.
            named = only if self._looked else None
            desired = await asyncio.to_thread(self._gather, self.memory, named)
            self._wanted, self._desired = self._held(desired)
            self._looked = True
            self._tidy()
            self._step()

    async def apply(self, name: str | None = None, alone: bool = False) -> tuple[Absent, ...]:
        """Brings the workers to what should run now, and waits until they are there.

        Args:
            name: wait for this model alone; None: for all that is wanted now.
            alone: look at its own sources alone, too.

        Returns:
            What is known and does not serve, with reasons.
        """
        await self.look(name if alone else None)
        asked = {held.id for held in self._wanted if name in (None, held.name)}
        await self._until(lambda: not asked & self._coming)
        number = self.memory.plan.number
        # A worker that does not answer is dead or about to be; its successor gets the newest plan.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._load_deadline_s):
                await self._until(lambda: self._publisher.followed(number))
        return self.memory.plan.absent

    async def divide(self) -> None:
        """Brings the workers to how requests are to be divided now, and waits until they are there.

        Nothing is looked at or loaded, so that it takes a message to each worker. One that does not
        answer is dead or about to be: its successor gets the newest plan.
        """
        number = self.divide_soon()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DIVIDED_WITHIN_S):
                await self._until(lambda: self.followed(number))

    def divide_soon(self) -> int:
        """As `divide`, without waiting: the number of the plan that says so is on its way.

        Before the first look, what was planned stands, but for what was stopped or pulled since:
        that waits for no look, which a lost home may never allow.
        """
        if self._looked:
            self._step()
        else:
            self._withhold()
        return self.memory.plan.number

    def followed(self, number: int) -> bool:
        """Whether all workers follow plan `number` or a newer one."""
        return self._publisher.followed(number)

    def aliases(self, name: str) -> Aliases:
        """The aliases that a model had at the last look, and the version of each."""
        return self._desired.aliases.get(name, {})

    def signatures(self, name: str) -> Mapping[int, Signature]:
        """What a model's versions that should run took and gave at the last look."""
        return self._desired.signatures.get(name, {})

    def knows(self, name: str) -> bool:
        """Whether some source had a model of this name at the last look."""
        return any(name == one for one, _ in known(self._desired))

    def versions(self, name: str) -> set[int]:
        """The versions of a model that some source had at the last look."""
        return {version for one, version in known(self._desired) if one == name}

    def hints(self) -> dict[str, Set[str]]:
        """Every model that was found at the last look, with the settings that it brings along."""
        return {one.name: one.hints for one in self._desired.candidates}

    def resume(self) -> None:
        """Publishes the plan that an earlier control process left: workers born now serve."""
        if self.memory.plan.number:
            self._publisher.publish(self.memory.plan)

    def step_soon(self) -> None:
        """Something moved on. What moves in the same moment goes into one plan."""
        if not self._looked:
            self._progress.set()  # a worker may follow what is withheld
        elif self._due is None:
            self._due = self._loop.call_later(self._pause_s, self._step)

    async def close(self) -> None:
        """Takes no more steps; returns once no trial is waited for."""
        if self._due is not None:
            self._due.cancel()
        trials = tuple(self._trials.values())
        for trial in trials:
            trial.cancel()
        await asyncio.gather(*trials, return_exceptions=True)

    def crashed(self, blocks: Sequence[int]) -> Set[str]:
        """A worker crashed natively while it loaded or ran the models that count in `blocks`.

        Returns:
            The ids of the deployments that are blamed for it.
        """
        blamed = self.memory.crashed(blocks)
        for held_id, crashes in blamed.items():
            self._note("blame crash", held_id, {"crashes": crashes - 1}, {"crashes": crashes})
            if why := self.memory.refused.get(held_id):
                self._note("quarantine", held_id, None, {"by": "crashes", "reason": why})
        self._passed -= self.memory.refused.keys()
        self._store(self.memory)
        self.step_soon()
        return blamed.keys()

    # ---- what is wanted -------------------------------------------------------------------------

    def _held(self, desired: Desired) -> tuple[list[Held], Desired]:
        """What to hold; candidates that cannot be counted join the faults."""
        held: list[Held] = []
        faults = list(desired.faults)
        # What leaves is counted as before until it has left.
        self._watched = _own(self.memory.plan)
        for candidate in desired.candidates:
            try:
                block = self._allocate(candidate.name, candidate.version)
            except GatewayError as error:
                faults.append(Absent(candidate.name, candidate.version, UNAVAILABLE, str(error)))
                continue
            one = Held(
                name=candidate.name,
                version=candidate.version,
                folder=str(candidate.folder),
                file=candidate.file,
                digest=candidate.digest,
                settings=candidate.settings,
                declared=candidate.declared,
                block=block,
                load=self.memory.loads.get(candidate.name, 0),
                kind=candidate.kind,
            )
            held.append(one)
            self._watched[one.id] = self._watch(candidate)
        return held, dataclasses.replace(desired, faults=faults)

    def _tidy(self) -> None:
        """Forgets what is remembered of deployments and models that are no more."""
        ids = {held.id for held in (*self._wanted, *self.memory.plan.held)}
        self.memory.forget_others(ids, {name for name, _ in known(self._desired)})
        self._passed &= ids

    def _may_run(self, held: Held) -> bool:
        return held.id not in self.memory.refused

    # ---- one step -------------------------------------------------------------------------------

    def _step(self) -> None:
        """Publishes the plan that follows from how far each deployment has come."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        began = time.perf_counter()
        self._judge()
        good = [held for held in self._wanted if self._may_run(held)]
        routed = self.memory.plan.routed
        ready = [held for held in good if held.id in routed or self._loaded(held.id)]
        done = {held.id for held in ready}
        coming = [held for held in good if held.id not in done]
        self._coming = {held.id for held in coming}
        self._try_out(coming)
        passed = [held for held in coming if held.id in self._passed]
        self._publish(Stand(ready, coming, passed, self.memory.refused))
        self._watch_loading(passed)
        self._tell_known()
        self._progress.set()
        self._pause_s = max(PAUSE_S, PAUSE_STEPS * (time.perf_counter() - began))

    def _judge(self) -> None:
        """Refuses what a worker cannot load, or takes too long to, before anybody is sent there."""
        for held_id in self._held_since:
            reason = self._publisher.refusal(held_id)
            if reason is None and self._late(held_id) and self._publisher.loading(held_id):
                reason = f"a worker has not loaded it within {self._load_deadline_s:g} s"
            if reason is not None:
                self._refuse(held_id, reason, "workers")

    def _refuse(self, held_id: str, reason: str, by: str) -> None:
        if self.memory.refused.get(held_id) != reason:
            self._note("refuse", held_id, None, {"by": by, "reason": reason})
        self.memory.refused[held_id] = reason
        self._passed.discard(held_id)

    def _loaded(self, held_id: str) -> bool:
        """Every worker has it, but for those that say nothing: their successors will load it."""
        if held_id not in self._held_since:
            return False
        number, _ = self._held_since[held_id]
        heard = self._publisher.followed(number) or self._late(held_id)
        return heard and not self._publisher.loading(held_id)

    def _late(self, held_id: str) -> bool:
        _, since = self._held_since[held_id]
        return self._loop.time() - since >= self._load_deadline_s

    def _watch_loading(self, held: Sequence[Held]) -> None:
        """Keeps since when workers should have been loading what they hold and do not serve."""
        before, now = self._held_since, (self.memory.plan.number, self._loop.time())
        self._held_since = {one.id: before.get(one.id, now) for one in held}
        if self._held_since.keys() - before.keys():
            self._loop.call_later(self._load_deadline_s, self.step_soon)

    def _try_out(self, coming: Sequence[Held]) -> None:
        for held in coming:
            if held.kind == LLM:  # nothing of it runs here that could crash
                self._passed.add(held.id)
            elif held.id not in self._passed and held.id not in self._trials:
                self._trials[held.id] = self._loop.create_task(self._try_one_out(held))

    async def _try_one_out(self, held: Held) -> None:
        try:
            report = await self._trial(dataclasses.asdict(held))
        except Exception as error:
            log.exception("trial of '%s' version %d", held.name, held.version)
            report = {"ok": False, "reason": f"it was not tried out: {type(error).__name__}"}
        del self._trials[held.id]
        if report["ok"]:
            self._passed.add(held.id)
        else:
            self._refuse(held.id, report["reason"], "trial")
        self.step_soon()

    def _publish(self, stand: Stand) -> None:
        """Sends the next plan out, unless it is the one that stands."""
        memory, old = self.memory, self.memory.plan
        divided = self._divided()
        plan = successor(old, self._desired, self._wanted, memory.unloaded, stand, divided)
        signatures = self._desired.signatures if divided else {}
        self._complain_of_routes(faults(divided, self._desired.aliases, plan, signatures))
        plan = self._place(dataclasses.replace(plan, watched=self._watched_of(plan)))
        if old.number and plan == dataclasses.replace(old, number=plan.number):
            return
        self._complain(plan, old)
        self._send(plan)

    def _withhold(self) -> None:
        """Takes what was stopped or pulled out of the plan that stands."""
        plan = withheld(self.memory.plan, self._at_hand)
        if plan.routes != self.memory.plan.routes:
            self._send(plan)

    def _send(self, plan: Plan) -> None:
        old, self.memory.plan = self.memory.plan, plan
        self._store(self.memory)
        self._publisher.publish(plan)
        if (change := difference(old, plan)) is not None:
            self._note("serve", f"plan {plan.number}", *change)

    def _watched_of(self, plan: Plan) -> dict[str, tuple[Taken, ...]]:
        found = {held.id: self._watched.get(held.id, ()) for held in plan.held}
        return {held_id: watched for held_id, watched in found.items() if watched}

    def _complain(self, plan: Plan, old: Plan) -> None:
        """Logs what does not serve, once, and once more when it does."""
        for one in plan.absent:
            if one not in old.absent and one.broken:
                log.error("model '%s' version %d: %s", one.name, one.version, one.reason)
        broken, known = _broken(plan.absent), {(one.name, one.version) for one in plan.absent}
        serving = {(one.name, version) for one in plan.routes for version in one.deployments}
        for name, version in sorted((self._was_broken - broken) & serving):
            log.warning("over: model '%s' version %d serves", name, version)
        self._was_broken = broken | (self._was_broken & known)  # some are on their way

    def _complain_of_routes(self, found: Mapping[str, str]) -> None:
        """Logs which routes are not as they are wanted, once."""
        for name, why in found.items():
            if self._route_faults.get(name) != why:
                log.error("route '%s' is not as it is wanted: %s", name, why)
        self._route_faults = found

    def _tell_known(self) -> None:
        plan = self.memory.plan
        if plan.number != self._told and self._publisher.followed(plan.number):
            self._told = plan.number
            # What is still to be tried out has its blocks already, and no plan that names them.
            coming = [self._watched.get(held_id, ()) for held_id in self._coming]
            self._want(
                known(self._desired) | {(held.name, held.version) for held in plan.held},
                {
                    block
                    for watched in (*plan.watched.values(), *coming)
                    for one in watched
                    for block in one.blocks
                }
                | plan.pairs,
            )

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._progress.clear()
            await self._progress.wait()


def _own(plan: Plan) -> dict[str, tuple[Taken, ...]]:
    """Where values go whatever else there is; the rest is found anew for each plan."""
    return {
        held_id: tuple(one for one in some if not (isinstance(one, Watched) and one.common))
        for held_id, some in plan.watched.items()
    }


def _broken(absent: Sequence[Absent]) -> set[tuple[str, int]]:
    return {(one.name, one.version) for one in absent if one.broken}
