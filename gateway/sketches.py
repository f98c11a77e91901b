"""Where the values of each deployment of one worker go, as the plan says.

They are counted into the bins of a profile or, as long as there is none, kept as first rows. With
the profile comes a contract, which stands at the deployment's door or counts beside the bins; the
two change together. Where outcomes are to be joined to answers, those are written down.

Knows plans, profiles, contracts and blocks of the arena. Knows nothing of how values are counted,
or of who chose the profile.

A profile is read on a thread: with the model where that is loaded, so that the first request is
counted, and while the model serves where the profile comes later. One that cannot be read or is of
another model leaves it unwatched, the log says why, and rows count as skipped: monitoring fails no
request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from gateway.catalogue import Served
from gateway.config import OBSERVE, REJECT
from gateway.contracts import document as contract_document
from gateway.contracts.cover import covers
from gateway.contracts.fit import check_fit as check_contract
from gateway.contracts.live import Terms
from gateway.errors import ContractInvalid, ProfileInvalid
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.contracts import Enforced, Observed
from gateway.monitor.first_rows import FirstRows
from gateway.monitor.hold_out import HoldOut
from gateway.monitor.ledger import LedgerWriter
from gateway.monitor.scores import reading
from gateway.monitor.sketch import Sketch, Taker, Uncounted
from gateway.monitor.slot import Slot
from gateway.plan import Agreed, Kept, Plan, Recorded, Taken, Watched
from gateway.profiles import beside
from gateway.profiles.fit import check_fit
from gateway.profiles.live import Counted, counted
from gateway.profiles.values import Profile
from gateway.tensors import Signature

log = logging.getLogger("penstock.worker")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was read for one of the places that values go to.

    Attributes:
        frames: of the profile; none of first rows. None: it cannot be used.
        terms: of the contract, where there is one that can be used.
        covered: it takes whatever is not unusual to the profile.
    """

    frames: tuple[Counted, ...] | None = ()
    terms: Terms | None = None
    covered: bool = False


Ready = tuple[tuple[Taken, Prepared], ...]


