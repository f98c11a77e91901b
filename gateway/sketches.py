"""Where the values of each deployment of one worker go, as the plan says.

They are counted into the bins of a profile or, as long as there is none, kept as first rows.

Knows plans, profiles and blocks of the arena. Knows nothing of how values are counted, or of who
chose the profile.

A profile is read on a thread, and its deployment serves unwatched until then. One that cannot be
read or is of another model leaves it unwatched, and the log says why: monitoring fails no request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path

from gateway.catalogue import Served
from gateway.errors import ProfileInvalid
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.first_rows import FirstRows
from gateway.monitor.sketch import Sketch, Slot, Taker
from gateway.plan import Kept, Plan, Taken
from gateway.profiles import document
from gateway.profiles.fit import check_fit
from gateway.profiles.live import Counted, counted
from gateway.tensors import Signature

log = logging.getLogger("penstock.worker")


class Sketches:
    """Lives on the worker's event loop."""

    def __init__(self, arena: Arena, worker: int, pool: Executor) -> None:
        """Counts into the slots of `worker`; reads profiles on `pool`."""
        self._arena = arena
        self._worker = worker
        self._pool = pool
        self._tick = arena.control_row[TICK : TICK + 1]
        self._slots: dict[int, Slot] = {}
        self._following: dict[str, tuple[Taken, ...]] = {}
        self._takers: dict[str, tuple[Taker, ...]] = {}

    def follow(self, plan: Plan, served: Iterable[Served]) -> None:
        """Brings every deployment to what the plan wants it to count into."""
        for one in served:
            wanted = plan.watched.get(one.held.id, ())
            if wanted != self._following.get(one.held.id, ()):
                self._following[one.held.id] = wanted
                self._begin(one, wanted)

    def release(self, served: Served) -> None:
        """A deployment has answered its last request."""
        self._following.pop(served.held.id, None)
        self._replace(served, ())

    def _begin(self, served: Served, wanted: tuple[Taken, ...]) -> None:
        signature = served.deployment.signature
        loop = asyncio.get_running_loop()

        def read() -> list[tuple[Taken, tuple[Counted, ...]]]:
            return [(one, _read(one, signature)) for one in wanted]

        def take(done: asyncio.Future[list[tuple[Taken, tuple[Counted, ...]]]]) -> None:
            # Another plan may have come while it was read.
            if done.cancelled() or self._following.get(served.held.id) != wanted:
                return
            error = done.exception()
            if error is not None:
                log.error("model '%s' is not watched: %s", served.held.name, error)
            made = [] if error is not None else done.result()
            self._replace(served, tuple(self._taker(*one, signature) for one in made))

        loop.run_in_executor(self._pool, read).add_done_callback(take)

    def _taker(self, taken: Taken, frames: tuple[Counted, ...], signature: Signature) -> Taker:
        slot = self._slots.get(taken.block)
        if slot is None:
            words = self._arena.array(taken.block, self._worker)
            slot = self._slots[taken.block] = Slot(words, self._pool)
        if isinstance(taken, Kept):
            return FirstRows(signature, slot, taken.rows, taken.names, taken.categories)
        return Sketch(frames, slot, self._tick)

    def _replace(self, served: Served, takers: tuple[Taker, ...]) -> None:
        served.endpoint.watch(takers)
        for old in self._takers.pop(served.held.id, ()):
            old.close()
        if takers:
            self._takers[served.held.id] = takers
        for block in [block for block, slot in self._slots.items() if not slot.used]:
            del self._slots[block]


def _read(watched: Taken, signature: Signature) -> tuple[Counted, ...]:
    """The frames of a profile, on a thread; none where there is no profile yet.

    Raises:
        ProfileInvalid: it cannot be read, or is of another model.
    """
    if isinstance(watched, Kept):
        return ()
    try:
        profile = document.read(Path(watched.path).read_bytes())
    except OSError as error:
        raise ProfileInvalid(f"profile {watched.digest[:12]}: {error.strerror}") from error
    check_fit(profile, signature)
    try:
        return counted(profile, signature)
    except ValueError as error:
        raise ProfileInvalid(f"profile {watched.digest[:12]}: {error}") from error
