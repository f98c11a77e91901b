"""Where the values of each deployment of one worker go, as the plan says.

They are counted into the bins of a profile or, as long as there is none, kept as first rows; and
where outcomes are to be joined to answers, those are written down in the ledger.

Knows plans, profiles and blocks of the arena. Knows nothing of how values are counted, or of who
chose the profile.

A profile is read on a thread: with the model where that is loaded, so that the first request is
counted, and while the model serves where the profile comes later. One that cannot be read or is of
another model leaves it unwatched, and the log says why: monitoring fails no request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path

from gateway.catalogue import Served
from gateway.errors import ProfileInvalid
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.first_rows import FirstRows
from gateway.monitor.ledger import LedgerWriter
from gateway.monitor.scores import reading
from gateway.monitor.sketch import Sketch, Slot, Taker
from gateway.plan import Kept, Plan, Recorded, Taken, Watched
from gateway.profiles import document
from gateway.profiles.fit import check_fit
from gateway.profiles.live import Counted, counted
from gateway.tensors import Signature

log = logging.getLogger("penstock.worker")


Frames = tuple[tuple[Taken, tuple[Counted, ...]], ...]


class Sketches:
    """Lives on the worker's event loop."""

    def __init__(self, arena: Arena, worker: int, epoch: int, pool: Executor) -> None:
        """Counts into the slots of `worker`, in its `epoch`; reads profiles on `pool`."""
        self._arena = arena
        self._worker = worker
        self._epoch = epoch
        self._pool = pool
        self._tick = arena.control_row[TICK : TICK + 1]
        self._watched: Mapping[str, tuple[Taken, ...]] = {}
        self._prepared: dict[str, Frames] = {}
        self._slots: dict[int, Slot] = {}
        self._following: dict[str, tuple[Taken, ...]] = {}
        self._takers: dict[str, list[Taker | LedgerWriter]] = {}

    def prepare(self, held_id: str, signature: Signature) -> None:
        """Reads what a deployment that is being loaded will count into. On a thread."""
        with contextlib.suppress(ProfileInvalid):  # told when it is attached
            self._prepared[held_id] = _frames(self._watched.get(held_id, ()), signature)

    def follow(self, plan: Plan, served: Iterable[Served]) -> None:
        """Brings every deployment to what the plan wants it to count into."""
        self._watched = plan.watched
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
        prepared = self._prepared.pop(served.held.id, ())
        if tuple(one for one, _ in prepared) == wanted:
            self._take(served, prepared)
            return
        signature = served.deployment.signature

        def take(done: asyncio.Future[Frames]) -> None:
            # Another plan may have come while it was read.
            if done.cancelled() or self._following.get(served.held.id) != wanted:
                return
            error = done.exception()
            if error is not None:
                log.error("model '%s' is not watched: %s", served.held.name, error)
            # Its answers are written down nonetheless.
            rest = tuple((one, ()) for one in wanted if isinstance(one, Recorded))
            self._take(served, rest if error is not None else done.result())

        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._pool, _frames, wanted, signature).add_done_callback(take)

    def _take(self, served: Served, frames: Frames) -> None:
        signature = served.deployment.signature
        takers, ledger = [], None
        for taken, counts in frames:
            if isinstance(taken, Recorded):
                ledger = self._writer(taken, served)
            else:
                takers.append(self._taker(taken, counts, signature))
        self._replace(served, tuple(takers), ledger)

    def _slot(self, block: int) -> Slot:
        slot = self._slots.get(block)
        if slot is None:
            words = self._arena.array(block, self._worker)
            slot = self._slots[block] = Slot(words, self._pool)
        return slot

    def _taker(
        self, taken: Watched | Kept, frames: tuple[Counted, ...], signature: Signature
    ) -> Taker:
        slot = self._slot(taken.block)
        if isinstance(taken, Kept):
            return FirstRows(signature, slot, taken.rows, taken.names, taken.categories)
        return Sketch(frames, slot, self._tick)

    def _writer(self, taken: Recorded, served: Served) -> LedgerWriter | None:
        """None where the model's outputs are not what the configuration says."""
        signature = served.deployment.signature
        try:
            scores = reading(signature, taken.kind, taken.output, taken.positive)
        except ValueError as error:
            log.error("model '%s' has no ledger: %s", served.held.name, error)
            return None
        return LedgerWriter(scores, self._slot(taken.block), taken.series, self._epoch)

    def _replace(
        self, served: Served, takers: tuple[Taker, ...], ledger: LedgerWriter | None = None
    ) -> None:
        served.endpoint.watch(takers, ledger)
        for old in self._takers.pop(served.held.id, ()):
            old.close()
        users: list[Taker | LedgerWriter] = [*takers, *([] if ledger is None else [ledger])]
        if users:
            self._takers[served.held.id] = users
        for block in [block for block, slot in self._slots.items() if not slot.used]:
            del self._slots[block]


def _frames(wanted: tuple[Taken, ...], signature: Signature) -> Frames:
    """On a thread.

    Raises:
        ProfileInvalid: one of them cannot be read, or is of another model.
    """
    return tuple((one, _read(one, signature)) for one in wanted)


def _read(watched: Taken, signature: Signature) -> tuple[Counted, ...]:
    if not isinstance(watched, Watched):
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
