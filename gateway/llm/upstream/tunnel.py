"""What a connection speaks before it is handed on: nothing, or CONNECT with a proxy.

Knows CONNECT and the head that answers it. Knows nothing of what goes through afterwards.
"""

from __future__ import annotations

import asyncio
import re
from typing import cast

from gateway.llm.upstream.words import Origin, Proxy

MAX_HEAD_BYTES = 16_384
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")
_PASSED_OVER = re.compile(rb"\AHTTP/1\.[01] 1[0-9][0-9].*?\r\n\r\n", re.DOTALL)


class Silent(asyncio.Protocol):
    """Holds a connection that is being made: its maker may still be cancelled, and then closes it.

    Attributes:
        spoiled: bytes came, or the end, before anybody had said a word.
    """

    def __init__(self) -> None:
        self.spoiled = False

    def data_received(self, data: bytes) -> None:
        """Servers do not speak first."""
        self.spoiled = True

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.spoiled = True


class Tunnel(Silent):
    """The first protocol of a connection to a proxy, until it has opened the way.

    Attributes:
        opened: tells that it has; fails with an OSError where it will not.
    """

    def __init__(self, origin: Origin, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.opened: asyncio.Future[None] = loop.create_future()
        self._ask = _connect(origin, proxy)
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks."""
        cast(asyncio.Transport, transport).write(self._ask)

    def data_received(self, data: bytes) -> None:
        """Some of the proxy's answer."""
        if self.opened.done():
            self.spoiled = True
            return
        self._head = _PASSED_OVER.sub(b"", self._head + data)
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(self._head) > MAX_HEAD_BYTES:
                self._refuse("an endless head")
            return
        status = _STATUS.match(head + b"\r")
        if not status or not status[1].startswith(b"2"):
            self._refuse(repr(head.partition(b"\r\n")[0][:100]))
        elif rest:
            self._refuse("bytes that nobody asked for")
        else:
            self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.spoiled = True
        if not self.opened.done():
            self._refuse("closed the connection")

    def _refuse(self, what: str) -> None:
        self.opened.set_exception(OSError(f"the proxy was asked for a tunnel, got {what}"))


def _connect(origin: Origin, proxy: Proxy) -> bytes:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
