"""Makes references of first rows, once there are enough of them on all workers together.

Knows plans, blocks of first rows and a builder. Knows nothing of how rows come into their blocks,
or of what a model is held against afterwards: a profile that is kept here is found by the next look
at the sources, as any other is.

Workers whose first batches led to different frames (images between other values, say) are not
mixed: those that most rows agree on count.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.control.self_references import SelfReference, SelfReferences
from gateway.errors import StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Block
from gateway.plan import Held, Plan
from gateway.profiles import first_rows
from gateway.profiles.builder import Builder
from gateway.profiles.values import Profile
from gateway.taken import Kept
from gateway.tensors import Array

log = logging.getLogger("penstock.control")

# After a disk refused what was made.
RETRY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a version without a profile has come.

    Attributes:
        rows: there are.
        wanted: before a profile is made of them.
        full: a slot has no more room: it is made of those that there are.
    """

    rows: int
    wanted: int
    full: bool = False

    @property
    def enough(self) -> bool:
        """Whether a profile can be made."""
        return self.rows >= self.wanted or (self.full and self.rows > 0)


class Freezing:
    """Lives on control's event loop; builds on a thread, one profile at a time."""

    def __init__(
        self,
        arena: Arena,
        own: SelfReferences,
        plan: Callable[[], Plan],
        clock: Callable[[], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: shared memory.
            own: keeps what is made.
            plan: the newest.
            clock: monotonic seconds.
        """
        self._arena = arena
        self._own = own
        self._plan = plan
        self._clock = clock
        self._not_before: dict[str, float] = {}
        """By block: what was made, or cannot be, is not made again."""

    def progress(self) -> dict[tuple[str, int], Progress]:
        """Of every version that waits for rows, by name and version."""
        return {
            (held.name, held.version): _progress(self._arena.slots(block), kept)
            for held, kept, block in self._waiting()
        }

    async def look(self) -> None:
        """Makes the profiles that can be made now. Call it about once a second."""
        waiting = list(self._waiting())
        there = {block.name for _, _, block in waiting}
        self._not_before = {name: at for name, at in self._not_before.items() if name in there}
        for held, kept, block in waiting:
            due = self._clock() >= self._not_before.get(block.name, 0.0)
            if due and _progress(self._arena.slots(block), kept).enough:
                await self._freeze(held, kept, block)

    def _waiting(self) -> Iterator[tuple[Held, Kept, Block]]:
        plan = self._plan()
        blocks = {block.offset: block for block in self._arena.blocks(layout.FIRST_ROWS)}
        for held in plan.held:
            for one in plan.watched.get(held.id, ()):
                if isinstance(one, Kept) and one.block in blocks:
                    yield held, one, blocks[one.block]

    async def _freeze(self, held: Held, kept: Kept, block: Block) -> None:
        what = f"model '{held.name}' version {held.version}"
        resets = layout.resets_of(block.name)
        known = SelfReference(held.name, held.version, held.digest, resets)
        slots = self._arena.slots(block)
        self._not_before[block.name] = np.inf
        try:
            profile = await asyncio.to_thread(_build, slots, kept.rows)
            new = await asyncio.to_thread(self._own.freeze, known, profile)
        except StoreFailed as error:
            self._not_before[block.name] = self._clock() + RETRY_S
            log.error("%s: no reference is made of its first rows: %s", what, error)
            return
        except Exception:
            log.exception("%s: no reference can be made of its first rows", what)
            return
        if new:
            fewer = "" if profile.rows >= kept.rows else f" (there was no room for {kept.rows})"
            log.info(
                "%s: self-referenced from now on: its first %d rows%s are what it is held against",
                what,
                profile.rows,
                fewer,
            )


def _progress(slots: Array, kept: Kept) -> Progress:
    """By those that agree on their frames."""
    groups = _agreeing(slots)
    rows = max((int(slots[some, first_rows.ROWS].sum()) for some in groups), default=0)
    return Progress(min(rows, kept.rows), kept.rows, bool(slots[:, first_rows.FULL].any()))


def _agreeing(slots: Array) -> list[list[int]]:
    """Numbers of the slots that have rows, those of equal frames together."""
    used = np.flatnonzero(slots[:, first_rows.ROWS]).tolist()
    if len(used) == 1:
        return [used]
    by_frames: dict[bytes, list[int]] = {}
    for slot in used:
        by_frames.setdefault(first_rows.frames_of(slots[slot]), []).append(slot)
    return list(by_frames.values())


def _build(slots: Array, rows: int) -> Profile:
    """The profile of the oldest rows, on a thread.

    Raises:
        StoreFailed: there is no room for a temporary copy.
    """
    some = max(_agreeing(slots), key=lambda one: int(slots[one, first_rows.ROWS].sum()))
    frames = first_rows.read_frames(first_rows.frames_of(slots[some[0]]))
    records = [record for slot in some for record in first_rows.records_of(slots[slot])]
    with Builder(frames) as builder:
        first_rows.add_all(builder, frames, records, rows)
        return dataclasses.replace(builder.build(), self_referenced=True)
