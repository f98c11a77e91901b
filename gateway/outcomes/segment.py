"""One file of the ledger: records of one stream, first as they came, later by address.

Knows a file's layout and how it is mapped. Knows nothing of which files there are. Blocking: never
on an event loop.

    magic, records, sealed, first and last time, lowest and highest sequence, nothing: a word each
    records, of as many words

An open file has all its room from the start, so that a full disk is met here and not by a write
into mapped memory, which would kill. A record counts once the header says so: who is killed halfway
leaves none. Once it is full it is sealed: copied in the order of addresses, each once, into a file
that takes its place whole. Outcomes are written into the records, wherever they are.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from gateway.errors import StoreFailed
from gateway.outcomes import columns, named
from gateway.outcomes.columns import Columns, columns_in
from gateway.outcomes.mapped import Held, Mapped
from gateway.outcomes.named import Named
from kernels.ledger import (
    RECORD_WORDS,
    SEQUENCE,
    TIME_MS,
    Words,
    address_order,
    gather,
    rows_of,
)

CAPACITY: Final = 65_536
RECORD_BYTES: Final = RECORD_WORDS * 8
_MAGIC: Final = 0x3244454C4B545350  # "PSTKLED2", read as a little-endian integer
_H_MAGIC, _H_COUNT, _H_SEALED, _H_FIRST_MS, _H_LAST_MS, _H_LOW, _H_HIGH, _ = range(RECORD_WORDS)
_OPEN, _SEALED, _HALF = ".open", ".sealed", ".half"
_NAME = re.compile(r"([A-Za-z0-9-]+)\.([0-9]{6,})\.(?:open|sealed)", re.ASCII)
_NO_ORDER: Final = np.empty(0, np.int64)
# The kernel keeps what one call wrote together, and looks through all of it whenever a record in it
# is written over: after calls of megabytes that took ten times as long.
_PIECE: Final = 16 << 10


class Segment:
    """One file.

    Attributes:
        path: of the file.
        stream: whose records they are.
        number: of the file among those of its stream, ascending in time.
        sealed: it takes no more records.
        columns: numbers of metrics, in the order of its records.
        named: clients' ids of their requests, where these are kept.
    """

    def __init__(self, path: Path, held: Held | None = None, metrics: Iterable[int] = ()) -> None:
        """Looks at a file that is there.

        Args:
            path: of the file.
            held: lets go of sealed ones where others are used more.
            metrics: that have a column beside it.

        Raises:
            StoreFailed: it cannot be read, or is none of ours.
        """
        self.path = path
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise StoreFailed(f"{path}: not a file of the ledger")
        self.stream, self.number = name[1], int(name[2])
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = np.frombuffer(file.read(RECORD_BYTES), np.int64).copy()
        except (OSError, ValueError) as error:
            raise StoreFailed(f"{path}: {error}") from error
        if len(head) < RECORD_WORDS or head[_H_MAGIC] != _MAGIC:
            raise StoreFailed(f"{path}: not a file of the ledger")
        self._head = head
        # A file that was cut short holds what it still holds.
        self._room = size // RECORD_BYTES - 1
        head[_H_COUNT] = min(max(int(head[_H_COUNT]), 0), self._room)
        self.sealed = bool(head[_H_SEALED])
        self._held = held
        # What an open one holds is looked at each second.
        self._file = Mapped(path, (self._room + 1) * RECORD_WORDS, held if self.sealed else None)
        self.columns = Columns(path, self._room, metrics, held)
        self.named = Named(path, self.sealed, held)
        self._order = _NO_ORDER

    @classmethod
    def create(
        cls,
        folder: Path,
        stream: str,
        number: int,
        capacity: int = CAPACITY,
        held: Held | None = None,
    ) -> Segment:
        """A new, empty file with room for so many records.

        Raises:
            StoreFailed: there is no room on the disk.
        """
        path = folder / f"{stream}.{number:06d}{_OPEN}"
        head = np.zeros(RECORD_WORDS, np.int64)
        head[_H_MAGIC] = _MAGIC
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, (capacity + 1) * RECORD_BYTES)
                os.pwrite(descriptor, head.tobytes(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            raise StoreFailed(f"{path}: {error.strerror}") from error
        return cls(path, held)

    # ---- what it holds --------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Records."""
        return int(self._head[_H_COUNT])

    @property
    def room(self) -> int:
        """How many more records fit."""
        return 0 if self.sealed else self._room - self.count

    @property
    def nbytes(self) -> int:
        """That it takes on the disk."""
        return (self._room + 1) * RECORD_BYTES + self.columns.nbytes + self.named.nbytes

    @property
    def first_ms(self) -> int:
        """When its oldest record was answered; 0 where it has none."""
        return int(self._head[_H_FIRST_MS])

    @property
    def last_ms(self) -> int:
        """When its newest record was answered."""
        return int(self._head[_H_LAST_MS])

    @property
    def low(self) -> int:
        """The lowest sequence."""
        return int(self._head[_H_LOW])

    @property
    def high(self) -> int:
        """The highest sequence."""
        return int(self._head[_H_HIGH])

    def records(self) -> Words:
        """(records, RECORD_WORDS), mapped, to be read; `put` changes them.

        Raises:
            StoreFailed: the file cannot be mapped.
        """
        return self._words()[1 : 1 + self.count]

    def gather(self, chosen: Words, found: Words, file: int) -> None:
        """Copies out records that are looked for and here, as `kernels.ledger.gather` does.

        Raises:
            StoreFailed: the file cannot be mapped.
        """
        gather(self.records(), self._by_address(), chosen, found, file)

    def put(self, places: Words, records: Words) -> None:
        """Writes records over those that are there, as `Mapped.put` does.

        Raises:
            StoreFailed: the disk takes them no more; some may have been written.
        """
        self._file.put(places, records, RECORD_BYTES)

    # ---- what comes -----------------------------------------------------------------------------

    def append(self, records: Words) -> None:
        """Takes records, not more than there is room for.

        Raises:
            StoreFailed: the file cannot be mapped.
        """
        if not len(records):
            return
        words, head, first = self._words(), self._head, self.count + 1
        words[first : first + len(records)] = records
        for low, high, column in ((_H_FIRST_MS, _H_LAST_MS, TIME_MS), (_H_LOW, _H_HIGH, SEQUENCE)):
            least, most = records[:, column].min(), records[:, column].max()
            head[low] = min(head[low], least) if self.count else least
            head[high] = max(head[high], most) if self.count else most
        words[0, _H_FIRST_MS:] = head[_H_FIRST_MS:]
        # Last of all: until it says so, they are not there.
        head[_H_COUNT] += len(records)
        words[0, _H_COUNT] = head[_H_COUNT]
        self._order = _NO_ORDER

    def seal(self) -> Segment:
        """The same records by address, in a file that has taken this one's place.

        Raises:
            StoreFailed: it cannot be written; this one is as it was.
        """
        order = address_order(self.records())
        records = self.records()[order]
        addresses = np.stack((records[:, SEQUENCE], rows_of(records)), axis=1)
        again = np.zeros(len(records), np.bool_)
        again[1:] = (addresses[1:] == addresses[:-1]).all(axis=1)
        records = records[~again]
        head = self._head.copy()
        head[_H_COUNT], head[_H_SEALED] = len(records), 1
        target, half = self.path.with_suffix(_SEALED), self.path.with_suffix(_HALF)
        try:
            with half.open("wb", buffering=_PIECE) as file:
                content = memoryview(head.tobytes() + records.tobytes())
                for start in range(0, len(content), _PIECE):
                    file.write(content[start : start + _PIECE])
                file.flush()
                os.fsync(file.fileno())
            self.columns.copy(target, order[~again])
            self.named.copy(target)
            half.rename(target)
            self.path.unlink()
            self.columns.remove()
            self.named.remove()
        except OSError as error:
            raise StoreFailed(f"{target}: {error.strerror}") from error
        self._file.let_go()
        return Segment(target, self._held, self.columns)

    def remove(self) -> None:
        """Forgets the file and what is in it.

        Raises:
            StoreFailed: it cannot be removed.
        """
        self._file.let_go()
        try:
            self.path.unlink(missing_ok=True)
            self.columns.remove()
            self.named.remove()
        except OSError as error:
            raise StoreFailed(f"{self.path}: {error.strerror}") from error

    # ---- memory ---------------------------------------------------------------------------------

    def _words(self) -> Words:
        """(1 + room, RECORD_WORDS)."""
        return self._file.words().reshape(-1, RECORD_WORDS)

    def _by_address(self) -> Words:
        if self.sealed:
            return _NO_ORDER
        if len(self._order) != self.count:
            self._order = address_order(self.records())
        return self._order


