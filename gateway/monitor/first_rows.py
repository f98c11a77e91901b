"""Keeps the first rows of a deployment that has no profile, until control makes one of them.

Knows a block of the arena, frames and records. Knows nothing of requests, or of when there are
enough rows on all workers together: it stops when its own slot has all that are wanted.

It costs a copy a batch, and nothing once the slot is done. Only rows that were answered come here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from gateway.monitor.sketch import Arrays, Taker, light_rows
from gateway.monitor.slot import Slot
from gateway.profiles import first_rows
from gateway.profiles.first_rows import END, FRAMES, FULL, HEAD_WORDS, ROWS
from gateway.profiles.plans import FramePlan, plan_frames
from gateway.tensors import Array, Signature

_ALIGNED: Final = 8
# Batches that may lack an output before the frames are made without it: one client that asks for
# less than all others must not decide what is watched.
_PATIENCE: Final = 100


class FirstRows(Taker):
    """What one deployment keeps in one block."""

    def __init__(
        self,
        signature: Signature,
        slot: Slot,
        rows: int,
        names: Mapping[str, Sequence[str]],
        categories: Collection[str],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begins to keep rows, behind those that a predecessor in this slot has kept.

        Args:
            signature: of the deployment.
            slot: of the block.
            rows: wanted.
            names: of columns, by input, where somebody gave any.
            categories: names of columns whose whole numbers are names.
            wall: seconds since 1970.
        """
        specs = (*signature.inputs, *signature.outputs)
        super().__init__(slot, light_rows([spec.shape for spec in specs]))
        self._signature = signature
        self._wanted = rows
        self._names = names
        self._categories = categories
        self._wall = wall
        self._area = slot.words[HEAD_WORDS:].view("u1")
        self._frames: Sequence[FramePlan] | None = None
        self._closed = False
        self._lacking = 0

    def close(self) -> None:
        """Keeps no more, not even what waits for a thread: the block may soon be another's."""
        self._closed = True
        super().close()

    def count(self, inputs: Arrays, outputs: Arrays, rows: int) -> None:
        """As `Taker.count`; nothing happens once the slot is done."""
        words = self._words
        if words[ROWS] < self._wanted and not words[FULL]:
            super().count(inputs, outputs, rows)

    def _add(self, inputs: Arrays, outputs: Arrays, rows: int) -> int:
        try:
            signature = self._signature
            taken = {spec.name: a for spec, a in zip(signature.inputs, inputs, strict=True)}
            given = {spec.name: a for spec, a in zip(signature.outputs, outputs, strict=True)}
            if self._frames is None:
                self._frames = self._adopted() or self._planned(taken, given, rows)
            if self._frames is None:
                return rows
            now_ms = int(self._wall() * 1000.0)
            pieces = first_rows.record(self._frames, taken, given, rows, now_ms)
            return rows if pieces is None else self._put(pieces, rows)
        except Exception:
            self._complain()
            return rows

    def _put(self, pieces: Sequence[Array], rows: int) -> int:
        words = self._words
        if words[FULL] or self._closed:
            return rows
        start = self._start + int(words[END])
        if start + first_rows.size_of(pieces) > len(self._area):
            words[FULL] = 1
            return rows
        end = first_rows.put(self._area, start, pieces)
        # In this order: who is killed in between leaves a record that nobody sees.
        words[END] = end - self._start
        words[ROWS] += rows
        return 0

    @property
    def _start(self) -> int:
        """Of the records, behind the frames."""
        return -(-int(self._words[FRAMES]) // _ALIGNED) * _ALIGNED

    def _adopted(self) -> Sequence[FramePlan]:
        """The frames that stand in the slot already; none where nothing does."""
        there = first_rows.frames_of(self._words)
        return first_rows.read_frames(there) if there else ()

    def _planned(
        self, inputs: Mapping[str, Array | None], outputs: Mapping[str, Array | None], rows: int
    ) -> Sequence[FramePlan] | None:
        """Frames by a first batch with all outputs, written down for whoever comes after."""
        if self._lacking < _PATIENCE and any(array is None for array in outputs.values()):
            self._lacking += 1
            return None
        frames = plan_frames(
            self._signature,
            _by_row(inputs, rows),
            _by_row(outputs, rows),
            self._names,
            self._categories,
        )
        text = first_rows.write_frames(frames)
        if len(text) > len(self._area):
            self._words[FULL] = 1
            return frames
        self._area[: len(text)] = memoryview(text)
        self._words[FRAMES] = len(text)
        return frames


def _by_row(tensors: Mapping[str, Array | None], rows: int) -> dict[str, Array]:
    """Those that were computed and have a row for each row."""
    return {
        name: array
        for name, array in tensors.items()
        if array is not None and array.shape[:1] == (rows,)
    }
