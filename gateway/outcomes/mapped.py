"""Files that are read as memory and written by calls.

Knows mapping, and how many files stay mapped. Knows nothing of what is in them. Blocking: never on
an event loop.

Nothing is written through a mapping where the file may have no room for it yet: a disk that takes
no more would kill whoever writes, where a call says so.
"""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.errors import StoreFailed

Words = np.ndarray[Any, np.dtype[np.int64]]
Items = np.ndarray[Any, np.dtype[Any]]

# Ten million records, and what joins to any of them in any order looks at.
MAX_BYTES: Final = 640 << 20
# Each keeps a descriptor open.
MAX_FILES: Final = 256
_WORD: Final = 8


class Held:
    """The files that stay mapped, those that were used last."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        """Holds none."""
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._files: OrderedDict[Mapped, None] = OrderedDict()
        self.nbytes = 0
        """Of all that are mapped."""

    def use(self, file: Mapped) -> None:
        """This one is used; others may have to go."""
        if file in self._files:
            self._files.move_to_end(file)
            return
        self._files[file] = None
        self.nbytes += file.nbytes
        while len(self._files) > 1 and (
            self.nbytes > self._max_bytes or len(self._files) > self._max_files
        ):
            next(iter(self._files)).let_go()

    def drop(self, file: Mapped) -> None:
        """This one is mapped no more."""
        if file in self._files:
            del self._files[file]
            self.nbytes -= file.nbytes


class Mapped:
    """A file of so many words.

    Attributes:
        path: of the file.
        nbytes: that are mapped.
    """

    def __init__(self, path: Path, words: int, held: Held | None = None) -> None:
        """Maps nothing yet.

        Args:
            path: of the file.
            words: of 8 bytes.
            held: lets go of it where others are used more; None: it stays mapped.
        """
        self.path = path
        self.nbytes = words * _WORD
        self._held = held
        self._words: Words | None = None

    def words(self) -> Words:
        """(words,), for as long as somebody has them.

        Raises:
            StoreFailed: the file cannot be mapped.
        """
        if self._words is None:
            try:
                with self.path.open("r+b") as file:
                    self._words = np.frombuffer(mmap.mmap(file.fileno(), self.nbytes), np.int64)
            except (OSError, ValueError) as error:
                raise StoreFailed(f"{self.path}: {error}") from error
        if self._held is not None:
            self._held.use(self)
        return self._words

    def put(self, places: Words, items: Items, head: int = 0) -> None:
        """Writes items over those that are there, neighbours by one call.

        Args:
            places: (n,) of them, ascending, one at least.
            items: (n, ...) contiguous.
            head: bytes before the first item.

        Raises:
            StoreFailed: the disk takes them no more; some may have been written.
        """
        width, data = items.nbytes // len(items), items.data.cast("B")
        firsts = np.flatnonzero(np.diff(places, prepend=-2) != 1).tolist()
        ends = [*firsts[1:], len(places)]
        starts = (places[firsts] * width + head).tolist()
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                for first, end, start in zip(firsts, ends, starts, strict=True):
                    os.pwrite(descriptor, data[first * width : end * width], start)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreFailed(f"{self.path}: {error.strerror}") from error

    def let_go(self) -> None:
        """Maps it no more, once nobody looks at it."""
        self._words = None
        if self._held is not None:
            self._held.drop(self)
