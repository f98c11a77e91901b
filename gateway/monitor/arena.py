"""The shared memory that every process counts into and reads from.

Knows offsets, slots and who may write what. Knows nothing of what the words of a block mean
(`layout` does) or of how they are reported.

    header      one page: magic, sizes, boot id
    workers     one row per worker slot and, last, one of the control process
    directory   kind and name of a block -> its offset and words per slot
    blocks      one slot per worker

The file is sparse: what nobody touches costs nothing, so it is reserved generously at start and
inherited over fork. There are no locks. Every word has one writer, is 8-byte aligned and so never
seen half-written; readers add slots up. The supervisor makes the arena; afterwards control alone
allocates and frees blocks.
"""

from __future__ import annotations

import mmap
import os
import secrets
import tempfile
from collections.abc import Iterator
from typing import Final

import numpy as np

from gateway.errors import GatewayError
from gateway.monitor import directory, layout
from gateway.monitor.directory import PAGE, Block, Directory, Words, pages, stride
from kernels import budgets

DEFAULT_BYTES: Final = 1 << 30
_MAGIC: Final = 0x4B434F54534E4550  # "PENSTOCK", read as a little-endian integer

# Words of the header.
_H_MAGIC, _H_LAYOUT, _H_WORKERS, _H_BYTES = range(4)
_H_USED, _H_BOOT, _H_WORKER_BLOCK = range(8, 11)

# Words of a worker's row: first those that the supervisor writes, then, on a cache line of their
# own, those of the worker. The control process has a row of the same shape.
PID: Final = 0
EPOCH: Final = 1  # grows with every process that takes the slot
RESTARTS: Final = 2
EXIT_STATUS: Final = 3  # of the process before, as os.wait gives it
BORN_NS: Final = 4  # monotonic
STATE: Final = 8
HEARTBEAT_NS: Final = 9  # monotonic
PLAN: Final = 10  # number of the newest plan that it serves
READY_NS: Final = 11  # from birth to ready
CONNECTIONS: Final = 12  # open now: who has the fewest gets the next
TICK: Final = 13  # of control's row: raised whenever it reads what workers have counted
RUNNING: Final = 16  # offsets of the models being run, each in whatever place is free
RUNNING_PLACES: Final = 48
_ROW_WORDS: Final = 64

# What STATE says, in the order in which a worker passes through it.
DEAD: Final = 0
STARTING: Final = 1
READY: Final = 2
DRAINING: Final = 3
STATES: Final = ("dead", "starting", "ready", "draining")


