"""Carries rollouts out: looks at each about once a second, and has done what follows.

Knows which are under way, and that what follows is written down before it is done. Knows nothing of
what follows from what (`gateway.rollouts.machine`), of statistics, or of HTTP.

What a rollout wants is worked out of how far it has come, and having it done twice changes nothing:
whoever starts again after being killed at any point goes on from what was written down. A rollout
leads its route from its start until its watch ends, or until its candidate has been taken back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from gateway.config.guards import Guard
from gateway.config.rollout import RolloutPlan
from gateway.control.audit import Actor, by_itself
from gateway.control.pulls import Pulled
from gateway.control.releases import Releases
from gateway.control.rollout_effects import Effects
from gateway.control.rollout_run import Judges, Plans, Run, Untold
from gateway.control.rollout_sight import Sight
from gateway.control.rollout_start import find_given
from gateway.control.rollout_store import Rollout, RolloutStore
from gateway.control.routes import Routes
from gateway.errors import Conflict, ModelNotFound, StoreFailed, VersionNotFound
from gateway.rollouts import machine
from gateway.rollouts.judgements import Judgement
from gateway.rollouts.machine import Move, Told
from gateway.rollouts.shares import Given
from gateway.rollouts.stand import Event, Stand, State
from gateway.rollouts.words import because

# What is counted between two of them is counted again by whoever goes on after a crash.
SAVE_S: Final = 5.0
Differences = Callable[[str, int, int], str]
PutBack = Callable[[Actor, str, int], Awaitable[None]]


class _Checked(NamedTuple):
    """What can be, and why some of the usual guards could never judge it."""

    given: Given
    left_out: Sequence[str]


class Rollouts:
    """Lives on control's event loop; reads and writes the store on threads.

    Attributes:
        results: how many came to which end since this process began.
    """

    def __init__(
        self,
        store: RolloutStore,
        routes: Routes,
        planner: Plans,
        releases: Releases,
        judges: Judges,
        effects: Effects,
        pulled: Callable[[str], Pulled],
        put_back: PutBack,
        settled: Callable[[], bool],
        differences: Differences,
        now: Callable[[], float],
        withhold: Callable[[str, int, str], None],
        tell: Callable[[Rollout, Event], None] = lambda rollout, event: None,
    ) -> None:
        """Takes its collaborators.

        Args:
            store: keeps rollouts.
            routes: of which rollouts lead some.
            planner: knows what serves.
            releases: what versions are watched by.
            judges: judge candidates.
            effects: have done what follows.
            pulled: the versions of a model that were pulled for their failures.
            put_back: gives a version another chance.
            settled: it is known what serves.
            differences: what differs in the signatures of two versions of a model; empty: nothing.
            now: seconds since 1970; may jump.
            withhold: keeps requests from a version of a model, and says why, before anything is
                written down; returns at once.
            tell: hears of a candidate that was taken back by its guards, a fault or time, once that
                is done; returns at once.
        """
        self._store = store
        self._routes = routes
        self._planner = planner
        self._releases = releases
        self._judges = judges
        self._effects = effects
        self._put_back = put_back
        self._settled = settled
        self._differences = differences
        self._now = now
        self._withhold = withhold
        self._tell = tell
        self._sight = Sight(routes, planner, judges, pulled)
        self._turn = asyncio.Lock()
        self._runs: dict[int, Run] | None = None
        self.results: Counter[str] = Counter()

    # ---- what is asked ---------------------------------------------------------------------------

    async def start(
        self, actor: Actor, model: str, version: int, plan: RolloutPlan, why: str
    ) -> int:
        """Starts one, and returns its number; its candidate is loaded first.

        Raises:
            ModelNotFound, VersionNotFound: no source has it, or nothing of it serves.
            Conflict: it cannot be now, or never could be judged; the message says why.
        """
        await self._planner.look(model)
        async with self._turn:
            runs = await self._known()
            given = self._find(actor, model, version, plan, why)
            now = self._now()
            checked = await asyncio.to_thread(self._check, given)
            given = replace(checked.given, at=now)
            await self._put_back(actor, model, version)
            stand = Stand(looked_at=now)
            says = because(f"version {version} is to take over from version {given.baseline}", why)
            if checked.left_out:
                says += f"; guards left out: {'; '.join(checked.left_out)}"
            event = Event(now, "started", stand.state, 0, actor.who, says)
            kept = await asyncio.to_thread(self._store.start, actor, given, stand, event)
            run = runs[kept.number] = Run(kept, stand)
            try:
                await self._settle(run, Move(stand))
            except Conflict as error:  # somebody came first: there is nothing to take back
                failed = machine.fail(stand, Told(now, "", str(error)))
                run.stand = failed.stand
                await self._end(run, failed.events)
                raise
        return kept.number

    async def pause(self, number: int, actor: Actor, why: str) -> None:
        """Holds one where it is.

        Raises:
            NotFound: there is none of this number.
            Conflict: it is not under way.
        """
        async with self._turn:
            run = await self._run(number)
            await self._settle(run, machine.pause(run.stand, self._told(actor, why)), actor)

    async def resume(self, number: int, actor: Actor, why: str) -> None:
        """Goes on with one that is paused. Raises as `pause` does."""
        async with self._turn:
            run = await self._run(number)
            held_up = self._sight.held_up(run.given)
            move = machine.resume(run.stand, self._told(actor, why), held_up)
            await self._settle(run, move, actor)

    async def approve(self, number: int, actor: Actor, why: str) -> None:
        """Lets one go on that waits for it. Raises as `pause` does.

        Raises:
            Forbidden: who started it does not approve it.
        """
        async with self._turn:
            run = await self._run(number)
            given, told = run.given, self._told(actor, why)
            move = machine.approve(given.plan, run.stand, told, given.starter, run.judgements)
            await self._settle(run, move, actor)

    async def promote(self, number: int, actor: Actor, why: str) -> None:
        """Promotes a candidate now, or ends its watch. Raises as `pause` does."""
        async with self._turn:
            run = await self._run(number)
            given, told = run.given, self._told(actor, why)
            held_up = self._sight.held_up(given) or self._sight.missing(given)
            move = machine.promote(given.plan, run.stand, told, run.judgements, held_up)
            await self._settle(run, move, actor)

    async def abort(self, number: int, actor: Actor, why: str) -> None:
        """Takes a candidate back. Raises as `pause` does.

        It has no more requests when this returns, whether that can be written down or not: what
        cannot be is `untold`, and done by a later look.
        """
        async with self._turn:
            run = await self._run(number)
            told = self._told(actor, why)
            move = machine.abort(run.stand, told, run.judgements)
            with suppress(StoreFailed):
                await self._settle(run, move, actor)

    async def failing(self, model: str, version: int, evidence: str) -> bool:
        """Takes a candidate back at once, for what workers say of it.

        Returns:
            Whether it was a candidate.
        """
        async with self._turn:
            for run in (await self._known()).values():
                if (run.given.model, run.given.candidate) == (model, version):
                    told = Told(self._now(), "", evidence)
                    await self._settle(run, machine.fail(run.stand, told))
                    return True
        return False

    def live(self) -> list[tuple[Rollout, Sequence[Judgement]]]:
        """Those under way as they stand, and how each was judged last."""
        runs = (self._runs or {}).values()
        return [(replace(run.kept, stand=run.stand), run.judgements) for run in runs]

    def untold(self, number: int) -> Untold | None:
        """What is in force of one and not written down yet."""
        run = (self._runs or {}).get(number)
        return None if run is None else run.untold

    # ---- once a second ---------------------------------------------------------------------------

    async def look(self) -> None:
        """Looks at each; what fails with one keeps no other from going on."""
        if not self._settled():
            return
        failed: Exception | None = None
        async with self._turn:
            numbers = tuple(await self._known())
        for number in numbers:
            async with self._turn:
                try:
                    await self._look(number)
                except Exception as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    async def _look(self, number: int) -> None:
        run = (await self._known()).get(number)
        if run is not None:  # it may have ended meanwhile
            now = self._now()
            seen = await self._sight.look(run, now)
            await self._settle(run, machine.look(run.given.plan, run.stand, seen, now))

    # ---- what follows ----------------------------------------------------------------------------

    async def _settle(self, run: Run, move: Move, actor: Actor | None = None) -> None:
        """Writes down what follows, and has it done.

        No disk keeps a candidate that is to be taken back in traffic.

        Raises:
            StoreFailed: nothing else has followed.
        """
        try:
            await self._write(run, move, actor)
            done = await self._effects.follow(run)
        except StoreFailed:
            if move.stand.taken_back:
                says = move.events[-1].says if move.events else f"{run.kept.owner} is over"
                why = says.removeprefix("rolled back: ")
                self._withhold(run.given.model, run.given.candidate, why)
            raise
        if done.over:
            await self._end(run, done.events)
        for event in move.events:
            if event.kind == State.ROLLED_BACK:
                self._tell(run.kept, event)

    async def _write(self, run: Run, move: Move, actor: Actor | None) -> None:
        """Writes down where a rollout stands, and what is told of it.

        What cannot be written down is decided anew by the next look, so that it is told of; but a
        person's word that its candidate is to be taken back stands, and is told of later.
        """
        before, run.stand = run.stand, move.stand
        last = run.kept.stand.looked_at
        saved = last is not None and 0 <= self._now() - last < SAVE_S
        begins = run.judge is not None and run.kept.memory is None
        if not (move.events or run.untold or begins or not saved):
            return
        told = run.untold or Untold(move.events, actor or by_itself(), "")
        try:
            await self._save(run, told.events, told.actor)
        except Exception as error:  # else it would be done without ever being told
            stands = isinstance(error, StoreFailed) and move.stand.taken_back
            if stands and (run.untold is not None or actor is not None):
                run.untold = replace(told, why=str(error))
            else:
                run.stand = before
            raise
        run.untold = None

    async def _save(
        self,
        run: Run,
        events: Sequence[Event] = (),
        actor: Actor | None = None,
        over: bool = False,
    ) -> None:
        kept = replace(run.kept, stand=run.stand, memory=run.memory(), over=over)
        await asyncio.to_thread(self._store.save, kept, events, actor)
        run.kept = kept

    async def _end(self, run: Run, events: Sequence[Event]) -> None:
        run.stand = replace(run.stand, ended=True)
        await self._save(run, events, over=True)
        del (await self._known())[run.kept.number]
        self.results[run.stand.state] += 1

    # ---- inside ----------------------------------------------------------------------------------

    async def _known(self) -> dict[int, Run]:
        """What is under way; read once, when first asked for. Asked in turn, for it waits."""
        if self._runs is None:
            kept = await asyncio.to_thread(self._store.under_way)
            self._runs = {one.number: Run(one, one.stand) for one in kept}
        return self._runs

    async def _run(self, number: int) -> Run:
        run = (await self._known()).get(number)
        if run is None:
            found = await asyncio.to_thread(self._store.get, number)
            raise Conflict(f"rollout {number} is over: it was {found.stand.state}")
        return run

    def _find(self, actor: Actor, model: str, version: int, plan: RolloutPlan, why: str) -> Given:
        planner = self._planner
        if not planner.knows(model):
            raise ModelNotFound(f"route '{model}': no source has a model of this name")
        if version not in planner.versions(model):
            known = ", ".join(map(str, sorted(planner.versions(model))))
            raise VersionNotFound(f"'{model}' has no version {version}; it has: {known}")
        serving, aliases = planner.memory.plan, planner.aliases(model)
        out = next((o for o in serving.absent if (o.name, o.version) == (model, version)), None)
        if out is not None and out.unloaded:
            why = out.reason if out.retired else f"was {out.reason}"
            back = f"; `penstock unretire {model} {version}` brings it back" if out.retired else ""
            raise Conflict(f"'{model}' version {version} cannot take over: it {why}{back}")
        return find_given(self._routes, serving, aliases, model, version, plan, actor.who, why)

    def _check(self, given: Given) -> _Checked:
        """The same with what is to be remembered of its baseline, and guards that can judge.

        Raises:
            Conflict: the candidate answers otherwise than its baseline, naming the difference; or
                guards that were asked for could never come to a verdict, naming each.
        """
        if differs := self._differences(given.model, given.baseline, given.candidate):
            raise Conflict(
                f"version {given.candidate} cannot take over from version {given.baseline}:"
                f" {differs}"
            )
        plan, left_out = given.plan, []
        if "guards" not in plan.model_fields_set:  # of the usual ones, those that can judge here
            left_out = [fault for one in plan.guards for fault in self._faults(given, [one])]
            judging = [one for one in plan.guards if not self._faults(given, [one])]
            given = replace(given, plan=plan.model_copy(update={"guards": judging}))
        if faults := self._faults(given, given.plan.guards):
            raise Conflict(f"it could never be judged: {'; '.join(faults)}")
        release = self._releases.newest(given.model, given.baseline)
        number = None if release is None else release.number
        given = replace(given, release=number, warnings=tuple(self._judges.doubts(given)))
        return _Checked(given, left_out)

    def _faults(self, given: Given, guards: Sequence[Guard]) -> Sequence[str]:
        plan = given.plan.model_copy(update={"guards": list(guards)})
        return self._judges.faults(replace(given, plan=plan))

    def _told(self, actor: Actor, why: str) -> Told:
        return Told(self._now(), actor.who, why)
