"""A ring of bytes that one worker fills and control empties, without a lock.

Knows words of one slot. Knows nothing of what the frames in it hold.

A frame lies whole: where it does not fit before the end, the rest is left empty and it lies at the
beginning. It counts once WRITTEN says so, so that who is killed halfway leaves none. A writer never
waits and never writes over what was not taken: what finds no room is dropped, and counted.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from gateway.capture.frames import rows_of, size_of

Words = np.ndarray[Any, np.dtype[np.int64]]

# Words of a slot: the writer's, those that every block has, and the reader's. The writer's and the
# reader's are bytes ever written and ever taken.
WRITTEN, ROWS, DROPPED = 0, 1, 2
TAKEN = 6
# Of all slots the first one's alone: rows that control took, that came into files, and that were
# lost with a control that was killed in between.
ROWS_TAKEN, ROWS_KEPT, ROWS_LOST = 7, 8, 9
ALARM: Final = 10  # an alarm of the model fires
HEAD_WORDS: Final = 16
_EMPTY: Final = bytes(8)


class Taken(NamedTuple):
    """What a reader took.

    Attributes:
        frames: oldest first.
        rows: of all of them.
        end: what TAKEN is to be.
    """

    frames: list[bytes]
    rows: int
    end: int


def words_for(size: int) -> int:
    """Words of a slot with room for so many bytes."""
    return HEAD_WORDS + -(-size // 8)


class Ring:
    """One slot, as the worker that writes it and as control, which reads it, see it."""

    def __init__(self, words: Words) -> None:
        """Takes the slot's words."""
        self.words = words
        self._bytes = words[HEAD_WORDS:].data.cast("B")
        self.capacity = len(self._bytes)

    def put(self, frame: bytes, rows: int) -> bool:
        """Writes a frame of so many rows; False, and they are counted, where there is no room."""
        words, size = self.words, len(frame)
        written = int(words[WRITTEN])
        place = written % self.capacity
        skipped = self.capacity - place if place + size > self.capacity else 0
        if written + skipped + size - int(words[TAKEN]) > self.capacity:
            words[DROPPED] += rows
            return False
        if skipped:
            self._bytes[place : place + 8] = _EMPTY
            place = 0
        self._bytes[place : place + size] = frame
        words[WRITTEN] = written + skipped + size
        words[ROWS] += rows
        return True

    def read(self) -> Taken:
        """What was written and not taken, copied. Changes nothing: see `done`."""
        at, end = int(self.words[TAKEN]), int(self.words[WRITTEN])
        frames: list[bytes] = []
        while at < end:
            place = at % self.capacity
            size = size_of(self._bytes[place:])
            if size:
                frames.append(self._bytes[place : place + size].tobytes())
            at += size or self.capacity - place
        return Taken(frames, sum(rows_of(frame) for frame in frames), end)

    def done(self, taken: Taken) -> None:
        """What was read is kept elsewhere: its room is free."""
        self.words[TAKEN] = taken.end