class Arena:
    """The mapping, as one process sees it."""

    def __init__(self, fd: int) -> None:
        """Maps an arena that `create` made.

        Raises:
            GatewayError: the file is no arena, or one of another layout.
        """
        size = os.fstat(fd).st_size
        if size < PAGE:
            raise GatewayError(f"arena: expected at least {PAGE} bytes, got {size}")
        self.fd = fd
        self._map = mmap.mmap(fd, size)
        self._words = memoryview(self._map).cast("q")
        header = self._words[: PAGE // 8]
        found = (header[_H_MAGIC], header[_H_LAYOUT], header[_H_BYTES])
        if found != (_MAGIC, layout.VERSION, size):
            wanted = (_MAGIC, layout.VERSION, size)
            raise GatewayError(f"arena: magic, layout and bytes: expected {wanted}, got {found}")
        self.workers = header[_H_WORKERS]
        self._header = header
        first = _first_block(self.workers)
        table = np.frombuffer(
            self._map, np.int64, directory.BYTES // 8, PAGE + _rows_bytes(self.workers)
        )
        used = header[_H_USED : _H_USED + 1]
        self._directory = Directory(table, used, self.workers, first, size)

    @classmethod
    def create(cls, workers: int, size_bytes: int = DEFAULT_BYTES) -> Arena:
        """Reserves an arena for so many worker slots; called once, before anything is forked.

        Args:
            workers: slots; fixed from here on.
            size_bytes: of address space. Memory is taken as pages are touched.

        Raises:
            GatewayError: no workers, or not even room for the directory.
        """
        first = (layout.WORKER_WORDS, layout.KEYS_WORDS)
        least = _first_block(workers) + sum(map(stride, first)) * workers
        if workers < 1 or size_bytes < least:
            raise GatewayError(
                f"arena: expected at least one worker and {least} bytes, "
                f"got {workers} and {size_bytes}"
            )
        fd = _anonymous_file()
        os.ftruncate(fd, pages(size_bytes))
        with mmap.mmap(fd, PAGE) as page, memoryview(page) as view, view.cast("q") as header:
            header[_H_LAYOUT] = layout.VERSION
            header[_H_WORKERS] = workers
            header[_H_BYTES] = pages(size_bytes)
            header[_H_BOOT] = secrets.randbits(63)
            header[_H_MAGIC] = _MAGIC
        arena = cls(fd)
        arena._header[_H_WORKER_BLOCK] = arena.allocate(layout.WORKER, "worker")
        arena.allocate(layout.KEYS, "keys")
        return arena

    @property
    def boot_id(self) -> int:
        """Random, chosen at creation: the counts of another boot are another series."""
        return self._header[_H_BOOT]

    @property
    def size_bytes(self) -> int:
        """Of the whole mapping."""
        return self._header[_H_BYTES]

    @property
    def worker_block(self) -> int:
        """Offset of the block that counts what is no model's."""
        return self._header[_H_WORKER_BLOCK]

    # -- rows --------------------------------------------------------------------------------------

    def row(self, worker: int) -> memoryview[int]:
        """The row of a worker: `row(0)[HEARTBEAT_NS] = now`."""
        self._check_worker(worker)
        return self._row(worker)

    @property
    def control_row(self) -> memoryview[int]:
        """The row of the control process."""
        return self._row(self.workers)

    def running(self, worker: int) -> list[int]:
        """Offsets of the models that a worker is running, or was when it died."""
        row = self.row(worker)
        return sorted(set(row[RUNNING : RUNNING + RUNNING_PLACES]) - {0})

    def claim(self, worker: int, pid: int, epoch: int, now_ns: int) -> None:
        """Gives a slot to a new process: counts stay, gauges start at zero, state is STARTING."""
        self._clear_gauges(worker)
        row = self.row(worker)
        row[PID], row[EPOCH], row[BORN_NS] = pid, epoch, now_ns
        row[HEARTBEAT_NS] = now_ns
        row[STATE] = STARTING

    def bury(self, worker: int, exit_status: int) -> None:
        """Takes a slot back from a process that ended: counts stay, gauges go to zero.

        Ask `running` first: what the process was running is forgotten here.
        """
        self._clear_gauges(worker)
        row = self.row(worker)
        row[PID], row[EXIT_STATUS] = 0, exit_status

    def _row(self, number: int) -> memoryview[int]:
        start = PAGE // 8 + number * _ROW_WORDS
        return self._words[start : start + _ROW_WORDS]

    def _check_worker(self, worker: int) -> None:
        if not 0 <= worker < self.workers:
            raise ValueError(f"arena: expected a worker of 0 to {self.workers - 1}, got {worker}")

    def _clear_gauges(self, worker: int) -> None:
        row = self.row(worker)
        for word in range(STATE, _ROW_WORDS):
            row[word] = 0
        for block in self.blocks():
            # By the block itself: control may forget it between two looks into the directory.
            first, end = layout.GAUGES.get(block.kind, (0, 0))
            start = block.offset + worker * stride(block.words)
            if first * 8 % PAGE == 0 and (end - first) * 8 % PAGE == 0:
                self._forget(start + first * 8, (end - first) * 8)
            else:
                np.frombuffer(self._map, np.int64, block.words, start)[first:end] = 0

    # -- blocks ------------------------------------------------------------------------------------

    def slot(self, offset: int, worker: int) -> memoryview[int]:
        """A worker's words of a block, for its own counting: `slot[layout.OK] += 1`."""
        start, words = self._place(offset, worker)
        return self._words[start // 8 : start // 8 + words]

    def array(self, offset: int, worker: int) -> Words:
        """The same words as an array, for kernels and readers."""
        start, words = self._place(offset, worker)
        return np.frombuffer(self._map, np.int64, words, start)

    def slots(self, block: Block) -> Words:
        """All slots of a block, (workers, words), nothing copied; zeros once it is freed."""
        size = self.workers * stride(block.words) // 8
        whole = np.frombuffer(self._map, np.int64, size, block.offset)
        return whole.reshape(self.workers, -1)[:, : block.words]

    def whole(self, offset: int) -> Words:
        """All words of a block as one array, one slot behind the other, each filled to a page."""
        size = self.workers * stride(self._directory.words_of(offset)) // 8
        return np.frombuffer(self._map, np.int64, size, offset)

    def blocks(self, kind: int | None = None) -> Iterator[Block]:
        """All blocks, or those of a kind; any process may look."""
        return (block for block in self._directory.blocks() if kind in (None, block.kind))

    def find(self, kind: int, name: str) -> int | None:
        """The offset of a block, or none."""
        return self._directory.find(kind, name)

    def allocate(self, kind: int, name: str, words: int | None = None) -> int:
        """The offset of a zeroed block, or of the one that has this kind and name already.

        Control's alone (the supervisor's before it forks).

        Args:
            kind: what the words mean.
            name: up to `directory.MAX_NAME_BYTES` of UTF-8.
            words: of one slot, where `layout.WORDS` does not say.

        Raises:
            ArenaFull: no entry or no memory is left.
            GatewayError: the name is too long.
        """
        there = self._directory.find(kind, name)
        if there is not None:
            return there
        if words is None:
            words = layout.WORDS[kind]
        place, offset = self._directory.room(name, words)
        self._zero(offset, words)  # a late writer may have touched a freed place
        self._directory.enter(place, Block(kind, name, offset, words))
        return offset

    def grows_within(self, kind: int, words: int, most: int) -> bool:
        """Whether one more block of a kind keeps within `most` bytes all that its kind ever took.

        A place that was freed is taken again by a block of its size alone, so it counts.
        """
        return self._directory.grows_within(kind, words, most)

    def free(self, offset: int) -> None:
        """Forgets a block and gives its memory back. Control's alone, once no worker writes to it.

        Raises:
            ValueError: there is no block at this offset.
        """
        words = self._directory.words_of(offset)
        self._directory.forget(offset)
        self._zero(offset, words)

    def close(self) -> None:
        """Closes the file. The mapping goes when the last view of it does."""
        os.close(self.fd)

    def _place(self, offset: int, worker: int) -> tuple[int, int]:
        self._check_worker(worker)
        words = self._directory.words_of(offset)
        return offset + worker * stride(words), words

    def _zero(self, offset: int, words: int) -> None:
        self._forget(offset, stride(words) * self.workers)

    def _forget(self, offset: int, length: int) -> None:
        """Zeroes whole pages."""
        if not length:
            return
        try:
            self._map.madvise(mmap.MADV_REMOVE, offset, length)  # reads as zeros, costs no memory
        except (AttributeError, OSError):  # not Linux, or a file that cannot have holes
            np.frombuffer(self._map, np.int64, length // 8, offset)[:] = 0


def size_for(workers: int, models: int) -> int:
    """Bytes to reserve so that as many models fit twice: during an update both versions count."""
    first = stride(layout.WORKER_WORDS) + stride(layout.KEYS_WORDS) + stride(layout.LIMITS_WORDS)
    rows = stride(layout.MAX_LIMITED * budgets.ROW_WORDS)
    each = first + 2 * models * stride(layout.MODEL_WORDS)
    return max(DEFAULT_BYTES, _first_block(workers) + rows + pages(workers * each))


def _rows_bytes(workers: int) -> int:
    return pages((workers + 1) * _ROW_WORDS * 8)


def _first_block(workers: int) -> int:
    return PAGE + _rows_bytes(workers) + pages(directory.BYTES)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("penstock-arena")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
