"""A body that is delivered whole: what came of it, and how much of it is still to come.

Knows bytes, and the bound on all that a worker holds. Knows nothing of HTTP, or of whom a body is
for. Memory is held for what came alone, whatever length was announced.
"""

from __future__ import annotations

from gateway.errors import Overloaded
from gateway.wire.services import Services

# Below this a copy costs no more than a view.
VIEWED_BYTES = 4096


class Gathering:
    """Of one connection, body after body.

    Attributes:
        missing: bytes that are yet to come and are nobody else's, a parser's least of all; 0: no
            such body has begun, or it is whole.
    """

    __slots__ = ("_pieces", "_services", "missing")

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pieces: list[bytes | memoryview] = []
        self.missing = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Keeps a piece; what a view is of is kept with it.

        Raises:
            Overloaded: the worker holds more than it may.
        """
        self._pieces.append(piece)
        self._services.buffered_bytes += len(piece)
        self.check()

    def add_missing(self, data: bytes, at: int) -> int:
        """Keeps what stands in `data` from `at` on of what is missing; how many bytes that is.

        Raises:
            Overloaded: the worker holds more than it may.
        """
        piece = memoryview(data)[at : at + self.missing]
        self.missing -= len(piece)
        # A few bytes are to keep no memory but their own: neither a view's, nor that of many bytes
        # which came with them and which nobody has counted.
        viewed = len(piece) >= max(VIEWED_BYTES, len(data) // 2)
        self.add(piece if viewed else bytes(piece))
        return len(piece)

    def check(self, more: int = 0) -> None:
        """Looks whether the worker may hold what it does, and so many bytes more.

        Raises:
            Overloaded: it may not.
        """
        if self._services.buffered_bytes + more > self._services.limits.max_buffered_bytes:
            raise Overloaded(
                "the server holds as many bytes of bodies and unread answers as it may, retry later"
            )

    def take(self) -> bytes:
        """The body, which stays counted until it is answered."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    def release(self) -> None:
        """Gives back what was held of a body that will not be whole."""
        self._services.buffered_bytes -= sum(map(len, self._pieces))
        self._pieces = []
        self.missing = 0
