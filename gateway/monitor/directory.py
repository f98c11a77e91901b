"""The arena's table of blocks: which kind and name lies where, and where the next one fits.

Knows entries and sizes. Knows nothing of the mapping that holds them or of what blocks count.

One process writes (control; the supervisor before it forks), any process reads. An entry becomes
valid by its state word, written last, and carries a checksum over the rest: a reader never believes
a half-written one. Nothing is kept beside the table, so a new writer knows all that the one before
it knew, wherever that one was killed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from gateway.errors import ArenaFull, GatewayError

Words = np.ndarray[Any, np.dtype[np.int64]]

PAGE: Final = 4096
MAX_BLOCKS: Final = 8192
MAX_NAME_BYTES: Final = 896

_STATE, _KIND, _OFFSET, _WORDS, _KEY, _CHECK, _NAME_BYTES = range(7)
_NAME: Final = 16
_ENTRY_WORDS: Final = _NAME + MAX_NAME_BYTES // 8
_EMPTY, _USED, _FREED = range(3)

BYTES: Final = MAX_BLOCKS * _ENTRY_WORDS * 8


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of the directory.

    Attributes:
        kind: `layout.MODEL`, `layout.WORKER`, ...
        name: unique within its kind.
        offset: where it begins; what plans and calls name it by.
        words: int64 words of one slot.
    """

    kind: int
    name: str
    offset: int
    words: int


class Directory:
    """A view of the table.

    Args:
        words: the table, of `BYTES` bytes.
        used: one word, how many entries were ever written.
        slots: per block.
        first: offset of the first block.
        end: offset behind the last byte that a block may take.
    """

    def __init__(
        self, words: Words, used: memoryview[int], slots: int, first: int, end: int
    ) -> None:
        self._entries = words.reshape(-1, _ENTRY_WORDS)
        self._used = used
        self._slots = slots
        self._first = first
        self._end = end

    def blocks(self) -> Iterator[Block]:
        """What the table holds, in the order of its entries."""
        entries = self._entries[: self._used[0]]
        for place in np.flatnonzero(entries[:, _STATE] == _USED):
            block = _read(entries[place])
            if block is not None:
                yield block

    def find(self, kind: int, name: str) -> int | None:
        """The offset of a block, or none."""
        entries = self._entries[: self._used[0]]
        hits = (entries[:, _KEY] == _key(kind, name)) & (entries[:, _STATE] == _USED)
        for place in np.flatnonzero(hits):
            block = _read(entries[place])
            if block is not None and (block.kind, block.name) == (kind, name):
                return block.offset
        return None

    def words_of(self, offset: int) -> int:
        """Words of one slot of the block at an offset.

        Raises:
            ValueError: there is no block there.
        """
        return int(self._entries[self._at(offset), _WORDS])

    def room(self, name: str, words: int) -> tuple[int, int]:
        """An entry and an offset for a new block: a freed one's of its size, else behind the last.

        Raises:
            ArenaFull: no entry or no memory is left.
        """
        used = self._used[0]
        entries = self._entries[:used]
        same = np.flatnonzero((entries[:, _STATE] == _FREED) & (entries[:, _WORDS] == words))
        if len(same):
            return int(same[0]), int(entries[same[0], _OFFSET])
        if used == len(self._entries):
            raise ArenaFull(f"arena: block {name!r}: all {used} entries of the directory are taken")
        offset = self._first
        if used:
            offset = int(entries[-1, _OFFSET]) + stride(int(entries[-1, _WORDS])) * self._slots
        need = stride(words) * self._slots
        if offset + need > self._end:
            left = self._end - offset
            raise ArenaFull(f"arena: block {name!r}: needs {need} bytes, {left} are left")
        return used, offset

    def grows_within(self, kind: int, words: int, most: int) -> bool:
        """Whether a new block of a kind finds a freed place, or adds up to at most so many bytes.

        What counts is all that blocks of this kind ever took and nobody else has taken since.
        """
        entries = self._entries[: self._used[0]]
        if ((entries[:, _STATE] == _FREED) & (entries[:, _WORDS] == words)).any():
            return True
        taken = entries[entries[:, _KIND] == kind, _WORDS].tolist()
        return sum(map(stride, [*taken, words])) * self._slots <= most

    def enter(self, place: int, block: Block) -> None:
        """Writes an entry; until its last word is written, nobody sees it.

        Raises:
            GatewayError: the name is too long.
        """
        name = block.name.encode()
        if len(name) > MAX_NAME_BYTES:
            raise GatewayError(
                f"arena: block name: expected at most {MAX_NAME_BYTES} bytes, got {len(name)}"
            )
        entry = self._entries[place]
        # A freed entry has this offset and size already, so that dying here loses no memory.
        entry[_OFFSET], entry[_WORDS] = block.offset, block.words
        entry[_KIND], entry[_KEY] = block.kind, _key(block.kind, block.name)
        entry[_NAME_BYTES] = len(name)
        entry[_NAME:].view(np.uint8)[: len(name)] = np.frombuffer(name, np.uint8)
        entry[_CHECK] = _check(block, name)
        entry[_STATE] = _USED
        self._used[0] = max(self._used[0], place + 1)

    def forget(self, offset: int) -> None:
        """Frees the entry of a block; its place waits for one of equal size.

        Raises:
            ValueError: there is no block there.
        """
        self._entries[self._at(offset), _STATE] = _FREED

    def _at(self, offset: int) -> int:
        entries = self._entries[: self._used[0]]
        hits = np.flatnonzero((entries[:, _OFFSET] == offset) & (entries[:, _STATE] == _USED))
        if len(hits) != 1:
            raise ValueError(f"arena: expected the offset of a block, got {offset}")
        return int(hits[0])


def stride(words: int) -> int:
    """Bytes from one slot of a block to the next: whole pages, so that writers share no line."""
    return pages(words * 8)


def pages(length: int) -> int:
    """Bytes, rounded up to whole pages."""
    return -(-length // PAGE) * PAGE


def _key(kind: int, name: str) -> int:
    digest = blake2b(name.encode(), digest_size=8, key=b"%d" % kind).digest()
    return int.from_bytes(digest, "little", signed=True)


def _check(block: Block, name: bytes) -> int:
    return zlib.crc32(b"%d %d %d %s" % (block.kind, block.offset, block.words, name))


def _read(entry: Words) -> Block | None:
    """The block that an entry describes; none while it is being written."""
    frozen = entry.tobytes()
    head = np.frombuffer(frozen, np.int64, _NAME)
    name = frozen[_NAME * 8 :][: int(head[_NAME_BYTES])]
    try:
        block = Block(int(head[_KIND]), name.decode(), int(head[_OFFSET]), int(head[_WORDS]))
    except UnicodeDecodeError:
        return None
    return block if head[_CHECK] == _check(block, name) else None
