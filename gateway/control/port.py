"""The control port: its application, behind the lane that the data port has.

Knows the lane, which bounds and times what clients send before anybody knows who they are, and what
is other here: no endpoints, a code in the body of every error, and idle connections that give way
to new ones. Knows no operation and no caller.
"""

from __future__ import annotations

import asyncio
import collections
import socket
import ssl

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from gateway.config import Config, Limits, Server
from gateway.control.failures import error_body
from gateway.wire.acceptor import Acceptor
from gateway.wire.http import Lane
from gateway.wire.services import Services

# All bodies and unread answers together: a dozen documents at once, or scrapes that nobody reads.
MAX_BUFFERED_BYTES = 64 << 20
# What takes longer is cut off: the supervisor waits for control to leave.
GRACE_S = 2.0


class Counts:
    """What connections of the port count.

    Attributes:
        open: how many there are.
        refusals: by error code or limit, what was refused or ended before any operation saw it.
    """

    def __init__(self) -> None:
        self.open = 0
        self.refusals: collections.Counter[str] = collections.Counter()

    def opened(self) -> None:
        """A connection was accepted."""
        self.open += 1

    def closed(self) -> None:
        """A connection is no more."""
        self.open -= 1

    def refused(self, code: str) -> None:
        """A request or connection was answered with this error."""
        self.refusals[code] += 1

    def handshake_failed(self) -> None:
        """A connection ended before TLS was agreed upon."""
        self.refusals["tls_handshake"] += 1

    def left(self) -> None:
        """A client left before its request was answered, which is its own affair."""

    def paused(self) -> None:
        """Not here: turns of control's loop may be long, and are no reason to read less."""

    def cut(self, reason: str) -> None:
        """A connection was ended without a word."""
        self.refusals[reason] += 1


class Port:
    """The control port of one process."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        config: Config,
        max_body_bytes: int,
        request_ids: bytes,
        counts: Counts,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Takes what it needs; `start` begins.

        Args:
            app: answers, and asks callers who they are.
            listener: listening and non-blocking; it is never closed here.
            config: its limits hold for each connection, as on the data port.
            max_body_bytes: what the application may take at most.
            request_ids: what the id of every request begins with.
            counts: what connections count.
            tls: what connections are encrypted with; None: they are not.
        """
        self._services = Services(
            endpoints={},
            limits=_limits(config, max_body_bytes),
            # No proxy is believed here: the audit names the address that a change came from.
            server=Server(keep_alive_s=config.server.keep_alive_s),
            counters=counts,
            request_id_prefix=request_ids,
            identifies=True,
            refusal=lambda error, *_: (error_body(error), ()),
            # Probes and scrapes come again; strangers who stay after an answer keep nobody out.
            idle_yield=True,
        )
        asgi = uvicorn.Config(
            app,
            interface="asgi3",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            ws="none",
            proxy_headers=False,
        )
        asgi.load()
        self._state = ServerState()
        self._loop = loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(
            loop,
            listener,
            lambda: Lane(asgi, self._state, {}, loop, services=self._services),
            self._services,
            tls=lambda: tls,
        )

    def start(self) -> None:
        """Answers from now on."""
        self._services.sweep.start(self._loop)
        self._acceptor.start()

    async def close(self) -> None:
        """Accepts no more, and returns once what is being answered was, or has been cut off."""
        self._acceptor.stop()
        empty = asyncio.Event()
        self._services.finish(empty.set)
        try:
            await asyncio.wait_for(empty.wait(), GRACE_S)
        except TimeoutError:
            self._services.abort()
        self._services.stop()
        tasks = tuple(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _limits(config: Config, max_body_bytes: int) -> Limits:
    """Those of the document, with what is other where few come and little is sent."""
    own = {
        "max_connections": config.control.max_connections,
        "max_body_bytes": max_body_bytes,
        "max_buffered_bytes": MAX_BUFFERED_BYTES,
    }
    return config.limits.model_copy(update=own)
