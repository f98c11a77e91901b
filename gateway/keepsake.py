"""What a process leaves to its successor: bytes in memory that the children of one parent inherit.

Knows two unnamed files that are written in turn. Knows nothing of what the bytes say. No disk is
part of it: a full one or a lost folder takes nothing away.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import NamedTuple

# Number of the writing, length and SHA-256 of what follows.
_HEAD = struct.Struct("<QQ32s")


class _Side(NamedTuple):
    """One of the two files, as it is: number 0 where it holds nothing whole."""

    fd: int
    number: int
    data: bytes | None


class Keepsake:
    """One writer at a time. What was kept is kept until something newer is there as a whole."""

    def __init__(self) -> None:
        """Keeps nothing yet; made before the fork that is to inherit it."""
        self.fds = [os.memfd_create("penstock-keepsake") for _ in range(2)]

    def write(self, data: bytes) -> None:
        """Keeps this instead.

        Raises:
            OSError: there is no memory for it; what was kept before is still there.
        """
        older, newer = self._sides()
        os.ftruncate(older.fd, 0)
        place, rest = _HEAD.size, memoryview(data)
        while rest:  # a write may take less than it is given
            taken = os.pwrite(older.fd, rest, place)
            place, rest = place + taken, rest[taken:]
        # Last: a writer that was killed before has changed nothing.
        head = _HEAD.pack(newer.number + 1, len(data), hashlib.sha256(data).digest())
        os.pwrite(older.fd, head, 0)

    def read(self) -> bytes | None:
        """What was kept last; None where nothing was."""
        _, newer = self._sides()
        return newer.data

    def close(self) -> None:
        """Lets go of it in this process."""
        for fd in self.fds:
            os.close(fd)

    def _sides(self) -> tuple[_Side, _Side]:
        older, newer = sorted(map(_side, self.fds), key=lambda side: side.number)
        return older, newer


def _side(fd: int) -> _Side:
    size = os.fstat(fd).st_size
    whole = os.pread(fd, size, 0)
    if len(whole) >= _HEAD.size:
        number, length, digest = _HEAD.unpack_from(whole)
        data = whole[_HEAD.size :]
        if len(data) == length and hashlib.sha256(data).digest() == digest:
            return _Side(fd, number, data)
    return _Side(fd, 0, None)
