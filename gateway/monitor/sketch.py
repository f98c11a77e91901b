"""Counts every value of a deployment's batches into the bins of its profile.

Knows frames, a block of the arena and the tick. Knows nothing of requests, of batching or of what
the counts are compared with.

    Slot         one worker's words of a block
    Taker        takes batches into a slot, on the loop or on a thread
    +-- Sketch   counts them; the other one is `first_rows.FirstRows`

A slot has one writer at a time. Batches that would hold the event loop for long are counted on a
thread, and as long as one is, those that follow wait in line behind it. The line is bounded: what
finds no room is counted as skipped, which happens only where values come in faster than a thread
adds them up. Nothing that goes wrong here reaches a request: it is said once, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final

from gateway.monitor import layout
from gateway.monitor.directory import Words
from gateway.profiles.live import Counted
from gateway.tensors import Array

log = logging.getLogger("penstock.worker")

# Some 1 ms of the event loop.
THREAD_VALUES: Final = 100_000
# Of arrays that wait for the thread.
MAX_WAITING_BYTES: Final = 64 << 20

Arrays = Sequence[Array | None]
Work = Callable[[], int]
"""Counts something, on the loop or on a thread; tells how many rows it could not count."""


class Slot:
    """One worker's slot of one block: who counts into it, one at a time.

    Two deployments of a version share it while one replaces the other.

    Attributes:
        words: of the slot.
        busy: a thread counts here; nobody else may until it is done.
    """

    def __init__(
        self, words: Words, pool: Executor, max_waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        """Takes the words; `pool` has threads for what is too much for the event loop."""
        self.words = words
        self._pool = pool
        self._max_waiting_bytes = max_waiting_bytes
        self._users = 0
        # while a thread counts
        self.busy = False
        self._waiting: deque[tuple[Work, int]] = deque()
        self._waiting_bytes = 0
        self._skipped = 0

    @property
    def used(self) -> bool:
        """Somebody counts here, or what they counted still waits for the thread."""
        return self._users > 0 or self.busy

    def use(self) -> None:
        """Another deployment counts here; control keeps the block as long as one does."""
        self._users += 1
        self.words[layout.SKETCH_HELD] = 1

    def leave(self) -> None:
        """It does no longer."""
        self._users -= 1
        self.words[layout.SKETCH_HELD] = int(self._users > 0)

    def line_up(self, work: Work, rows: int, size: int) -> None:
        """Has something counted on a thread, behind all that waits for it.

        Args:
            work: counts it.
            rows: that are skipped where there is no room in the line.
            size: bytes that wait with it.
        """
        if self.busy and self._waiting_bytes + size > self._max_waiting_bytes:
            self._skipped += rows
            return
        self._waiting.append((work, size))
        self._waiting_bytes += size
        if not self.busy:
            self.busy = True
            self._next()

    def _next(self) -> None:
        loop = asyncio.get_running_loop()
        work, size = self._waiting.popleft()
        self._pool.submit(lambda: loop.call_soon_threadsafe(self._done, work(), size))

    def _done(self, skipped: int, size: int) -> None:
        self._waiting_bytes -= size
        self._skipped += skipped
        if self._waiting:
            self._next()
            return
        self.busy = False
        self.words[layout.SKETCH_SKIPPED] += self._skipped
        self._skipped = 0


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


class Sketch(Taker):
    """What one deployment counts into one block."""

    def __init__(
        self,
        frames: Sequence[Counted],
        slot: Slot,
        tick: memoryview[int],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begins to count.

        Args:
            frames: what is counted, in the order of the block.
            slot: of the block.
            tick: one word, which control raises.
            wall: seconds since 1970.
        """
        super().__init__(slot, _light_rows(frames))
        self._frames = [(c.output, c.index, c.matrix, c.count, c.layout.words) for c in frames]
        self._tick = tick
        self._wall = wall

    def _add(self, inputs: Arrays, outputs: Arrays, rows: int) -> int:
        """What is wrong with one frame is its own."""
        words, tick = self._words, self._tick[0]
        now_ms = int(self._wall() * 1000.0)
        skipped = 0
        for output, index, matrix, count, plan in self._frames:
            try:
                array = (outputs if output else inputs)[index]
                if array is not None:
                    count(matrix(array), words, plan, tick, now_ms)
            except Exception:
                skipped = rows
                self._complain()
        return skipped


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
