"""Where the values of each deployment of one worker go, as the plan says.

They are counted into the bins of a profile or, as long as there is none, kept as first rows. With
the profile comes a contract, which stands at the deployment's door or counts beside the bins; the
two change together. Where outcomes are to be joined to answers, those are written down; where
inputs and outputs are captured, they are copied.

Knows plans, what was prepared and blocks of the arena. Knows nothing of how values are counted,
or of who chose the profile.

A profile is read on a thread (`prepared`): with the model where that is loaded, so that the first
request is counted, and while the model serves where the profile comes later. One that cannot be
read or is of another model leaves it unwatched, the log says why, and rows count as skipped:
monitoring fails no request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from gateway.afterwards import NOTHING, Afterwards
from gateway.capture.frames import NOBODY_AT_ALL
from gateway.capture.schema import Schema
from gateway.catalogue import AnyServed
from gateway.config import OBSERVE, REJECT
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.capture import CaptureWriter, Choice, Subject
from gateway.monitor.contracts import Enforced, Observed
from gateway.monitor.first_rows import FirstRows
from gateway.monitor.hold_out import HoldOut
from gateway.monitor.ledger import LedgerWriter
from gateway.monitor.parts import Part, Parts
from gateway.monitor.scores import reading
from gateway.monitor.sketch import Sketch, Taker, Uncounted
from gateway.monitor.slices import Slicer, places_of
from gateway.monitor.slot import Slot
from gateway.plan import Plan
from gateway.prepared import Prepared, Ready, prepare
from gateway.profiles.names import Named, by_input
from gateway.taken import Captured, Kept, Recorded, Sliced, Taken, Watched
from gateway.tensors import Signature

log = logging.getLogger("penstock.worker")

MAX_NAMED = 8
"""Columns that a message names."""


Hashed = Callable[[str], bytes]
"""The keyed hash of a subject, as `capture.frames` keeps it."""


class Sketches:
    """Lives on the worker's event loop."""

    def __init__(
        self, arena: Arena, worker: int, epoch: int, pool: Executor, hashed: Hashed | None = None
    ) -> None:
        """Counts into the slots of `worker`; reads profiles on `pool`; `hashed` hides subjects."""
        self._arena = arena
        self._hashed = hashed
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
        self._attached: dict[str, tuple[Afterwards, Enforced | None]] = {}

    def prepare(self, held_id: str, signature: Signature) -> None:
        """Reads what a deployment that is being loaded will count into. On a thread."""
        # Told when it is attached, whatever it is: no model goes unserved because of a profile.
        with contextlib.suppress(Exception):
            self._prepared[held_id] = prepare(self._watched.get(held_id, ()), signature)

    def follow(self, plan: Plan, served: Iterable[AnyServed]) -> None:
        """Brings every deployment to what the plan wants it to count into."""
        self._watched = plan.watched
        for one in served:
            wanted = plan.watched.get(one.held.id, ())
            if wanted != self._following.get(one.held.id, ()):
                self._following[one.held.id] = wanted
                self._begin(one, wanted)

    def release(self, served: AnyServed) -> None:
        """A deployment has answered its last request."""
        self._following.pop(served.held.id, None)
        self._replace(served)

    def _begin(self, served: AnyServed, wanted: tuple[Taken, ...]) -> None:
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
        loop.run_in_executor(self._pool, prepare, wanted, signature).add_done_callback(take)

    def _take(self, served: AnyServed, ready: Ready) -> None:
        try:
            self._attach(served, ready)
        except Exception:  # whatever it is, the rest of the plan is followed
            log.exception("model '%s' is not watched", served.held.name)

    def _attach(self, served: AnyServed, ready: Ready) -> None:
        signature = served.deployment.signature
        takers: list[Taker] = []
        door: Enforced | None = None
        ledger: LedgerWriter | None = None
        parts: Parts | None = None
        capture: CaptureWriter | None = None
        for taken, prepared in ready:
            if isinstance(taken, Recorded):
                ledger = self._writer(taken, served)
                continue
            if isinstance(taken, Sliced):
                parts = self._parts(taken, served, ready)
                continue
            if isinstance(taken, Captured):
                capture = self._capture(taken, served)
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
        self._replace(served, Afterwards(tuple(takers), ledger, parts, capture), door)

    def _writer(self, taken: Recorded, served: AnyServed) -> LedgerWriter | None:
        """None where the model's outputs are not what the configuration says."""
        signature = served.deployment.signature
        try:
            scores = reading(signature, taken.kind, taken.output, taken.positive)
        except ValueError as error:
            # The ledger is on by default: a model that has no scores is nobody's mistake.
            wanted = taken.kind != "auto" or taken.output is not None
            level = logging.ERROR if wanted else logging.INFO
            log.log(level, "model '%s' has no ledger: %s", served.held.name, error)
            return None
        hold_out = None
        if taken.held_out:
            hold_out = HoldOut(taken.held_out, taken.policy, self._seed + taken.series)
        return LedgerWriter(
            scores,
            self._slot(taken.block),
            taken.series,
            self._epoch,
            hold_out,
            share=taken.share,
            client_ids=taken.client_ids,
        )

    def _parts(self, taken: Sliced, served: AnyServed, ready: Ready) -> Parts:
        """Without groups whose values cannot be counted for want of a profile."""
        slicer = _slicer(taken, served, _names(ready, taken, served.deployment.signature))
        frames = next((p.frames for one, p in ready if _is_own(one) and p.frames), ())
        counted = [
            Part(one.grouping, one.group, Sketch(frames, self._slot(one.block), self._tick))
            for one in (taken.parts if frames and served.deployment.signature.batched else ())
        ]
        return Parts(slicer, counted)

    def _capture(self, taken: Captured, served: AnyServed) -> CaptureWriter | None:
        """None where the deployment is not what is to be captured."""
        signature, schema = served.deployment.signature, Schema.read(taken.schema)
        scores = None
        with contextlib.suppress(ValueError):  # rows are kept without a score
            scores = reading(signature, **schema.scores)
        low_and_high = None if taken.between is None else (taken.between[0], taken.between[1])
        rules = taken.below, low_and_high, taken.alarms, taken.shadows
        choice = Choice(taken.everything, taken.share, *rules)
        slot, subject = self._slot(taken.block), self._subject(taken.subject)
        try:
            return CaptureWriter(
                schema, signature, scores, choice, slot, self._epoch, subject=subject
            )
        except ValueError as error:
            log.error("model '%s' is not captured: %s", served.held.name, error)
            return None

    def _subject(self, parameter: str) -> Subject | None:
        hashed = self._hashed
        if not parameter or hashed is None:
            return None

        def subject(parameters: Mapping[str, Any]) -> bytes:
            value = parameters.get(parameter)
            return NOBODY_AT_ALL if value is None else hashed(str(value))

        return subject

    def _slot(self, block: int) -> Slot:
        slot = self._slots.get(block)
        if slot is None:
            words = self._arena.array(block, self._worker)
            slot = self._slots[block] = Slot(words, self._pool)
        return slot

    def _replace(
        self,
        served: AnyServed,
        afterwards: Afterwards = NOTHING,
        door: Enforced | None = None,
    ) -> None:
        served.endpoint.watch(afterwards)
        served.endpoint.agree(door)
        for old in self._attached.pop(served.held.id, ()):
            if old is not None:
                old.close()
        if (afterwards, door) != (NOTHING, None):
            self._attached[served.held.id] = afterwards, door
        for block in [block for block, slot in self._slots.items() if not slot.used]:
            del self._slots[block]


