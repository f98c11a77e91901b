"""Which requests of a file of the ledger a client's own id may mean.

Knows files of entries (`kernels.named`) beside records. Knows nothing of ids as text, or of
records. Blocking: never on an event loop.

Of an open file entries lie as they came, of a sealed one by digest. They go with their file. Two
ids of one digest are taken for one: that two of ten million are happens to one ledger of 400,000.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from gateway.errors import StoreFailed
from gateway.outcomes.mapped import Held, Mapped
from kernels.ledger import Words
from kernels.named import DIGEST, ENTRY_WORDS, SEQUENCE, by_digest

_SUFFIX: Final = ".ids"
_HALF: Final = ".half"
ENTRY_BYTES: Final = ENTRY_WORDS * 8
_MAX_TAIL: Final = 4096
NO_ENTRIES: Final = np.empty((0, ENTRY_WORDS), np.int64)


class Named:
    """Of one file of records."""

    def __init__(self, path: Path, sealed: bool, held: Held | None = None) -> None:
        """Looks at what is there.

        Args:
            path: of the records.
            sealed: whether they are.
            held: lets go of sealed ones where others are used more.

        Raises:
            StoreFailed: it cannot be read.
        """
        self._path, self._held = path.with_name(path.name + _SUFFIX), held
        try:
            # Whoever was killed while it added some, or lost the end of it, left whole ones before.
            self._count = self._path.stat().st_size // ENTRY_BYTES if self._path.exists() else 0
            came = NO_ENTRIES if sealed else self._read()
        except OSError as error:
            raise StoreFailed(f"{self._path}: {error.strerror}") from error
        self._file = Mapped(self._path, self._count * ENTRY_WORDS, held) if sealed else None
        # Of an open one, by digest: most of them, and those that came since that was put in order.
        self._base, self._tail = by_digest(came), NO_ENTRIES

    @property
    def nbytes(self) -> int:
        """That they take on the disk."""
        return self._count * ENTRY_BYTES

    def parts(self) -> tuple[Words, ...]:
        """All entries, (entries, ENTRY_WORDS) each, by digest each.

        Raises:
            StoreFailed: the file cannot be mapped.
        """
        if not self._count:
            return ()
        if self._file is not None:
            return (self._file.words().reshape(-1, ENTRY_WORDS),)
        return self._base, self._tail

    def add(self, entries: Words) -> None:
        """Takes entries, (n, ENTRY_WORDS), into an open file.

        Raises:
            StoreFailed: there is no room on the disk; none was taken.
        """
        if not len(entries):
            return
        try:
            with self._path.open("r+b" if self._path.exists() else "wb") as file:
                file.seek(self.nbytes)
                file.write(entries.tobytes())
        except OSError as error:
            raise StoreFailed(f"{self._path}: {error.strerror}") from error
        self._count += len(entries)
        self._tail = by_digest(np.concatenate((self._tail, entries)))
        if len(self._tail) > _MAX_TAIL:
            self._base = by_digest(np.concatenate((self._base, self._tail)))
            self._tail = NO_ENTRIES

    def lacks(self, entries: Words) -> Words:
        """Those of (n, ENTRY_WORDS) that are not here.

        Raises:
            StoreFailed: the file cannot be mapped.
        """
        if not self._count or not len(entries):
            return entries
        there = {tuple(one) for part in self.parts() for one in part.tolist()}
        return entries[[tuple(one) not in there for one in entries.tolist()]]

    def of(self, sequences: Words) -> Words:
        """(entries,) the digests that some requests have.

        Raises:
            StoreFailed: the file cannot be mapped.
        """
        entries = np.concatenate(self.parts()) if self._count else NO_ENTRIES
        found: Words = entries[np.isin(entries[:, SEQUENCE], sequences), DIGEST]
        return found

    def drop(self, sequences: Words) -> None:
        """Forgets the entries of some requests.

        Raises:
            StoreFailed: the file cannot be written; all are there still.
        """
        entries = np.concatenate(self.parts()) if self._count else NO_ENTRIES
        gone = np.isin(entries[:, SEQUENCE], sequences)
        if not gone.any():
            return
        kept = by_digest(entries[~gone])
        half = self._path.with_name(self._path.name + _HALF)
        try:
            half.write_bytes(kept.tobytes())
            half.rename(self._path)
        except OSError as error:
            raise StoreFailed(f"{self._path}: {error.strerror}") from error
        self._count = len(kept)
        if self._file is not None:
            self._file.let_go()
            self._file = Mapped(self._path, self._count * ENTRY_WORDS, self._held)
        else:
            self._base, self._tail = kept, NO_ENTRIES

    def copy(self, path: Path) -> None:
        """Writes them for a sealed file of records.

        Raises:
            OSError: there is no room on the disk.
        """
        if self._count:
            target = path.with_name(path.name + _SUFFIX)
            half = target.with_name(target.name + _HALF)
            # Whoever was killed may have written some of them twice.
            half.write_bytes(np.unique(np.concatenate(self.parts()), axis=0).tobytes())
            half.rename(target)

    def remove(self) -> None:
        """Forgets them.

        Raises:
            OSError: the file cannot be removed.
        """
        if self._file is not None:
            self._file.let_go()
        self._path.unlink(missing_ok=True)

    def _read(self) -> Words:
        if not self._count:
            return NO_ENTRIES
        return np.fromfile(self._path, np.int64, self._count * ENTRY_WORDS).reshape(-1, ENTRY_WORDS)


def clear_up(folder: Path) -> None:
    """Removes entries whose records are gone.

    Raises:
        OSError: the folder cannot be written.
    """
    for path in folder.glob(f"*{_SUFFIX}"):
        if not path.with_suffix("").exists():
            path.unlink()