def segments_in(folder: Path, held: Held | None = None) -> tuple[list[Segment], list[StoreFailed]]:
    """All files of a folder, by stream and number, and what is wrong with those that are none.

    Changes nothing, whoever is at work there.

    Raises:
        StoreFailed: the folder cannot be read.
    """
    found: list[Segment] = []
    faults: list[StoreFailed] = []
    try:
        paths = sorted((*folder.glob(f"*{_OPEN}"), *folder.glob(f"*{_SEALED}")))
        metrics = columns_in(folder)
    except OSError as error:
        raise StoreFailed(f"{folder}: {error.strerror}") from error
    for path in paths:
        try:
            found.append(Segment(path, held, metrics.get(path.name, ())))
        except StoreFailed as error:
            faults.append(error)
    return found, faults


def clear_up(folder: Path) -> None:
    """Removes what a killed process left: files that it was writing, of which originals are there.

    Raises:
        StoreFailed: the folder cannot be read or written.
    """
    try:
        for path in folder.glob(f"*{_HALF}"):
            path.unlink()
        for path in folder.glob(f"*{_OPEN}"):
            if path.with_suffix(_SEALED).exists():
                path.unlink()
        columns.clear_up(folder)
        named.clear_up(folder)
    except OSError as error:
        raise StoreFailed(f"{folder}: {error.strerror}") from error
