"""TLS between a connection's socket and its protocol, and how much waits there to be sent.

Knows uvloop's `SSLProtocol` and the transports on both sides of it. Knows nothing of HTTP.

An encrypting transport hands all that it is given to the one below, says from then on that nothing
waits, and pauses nobody. So the transport below is the one that is asked, and that pauses: without
it a client that never reads would be given answer after answer, none of which is counted.

The class is not public API, as uvicorn's are not: it is bounded in `pyproject.toml`, and what is
needed of it is tested over real sockets. `loop.start_tls` takes a transport of one's own but loses
what arrives before it; `connect_accepted_socket(ssl=...)` shows none.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # its stubs leave it out

# How long a closing connection is waited for is the sweep's to decide, which sees whether its
# client still reads; uvloop would cut off an answer in the middle.
SHUTDOWN_S = 30 * 86_400.0
# The largest bound that uvloop takes: beyond any answer.
NEVER = 2**31 - 1


class Encrypted(SSLProtocol):  # type: ignore[misc]  # a class of Cython's
    """What stands between; see the module.

    Attributes:
        below: the transport that sends what was encrypted.
    """

    below: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        shaken: asyncio.Future[None],
        handshake_timeout_s: float,
    ) -> None:
        """Begins the handshake once it is connected.

        Args:
            loop: the worker's.
            protocol: what speaks over it once the handshake is over.
            context: of the server.
            shaken: is told when that is, or why it never will be.
            handshake_timeout_s: how long it may take.
        """
        super().__init__(
            loop,
            protocol,
            context,
            shaken,
            server_side=True,
            ssl_handshake_timeout=handshake_timeout_s,
            ssl_shutdown_timeout=SHUTDOWN_S,
        )
        self._protocol = protocol
        self._shaken = shaken
        self._paused = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """There is a socket."""
        self.below = transport
        # Were it to pause for its own share as well, two would say when to go on.
        self._get_app_transport().set_write_buffer_limits(high=NEVER)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """There is none any more."""
        if exc is None and not self._shaken.done():  # else whoever waits would take it for shaken
            exc = ConnectionAbortedError("ended before the handshake was over")
        super().connection_lost(exc)
        del (
            self._protocol
        )  # which knows its transport, which knows us: nobody waits for a collector

    def pause_writing(self) -> None:
        """The socket takes no more: neither do we."""
        self._paused = True
        super().pause_writing()
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It does, and gets what waited here; that may be too much again."""
        self._paused = False
        super().resume_writing()
        if not self._paused:
            self._protocol.resume_writing()


def beneath(transport: asyncio.Transport) -> asyncio.Transport | None:
    """The transport below one that encrypts; None where nothing is encrypted."""
    encrypted: Any = transport.get_extra_info("uvloop.sslproto")
    return None if encrypted is None else cast(Encrypted, encrypted).below
