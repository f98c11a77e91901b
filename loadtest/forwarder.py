"""A bare forwarder: what connections to upstreams cost, with nothing of a gateway around them.

    python -m loadtest.forwarder UPSTREAM_PORT PORT
    python -m loadtest.forwarder 0 PORT     # answers by itself: the same without its upstream

Requests are read as the lane reads them, by httptools in an asyncio protocol, and sent on with
`gateway/llm/upstream/`. Nothing is looked at, limited or counted; a client that hangs up, sends two
requests at once or reads slowly is nobody's concern here.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import httptools
import uvloop

from gateway.errors import GatewayError
from gateway.exchange import Header
from gateway.llm.upstream.request import request_head
from gateway.llm.upstream.upstreams import Upstreams
from gateway.llm.upstream.words import Origin, Timeouts

TIMEOUTS = Timeouts()
JSON = [(b"content-type", b"application/json")]
ALONE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n" + b"x" * 400
)


class Forwarder:
    """Where to, and with what."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.upstreams = Upstreams(asyncio.get_running_loop())
        self.origin = Origin("http", "127.0.0.1", port, allow_private=True)
        self.head = request_head(self.origin, "/v1/chat/completions", JSON)


class Relay:
    """Writes an answer on as it comes: whole where its length is known, else piece by piece."""

    __slots__ = ("head", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.head = b""

    def on_head(self, status: int, headers: Sequence[Header]) -> None:
        known = dict(headers)
        start = b"HTTP/1.1 %d OK\r\ncontent-type: %s\r\n" % (status, known[b"content-type"])
        length = known.get(b"content-length")
        if length is None:
            self.transport.write(start + b"transfer-encoding: chunked\r\n\r\n")
        else:
            self.head = b"%scontent-length: %s\r\n\r\n" % (start, length)

    def on_data(self, data: bytes) -> None:
        if self.head:
            self.transport.write(self.head + data)
        else:
            self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))

    def on_end(self) -> None:
        if not self.head:
            self.transport.write(b"0\r\n\r\n")

    def on_failure(self, error: GatewayError, *, sent: bool, answered: bool) -> None:
        print(error, file=sys.stderr)
        self.transport.abort()


class Downstream(asyncio.Protocol):
    def __init__(self, forwarder: Forwarder) -> None:
        self.forwarder = forwarder
        self.body = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        to = self.forwarder
        if to.port:
            to.upstreams.send(to.origin, to.head, body, Relay(self.transport), TIMEOUTS)
        else:
            self.transport.write(ALONE)


async def serve(upstream: int, port: int) -> None:
    forwarder = Forwarder(upstream)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Downstream(forwarder), "127.0.0.1", port)
    async with server:
        try:
            await server.serve_forever()
        finally:
            forwarder.upstreams.close()


def main() -> None:
    upstream, port = map(int, sys.argv[1:])
    uvloop.run(serve(upstream, port))


if __name__ == "__main__":
    main()