class Sketches:
    """Lives on the worker's event loop."""

    def __init__(self, arena: Arena, worker: int, epoch: int, pool: Executor) -> None:
        """Counts into the slots of `worker`; reads profiles on `pool`."""
        self._arena = arena
        self._worker = worker
        self._epoch = epoch
        self._pool = pool
        # One for good: another share or policy holds those out that the one before would have, and
        # a request that was under way has been told what is written down.
        self._seed = secrets.randbits(64)
        self._tick = arena.control_row[TICK : TICK + 1]
        self._watched: Mapping[str, tuple[Taken, ...]] = {}
        self._prepared: dict[str, Ready] = {}
        self._slots: dict[int, Slot] = {}
        self._following: dict[str, tuple[Taken, ...]] = {}
        self._takers: dict[str, tuple[Taker | Enforced | LedgerWriter, ...]] = {}

    def prepare(self, held_id: str, signature: Signature) -> None:
        """Reads what a deployment that is being loaded will count into. On a thread."""
        # Told when it is attached, whatever it is: no model goes unserved because of a profile.
        with contextlib.suppress(Exception):
            self._prepared[held_id] = _ready(self._watched.get(held_id, ()), signature)

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
        self._replace(served, (), None)

    def _begin(self, served: Served, wanted: tuple[Taken, ...]) -> None:
        prepared = self._prepared.pop(served.held.id, ())
        if tuple(one for one, _ in prepared) == wanted:
            self._take(served, prepared)
            return
        signature = served.deployment.signature

        def take(done: asyncio.Future[Ready]) -> None:
            # Another plan may have come while it was read.
            if done.cancelled() or self._following.get(served.held.id) != wanted:
                return
            error = done.exception()
            if error is None:
                self._take(served, done.result())
                return
            log.error("model '%s' is not watched: %s", served.held.name, error)
            self._take(served, tuple((one, Prepared(frames=None)) for one in wanted))

        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._pool, _ready, wanted, signature).add_done_callback(take)

    def _take(self, served: Served, ready: Ready) -> None:
        try:
            self._attach(served, ready)
        except Exception:  # whatever it is, the rest of the plan is followed
            log.exception("model '%s' is not watched", served.held.name)

    def _attach(self, served: Served, ready: Ready) -> None:
        signature = served.deployment.signature
        takers: list[Taker] = []
        door: Enforced | None = None
        ledger: LedgerWriter | None = None
        for taken, prepared in ready:
            if isinstance(taken, Recorded):
                ledger = self._writer(taken, served)
                continue
            slot, observed = self._slot(taken.block), None
            if isinstance(taken, Kept):
                kept = FirstRows(signature, slot, taken.rows, taken.names, taken.categories)
                takers.append(kept)
                continue
            if prepared.frames is None:
                takers.append(Uncounted(slot))
                continue
            if taken.contract is not None and prepared.terms is not None:
                policy, its = taken.contract.policy, self._slot(taken.contract.block)
                if policy == OBSERVE:
                    observed = Observed(prepared.terms, its, prepared.covered)
                else:
                    door = Enforced(prepared.terms, its, slot, policy == REJECT)
            takers.append(Sketch(prepared.frames, slot, self._tick, observed=observed))
        self._replace(served, tuple(takers), door, ledger)

    def _writer(self, taken: Recorded, served: Served) -> LedgerWriter | None:
        """None where the model's outputs are not what the configuration says."""
        signature = served.deployment.signature
        try:
            scores = reading(signature, taken.kind, taken.output, taken.positive)
        except ValueError as error:
            log.error("model '%s' has no ledger: %s", served.held.name, error)
            return None
        hold_out = None
        if taken.held_out:
            hold_out = HoldOut(taken.held_out, taken.policy, self._seed + taken.series)
        return LedgerWriter(scores, self._slot(taken.block), taken.series, self._epoch, hold_out)

    def _slot(self, block: int) -> Slot:
        slot = self._slots.get(block)
        if slot is None:
            words = self._arena.array(block, self._worker)
            slot = self._slots[block] = Slot(words, self._pool)
        return slot

    def _replace(
        self,
        served: Served,
        takers: tuple[Taker, ...],
        door: Enforced | None,
        ledger: LedgerWriter | None = None,
    ) -> None:
        served.endpoint.watch(takers, ledger)
        served.endpoint.agree(door)
        for old in self._takers.pop(served.held.id, ()):
            old.close()
        users = tuple(one for one in (*takers, door, ledger) if one is not None)
        if users:
            self._takers[served.held.id] = users
        for block in [block for block, slot in self._slots.items() if not slot.used]:
            del self._slots[block]


def _ready(wanted: tuple[Taken, ...], signature: Signature) -> Ready:
    """On a thread.

    Raises:
        ProfileInvalid: one of them cannot be read, or is of another model.
    """
    return tuple((one, _prepared(one, signature)) for one in wanted)


def _prepared(watched: Taken, signature: Signature) -> Prepared:
    if not isinstance(watched, Watched):
        return Prepared()
    profile = beside.load(Path(watched.path))
    check_fit(profile, signature)
    try:
        frames = counted(profile, signature)
    except ValueError as error:
        raise ProfileInvalid(f"profile {watched.digest[:12]}: {error}") from error
    return _agreed(Prepared(frames), watched.contract, profile, signature)


def _agreed(
    prepared: Prepared, agreed: Agreed | None, profile: Profile, signature: Signature
) -> Prepared:
    """With the contract; without one that cannot be used, values are counted all the same."""
    if agreed is None:
        return prepared
    try:
        contract = contract_document.load(Path(agreed.path))
        check_contract(contract, signature)
        terms = Terms(contract, signature)
    except (ContractInvalid, ValueError) as error:
        log.error("contract %s holds for nobody: %s", agreed.digest[:12], error)
        return prepared
    return Prepared(prepared.frames, terms, covers(contract, profile))
