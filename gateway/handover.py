"""Evens out connections between workers: who has too many hands a new one to who has fewest.

Knows counts and descriptors. Knows nothing of HTTP or of what a connection carries.

SO_REUSEPORT spreads connections by hash, which is uneven for the few long-lived ones that a load
balancer keeps. The board is shared memory with one writer per cell; a connection on its way is
counted at its receiver, so that a burst does not all go to the same one.
"""

from __future__ import annotations

import contextlib
import mmap
import socket

_READY, _OPEN, _PAIRS = 0, 1, 2


class Board:
    """What each worker has open, has handed on and has taken, for all workers to read."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._width = _PAIRS + 2 * workers
        self._cells = memoryview(mmap.mmap(-1, max(1, workers * self._width * 8))).cast("q")
        ends = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(workers)]
        for give, take in ends:
            give.setblocking(False)
            take.setblocking(False)
        self.doors = ends
        """Per worker, the end that others send to and the end that it reads."""

    def open(self, slot: int, connections: int) -> None:
        """Worker `slot` has this many connections open."""
        self._cells[slot * self._width + _OPEN] = connections

    def ready(self, slot: int, ready: bool) -> None:
        """Worker `slot` takes connections, or does not."""
        self._cells[slot * self._width + _READY] = int(ready)

    def load(self, slot: int) -> int:
        """Connections open at a worker and on their way to it."""
        row = slot * self._width
        waiting = 0
        for other in range(self.workers):
            handed = self._cells[other * self._width + _PAIRS + slot]
            waiting += handed - self._cells[row + _PAIRS + self.workers + other]
        return self._cells[row + _OPEN] + waiting

    def offer(self, slot: int, sock: socket.socket) -> bool:
        """Hands a new connection of worker `slot` on if another has at least one fewer.

        Returns:
            True where it was handed on; the caller then closes its own descriptor and forgets it.
        """
        # What others handed to this worker and waits behind its door is its own already.
        best, fewest = slot, self.load(slot)
        for other in range(self.workers):
            if other != slot and self._cells[other * self._width + _READY]:
                load = self.load(other)
                if load < fewest:
                    best, fewest = other, load
        if best == slot:
            return False
        try:
            socket.send_fds(self.doors[best][0], [bytes([slot])], [sock.fileno()])
        except OSError:
            return False  # its door is full: keep the connection
        self._cells[slot * self._width + _PAIRS + best] += 1
        return True

    def take(self, slot: int) -> socket.socket | None:
        """The next connection handed to worker `slot`, or None."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.doors[slot][1], 1, 1)
        except OSError:
            return None
        if not data:
            return None
        self._cells[slot * self._width + _PAIRS + self.workers + data[0]] += 1
        if not descriptors:
            return None
        sock = socket.socket(fileno=descriptors[0])
        with contextlib.suppress(OSError):
            sock.setblocking(False)
        return sock

    def close(self) -> None:
        """Closes this process's ends of all doors."""
        for give, take in self.doors:
            give.close()
            take.close()
