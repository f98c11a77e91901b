"""Accepts connections from a listening socket that somebody else owns.

Knows descriptors, the bound on connections, and that a new one may be handed to another worker.
Knows nothing of HTTP beyond one short refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

from gateway.errors import TooManyConnections
from gateway.wire import answers
from gateway.wire.encrypted import Encrypted
from gateway.wire.services import Connection, Services

logger = logging.getLogger("penstock.wire")

# So that a flood of connections does not keep the loop from the requests it has.
PER_TURN = 64
LATE_PAUSE_S = 0.005
# A worker that is late again whenever anybody looks would else take nobody, for as long as that is.
LATE_PER_TURN = 4
EXHAUSTED_PAUSE_S = 0.25
# A refused client may still be sending; closing at once would reset the refusal away.
LINGER_S = 0.25
MAX_LINGERING = 128

_NO_DESCRIPTOR = frozenset((errno.EMFILE, errno.ENFILE))
# What a client did to its own connection before it was accepted.
_CLIENTS_OWN = frozenset((errno.ECONNABORTED, errno.EPROTO, errno.EPERM))


class Acceptor:
    """The accept loop of one listening socket; see the module."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        services: Services,
        offer: Callable[[socket.socket], bool] | None = None,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        """Takes what it needs; `start` begins.

        Args:
            loop: the worker's.
            listener: listening and non-blocking; it is never closed here.
            protocol: makes the protocol of one connection, which is a `Connection` as well.
            services: limits, counters, and the connections there are.
            offer: may hand a new connection to another worker; True where it did.
            tls: what the next connection is encrypted with; None: it is not.
        """
        # fixed at start
        self._loop = loop
        self._listener = listener
        self._protocol = protocol
        self._services = services
        self._offer = offer
        self._tls = tls
        # until replaced
        self._accepting = False
        self._pause: asyncio.TimerHandle | None = None
        self._rested = False  # because the worker was late
        self._opening: set[asyncio.Task[None]] = set()
        self._lingering: deque[socket.socket] = deque()
        self._exhausted = False
        self._spare: int | None = None

    @property
    def connections(self) -> int:
        """Open, or being opened."""
        return len(self._services.connections) + self._services.opening

    def start(self) -> None:
        """Accepts from now on."""
        if not self._accepting:
            self._accepting = True
            self._keep_spare()
            self._listen()

    def stop(self) -> None:
        """Accepts no more; what is queued stays in the socket's backlog."""
        self._accepting = False
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        while self._lingering:
            self._let_go()
        self._give_spare()

    def empty_backlog(self) -> None:
        """Accepts all that is queued now, without offering it to anybody: it came here first."""
        self._keep_spare()  # `stop` gave it back
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if error.errno in _CLIENTS_OWN:
                    continue
                if error.errno in _NO_DESCRIPTOR and self._turn_away():
                    continue
                break
            self.adopt(sock)
        self._give_spare()

    def adopt(self, sock: socket.socket) -> None:
        """Serves a connection, accepted here or handed over.

        Past the bound it takes the place of one without a request, or is refused.
        """
        full = self.connections >= self._services.limits.max_connections
        if full and not self._services.make_room():
            self._refuse(sock)
            return
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._services.opening += 1
        task = self._loop.create_task(self._open(sock))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _listen(self) -> None:
        self._pause = None
        self._keep_spare()  # somebody else may have had the descriptor
        if self._accepting:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        late = self._services.lag.late
        self._rested = late and not self._rested
        if self._rested:
            self._rest(LATE_PAUSE_S)
            return
        for _ in range(LATE_PER_TURN if late else PER_TURN):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _CLIENTS_OWN:
                    continue
                self._complain(error)
                if error.errno in _NO_DESCRIPTOR and self._turn_away():
                    continue
                # It stays in the backlog, so the socket stays readable: look again later.
                self._rest(EXHAUSTED_PAUSE_S)
                return
            self._exhausted = False
            if self._offer is not None and self._offer(sock):
                sock.close()
            else:
                self.adopt(sock)

    def _complain(self, error: OSError) -> None:
        if not self._exhausted:
            logger.warning("cannot accept connections for now: %s", error)
        self._exhausted = True

    def _turn_away(self) -> bool:
        """Tells one client, over the descriptor that was spared for it, that there is no other.

        False where even that one is gone, or nobody waits.
        """
        self._give_spare()
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return False
        else:
            error = TooManyConnections("connections: this worker has no descriptor left for more")
            if self._send_refusal(sock, error):
                with contextlib.suppress(OSError):
                    sock.recv(65_536)  # what is left unread at closing would reset the answer away
            sock.close()
            return True
        finally:
            self._keep_spare()

    def _keep_spare(self) -> None:
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _give_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _rest(self, pause_s: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(pause_s, self._listen)

    async def _open(self, sock: socket.socket) -> None:
        tls = self._tls()
        protocol = self._protocol()
        try:
            if tls is None:
                await self._loop.connect_accepted_socket(lambda: protocol, sock)
            else:
                await self._shake_hands(sock, tls, protocol)
        except OSError as error:
            logger.debug("a connection was lost before it began: %s", error)
            sock.close()
            self._services.never_opened(cast(Connection, protocol))
            if tls is not None:
                self._services.counters.handshake_failed()

    async def _shake_hands(
        self, sock: socket.socket, tls: ssl.SSLContext, protocol: asyncio.Protocol
    ) -> None:
        # Who shakes hands slowly holds a connection, as who sends a head slowly does.
        patience_s = self._services.limits.header_timeout_s
        shaken = self._loop.create_future()
        encrypted = Encrypted(self._loop, protocol, tls, shaken, patience_s)
        await self._loop.connect_accepted_socket(lambda: encrypted, sock)
        self._services.newcomers[cast(Connection, protocol)] = encrypted.below.abort
        await shaken

    def _refuse(self, sock: socket.socket) -> None:
        limit = self._services.limits.max_connections
        error = TooManyConnections(f"connections: expected at most {limit}, got more")
        if not self._send_refusal(sock, error):
            sock.close()
            return
        self._lingering.append(sock)
        if len(self._lingering) > MAX_LINGERING:
            self._let_go()
        self._loop.call_later(LINGER_S, self._let_go, sock)

    def _send_refusal(self, sock: socket.socket, error: TooManyConnections) -> bool:
        """Counts and answers; False where the client is gone, or would not understand."""
        self._services.counters.refused(error.code)
        if self._tls() is not None:  # no handshake, no words
            return False
        request_id = self._services.new_request_id()
        body, _ = self._services.refusal(error, b"", request_id, None)
        headers = answers.error_headers(error)
        head = answers.head(error.status, len(body), request_id, headers=headers, close=True)
        try:
            sock.setblocking(False)
            sock.send(head + body)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def _let_go(self, sock: socket.socket | None = None) -> None:
        if sock is None:
            sock = self._lingering.popleft()
        elif sock in self._lingering:
            self._lingering.remove(sock)
        else:
            return
        with contextlib.suppress(OSError):
            sock.recv(65_536)
        sock.close()
