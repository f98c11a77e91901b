"""Counts every value of a deployment's batches into the bins of its profile.

Knows frames, a block of the arena and the tick. Knows nothing of requests, of batching or of what
the counts are compared with.

    Taker        takes batches into a slot, on the loop or on a thread
    +-- Sketch   counts them; others are `Uncounted` and `first_rows.FirstRows`

Batches that would hold the event loop for long are counted on a thread, and as long as one is,
those that follow wait in line behind it (`slot`). Nothing that goes wrong here reaches a request:
it is said once, and counted.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from gateway.monitor import layout
from gateway.monitor.contracts import Observed
from gateway.monitor.slot import Slot
from gateway.profiles.live import Counted, is_classified
from gateway.tensors import Array
from kernels.columns import Words
from kernels.probabilities import count_classified

log = logging.getLogger("penstock.worker")

# Some 1 ms of the event loop.
THREAD_VALUES: Final = 100_000

Arrays = Sequence[Array | None]


class Taker(ABC):
    """Takes the batches of one deployment into one slot. Called on the event loop alone."""

    def __init__(self, slot: Slot, light_rows: int) -> None:
        """Begins to use the slot; a batch of up to `light_rows` rows never needs a thread."""
        self._slot = slot
        self._words = slot.words
        self._light_rows = light_rows
        self._complained = False
        slot.use()

    def close(self) -> None:
        """Takes no more."""
        self._slot.leave()

    def count(self, inputs: Arrays, outputs: Arrays, rows: int) -> None:
        """Takes a batch.

        Args:
            inputs: the tensors that ran, in the signature's order.
            outputs: the same, None for what was not computed.
            rows: in them.
        """
        heavy = rows > self._light_rows and _values(inputs, outputs) > THREAD_VALUES
        if heavy or self._slot.busy:
            size = sum([array.nbytes for array in (*inputs, *outputs) if array is not None])
            self._slot.line_up(partial(self._add, inputs, outputs, rows), rows, size)
        elif skipped := self._add(inputs, outputs, rows):
            self._words[layout.SKETCH_SKIPPED] += skipped

    @abstractmethod
    def _add(self, inputs: Arrays, outputs: Arrays, rows: int) -> int:
        """On the loop or on a thread: never raises. How many rows were not taken."""

    def _complain(self) -> None:
        """Inside an `except`: says once what went wrong."""
        if not self._complained:
            self._complained = True
            log.exception("a batch could not be counted; others like it are not told of")


class _Classified(NamedTuple):
    """Where a table and its probabilities are, and their layouts."""

    asked: int
    said: int
    table: Words
    scores: Words
    summary: Words

    @classmethod
    def of(cls, frames: Sequence[Counted]) -> _Classified:
        asked, said = frames
        table, scores, summary = (one.words for one in (*asked.layouts, *said.layouts))
        return cls(asked.index, said.index, table, scores, summary)


class Sketch(Taker):
    """What one deployment counts into one block."""

    def __init__(
        self,
        frames: Sequence[Counted],
        slot: Slot,
        tick: memoryview[int],
        wall: Callable[[], float] = time.time,
        observed: Observed | None = None,
    ) -> None:
        """Begins to count.

        Args:
            frames: what is counted, in the order of the block.
            slot: of the block.
            tick: one word, which control raises.
            wall: seconds since 1970.
            observed: counts what batches break of a contract.
        """
        super().__init__(slot, _light_rows(frames))
        self._observed = observed
        self._frames = [
            (c.output, c.index, c.matrix, c.count, tuple(one.words for one in c.layouts))
            for c in frames
        ]
        self._classified = _Classified.of(frames) if is_classified(frames) else None
        self._tick = tick
        self._wall = wall

    def _add(self, inputs: Arrays, outputs: Arrays, rows: int) -> int:
        tick, now_ms = self._tick[0], int(self._wall() * 1000.0)
        skipped = 0
        unusual = None
        if self._classified is not None:
            unusual = self._add_classified(self._classified, inputs, outputs, tick, now_ms)
        if unusual is None:
            unusual, skipped = self._add_frames(inputs, outputs, rows, tick, now_ms)
        if self._observed is not None:
            self._observed.add(inputs, rows, unusual + skipped)
        return skipped

    def _add_classified(
        self, found: _Classified, inputs: Arrays, outputs: Arrays, tick: int, now_ms: int
    ) -> int | None:
        """All frames by one call; None where that cannot be, and nothing was counted."""
        asked, said = inputs[found.asked], outputs[found.said]
        if asked is None or said is None:
            return None
        try:
            return count_classified(
                asked, said, self._words, found.table, found.scores, found.summary, tick, now_ms
            )
        except (TypeError, ValueError):
            # Other arrays than the signature says: from now on one by one, as far as that goes.
            self._classified = None
            return None

    def _add_frames(
        self, inputs: Arrays, outputs: Arrays, rows: int, tick: int, now_ms: int
    ) -> tuple[int, int]:
        """Values that are unusual, and rows skipped. What is wrong with one frame is its own."""
        skipped = unusual = 0
        for output, index, matrix, count, plans in self._frames:
            try:
                array = (outputs if output else inputs)[index]
                if array is not None:
                    found = count(matrix(array), self._words, *plans, tick, now_ms)
                    unusual += 0 if output else found
            except Exception:
                skipped = rows
                self._complain()
        return unusual, skipped

    def close(self) -> None:
        """Takes no more."""
        super().close()
        if self._observed is not None:
            self._observed.close()


class Uncounted(Taker):
    """What stands in for a sketch whose profile cannot be used: every row is skipped.

    So that reports and alarms tell of it, and not the log alone.
    """

    def __init__(self, slot: Slot) -> None:
        """Begins to skip."""
        super().__init__(slot, sys.maxsize)

    def _add(self, inputs: Arrays, outputs: Arrays, rows: int) -> int:
        return rows


def _light_rows(frames: Sequence[Counted]) -> int:
    """So many rows the loop can always count; 0 where their lengths vary."""
    return light_rows({(c.output, c.index): c.frame.shape for c in frames}.values())


def light_rows(shapes: Iterable[Sequence[int]]) -> int:
    """So many rows of these tensors the loop can always take; 0 where their lengths vary."""
    inner = [shape[1:] for shape in shapes]
    if any(-1 in shape for shape in inner):
        return 0
    return THREAD_VALUES // max(1, sum(math.prod(shape) for shape in inner))


def _values(inputs: Arrays, outputs: Arrays) -> int:
    return sum([array.size for array in (*inputs, *outputs) if array is not None])
