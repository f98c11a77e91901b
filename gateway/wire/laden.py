"""A request that takes memory beside its body, tensors most often: it counts until it is answered.

Knows how much is held, and when it is given back. Knows nothing of how tensors were decoded.

A small request's tensors are about as large as its body, which is counted while it is held. A large
one's may be many times that: a compressed body is mostly expanded by decoding it, and so is text.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import BodyTooLarge, Overloaded
from gateway.exchange import JSON_TYPE, Exchange, Header, Stream
from gateway.tensors import Array
from gateway.wire.around import Around
from gateway.wire.services import Services

# A bytes object takes 33 bytes beside its characters, and its place comes in steps of 16.
STRING_BYTES = 48


def footprint(tensors: Sequence[Array], body_bytes: int) -> int:
    """Bytes that decoded tensors take; the characters of strings by the bound that is their body.

    Args:
        tensors: of one request.
        body_bytes: of the body that they came in, inflated.
    """
    strings = sum(tensor.size for tensor in tensors if tensor.dtype == object)
    size = sum(tensor.nbytes for tensor in tensors)
    return size + strings * STRING_BYTES + body_bytes if strings else size


class _Hold:
    """Bytes that count as buffered until they are given back, which may be tried twice.

    It knows no exchange, whose list of callbacks it is in: a body must not wait for the collector.
    """

    __slots__ = ("_services", "_size")

    def __init__(self, services: Services, size: int) -> None:
        self._services = services
        self._size = size
        services.buffered_bytes += size

    def release(self) -> None:
        self._services.buffered_bytes -= self._size
        self._size = 0


class Laden(Around):
    """An exchange that holds bytes beside its body until it is answered or its client leaves."""

    __slots__ = ("_hold",)

    def __init__(
        self, exchange: Exchange, size: int, services: Services, body: bytes | None = None
    ) -> None:
        """Counts `size` bytes to those that the worker buffers.

        Args:
            exchange: what holds them.
            size: of them.
            services: count them.
            body: that stands in place of the exchange's: the same, inflated.

        Raises:
            BodyTooLarge: they would be too many even if nobody else held any.
            Overloaded: they are too many beside what others hold.
        """
        limit = services.limits.max_buffered_bytes
        if size > limit:
            raise BodyTooLarge(
                f"request: what it holds takes {size} bytes, "
                f"expected at most {limit} (limits.max_buffered_bytes)"
            )
        if services.buffered_bytes + size > limit:
            raise Overloaded("request: the server holds as many bytes as it may, retry later")
        super().__init__(exchange, body)
        self._hold = _Hold(services, size)
        exchange.on_gone(self._hold.release)

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Writes the whole answer, and gives back what was held."""
        self._hold.release()
        super().reply(status, body, headers, content_type)

    def stream(self, status: int, headers: Sequence[Header] = ()) -> Stream:
        """Starts an answer, and gives back what was held."""
        self._hold.release()
        return super().stream(status, headers)
