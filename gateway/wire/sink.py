"""Writes whole lines to a file or a pipe, and never waits: what finds no room is dropped.

Knows descriptors. Knows nothing of what the lines say.

Several workers write to one pipe or file. Linux keeps a write of up to PIPE_BUF bytes to a pipe,
and one of any size to a file opened for appending, in one piece, so their lines never mix.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

STDERR = 2
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
# Clients' addresses are nobody else's business.
_MODE = 0o640


class Sink:
    """One descriptor, and lines on their way to it."""

    def __init__(
        self, path: Path | None, dropped: Callable[[int], None], stream: int = STDERR
    ) -> None:
        """Nothing is opened yet, and until `open` has been called everything is dropped.

        Args:
            path: a file or a named pipe; None: `stream`.
            dropped: is told how many lines found no room.
            stream: a descriptor that is shared with others.
        """
        self._path = path
        self._stream = stream
        self._dropped = dropped
        self._fd = -1
        self._is_file = self._may_wait = self._torn = False

    def open(self) -> None:
        """Opens, or opens again: a file that was moved away is begun anew.

        Raises:
            OSError: it cannot be opened; what was open stays so.
        """
        fd, may_wait = self._open()
        self.close()
        self._fd, self._may_wait, self._torn = fd, may_wait, False
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)

    def close(self) -> None:
        """Lines that come later are dropped."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def write(self, lines: Sequence[bytes]) -> None:
        """Writes lines, each with its line feed at the end."""
        for piece in (b"".join(lines),) if self._is_file else _pieces(lines):
            written = self._put(piece)
            if written < len(piece):
                self._dropped(piece.count(b"\n", written))

    def _put(self, piece: bytes) -> int:
        """How much of it was written."""
        if self._torn:
            piece = b"\n" + piece
        try:
            if self._may_wait and not _writable(self._fd):
                return 0
            written = os.write(self._fd, piece)
        except OSError:  # full, no reader, no space, not open
            return 0
        whole = written - self._torn
        # A full disk or terminal may take half a line: the next begins on a line of its own.
        self._torn = 0 < whole < len(piece) - self._torn and piece[written - 1] != 0x0A
        return whole

    def _open(self) -> tuple[int, bool]:
        """A descriptor, and whether writing to it might wait."""
        if self._path is not None:
            return os.open(self._path, _FLAGS | os.O_CREAT, _MODE), False
        if stat.S_ISFIFO(os.fstat(self._stream).st_mode):
            # Not waiting is a property of the open file, which others share: so one of our own. It
            # cannot be had where the pipe belongs to another user.
            with contextlib.suppress(OSError):
                return os.open(f"/proc/self/fd/{self._stream}", _FLAGS), False
        # A second open file would have its own place in a file that others write to.
        return os.dup(self._stream), True


def _pieces(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Whole lines, as many together as a pipe takes at once or not at all."""
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        if gathered and size + len(line) > select.PIPE_BUF:
            yield b"".join(gathered)
            gathered, size = [], 0
        gathered.append(line)
        size += len(line)
    if gathered:
        yield b"".join(gathered)


def _writable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(poller.poll(0))
