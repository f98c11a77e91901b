"""Has done what a rollout's stand asks for: shares, aliases, and what its baseline had before.

Knows routes, aliases and monitoring releases, and the order that is safe. Knows nothing of how a
rollout came to stand where it does. Nothing is done twice that is done already, and nothing here
waits for workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway import config
from gateway.control.audit import by_itself
from gateway.control.releases import Releases
from gateway.control.rollout_run import Plans, Run
from gateway.control.routes import Routes
from gateway.errors import NotFound
from gateway.rollouts import shares
from gateway.rollouts.shares import Given
from gateway.rollouts.stand import Event, State


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it.

    Attributes:
        over: nothing is left to do, whatever happens.
        events: what is to be told.
    """

    over: bool = False
    events: Sequence[Event] = ()


class Effects:
    """Lives on control's event loop; what blocks is a thread's."""

    def __init__(
        self,
        routes: Routes,
        planner: Plans,
        point: Callable[[str, str, int], object],
        releases: Releases,
        now: Callable[[], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            routes: of which rollouts lead some.
            planner: brings workers to what routes say.
            point: points an alias of a model at a version.
            releases: what versions are watched by.
            now: seconds since 1970.
        """
        self._routes = routes
        self._planner = planner
        self._point_alias = point
        self._releases = releases
        self._now = now

    async def follow(self, run: Run) -> Done:
        """Does what is not done yet.

        Raises:
            Conflict: somebody else leads the route.
            StoreFailed: it cannot be written down; what was not done is to be asked again.
        """
        given, stand = run.given, run.stand
        await self._share(run)
        if stand.taken_back:
            return Done(True, await self._give_back(run))
        if stand.state is State.PROMOTED and not run.pointed:
            await self._point(given, given.baseline, given.candidate)
            run.pointed = True
        if stand.state is State.PROMOTED and stand.ended:
            await self._let_go(run, shares.afterwards(given))
            return Done(True)
        return Done()

    async def _share(self, run: Run) -> None:
        """Leads the route as is wanted; the first time its candidate has to be loaded, too."""
        given, wanted = run.given, shares.route(run.given, run.stand)
        if run.wanted == wanted:
            return
        owner = run.kept.owner
        await asyncio.to_thread(self._routes.lead, by_itself(), given.model, owner, wanted)
        if run.wanted is None and not run.stand.taken_back:
            await self._planner.look(given.model)
        run.plan = self._planner.divide_soon()
        run.wanted = wanted

    async def _give_back(self, run: Run) -> Sequence[Event]:
        """Restores the baseline's whole release; its share it has already."""
        if run.stand.promoted:
            await self._point(run.given, run.given.candidate, run.given.baseline)
        told = await asyncio.to_thread(self._restore, run)
        await self._let_go(run)
        return told

    async def _point(self, given: Given, before: int, after: int) -> None:
        """Moves the alias that names the baseline, unless somebody has moved it elsewhere."""
        if given.alias and self._planner.aliases(given.model).get(given.alias) == before:
            await asyncio.to_thread(self._point_alias, given.model, given.alias, after)
            await self._planner.look(given.model)

    def _restore(self, run: Run) -> Sequence[Event]:
        """Puts what the baseline was watched by in force again, where that has changed."""
        given = run.given
        newest = self._releases.newest(given.model, given.baseline)
        if given.release is None or newest is None or newest.number == given.release:
            return ()
        says = f"version {given.baseline} is watched by its release {given.release} again"
        try:
            self._releases.rollback(
                given.model, given.baseline, given.release, by_itself(), f"{run.kept.owner} ended"
            )
        except NotFound as error:  # too many have been made since
            says = f"version {given.baseline} is watched as it is: {error}"
        return (Event(self._now(), "noted", run.stand.state, run.stand.step, "", says),)

    async def _let_go(self, run: Run, after: config.Route | None = None) -> None:
        model, owner = run.given.model, run.kept.owner
        await asyncio.to_thread(self._routes.let_go, by_itself(), model, owner, after)
        await self._planner.look(model)
        run.plan = self._planner.divide_soon()