def _names(ready: Ready, sliced: Sliced, signature: Signature) -> Named:
    """What columns are called: by the profile, else as it is going to call them."""
    for taken, prepared in ready:
        if isinstance(taken, Kept) and taken.names:
            return taken.names
        if _is_own(taken) and prepared.frames:
            return {
                one.frame.tensor: [column.name for column in one.frame.columns]
                for one in prepared.frames
                if not one.output and one.frame.summary is None
            }
    return by_input((), sliced.names, [spec.name for spec in signature.inputs])


def _is_own(taken: Taken) -> bool:
    """Whether it is the version's own profile."""
    return isinstance(taken, Watched) and not taken.common


def _slicer(sliced: Sliced, served: AnyServed, names: Named) -> Slicer:
    """Without the slicings that the model has nothing for; the log tells of them."""
    signature = served.deployment.signature
    places = places_of(signature, names)
    found = Slicer()
    for grouping, one in enumerate(sliced.slices):
        if one.parameter is not None:
            found.by_parameter(grouping, one.parameter, one.values)
            continue
        place = places.get(one.feature or "")
        try:
            if place is None:
                raise ValueError(f"it is none of {_some(places)}")
            spec = signature.inputs[place[0]]
            found.by_column(grouping, place, spec, one.edges, one.values)
        except ValueError as error:
            log.error(
                "model '%s': models.%s.slices.%s: feature '%s': %s: its rows are told apart no"
                " further",
                *(served.held.name, served.held.name, one.name, one.feature, error),
            )
    return found


def _some(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
    return ", ".join(f"'{name}'" for name in known[:MAX_NAMED]) + more
