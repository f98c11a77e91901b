"""The same endpoints behind any ASGI server, as one application that a Starlette route can hold.

Knows ASGI and endpoints. Knows nothing of sockets, of uvicorn, or of what endpoints do. It costs a
task and a scope per request, which the lane saves; endpoints cannot tell the difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.parse
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from gateway.access.scopes import shown_of
from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RequestTooSlow,
)
from gateway.exchange import JSON_TYPE, Endpoint, Header
from gateway.wire.base import BaseExchange, BaseStream
from gateway.wire.cycle import NOTES_STATE, Notes
from gateway.wire.head import TIMING, Head, read_echo
from gateway.wire.services import Services
from gateway.wire.trace import TRACEPARENT, read_traceparent

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HIGH_WATER_BYTES = 65_536


class ClientLeft(Exception):
    """The client is gone before its request was whole."""


class EndpointApp:
    """Answers requests to endpoints; 404 to the rest."""

    def __init__(self, services: Services) -> None:
        """Shares endpoints, limits and counters with whoever else carries them."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            raise RuntimeError(f"ASGI scope: expected http, got {scope['type']}")
        services = self._services
        exchange = AsgiExchange(services, scope)
        body = _Body(services)
        try:
            endpoint = self._endpoint(exchange)
            exchange.body = await self._read(scope, receive, body)
            await self._run(exchange, endpoint, receive, send)
        except ClientLeft:
            services.counters.left()
        except GatewayError as error:
            exchange.refuse(error)
            await exchange.send_all(send)
        finally:
            body.release()

    async def _run(
        self, exchange: AsgiExchange, endpoint: Endpoint, receive: Receive, send: Send
    ) -> None:
        watcher = asyncio.ensure_future(_watch(receive, exchange))
        try:
            exchange.run(endpoint)
            await exchange.send_all(send)
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    def _endpoint(self, exchange: AsgiExchange) -> Endpoint:
        endpoint = self._services.endpoints.get(exchange.path)
        if endpoint is None:
            path = exchange.path.decode("latin-1")
            raise NotFound(f"{path[:200]}: nothing is served here")
        if exchange.method != b"POST":
            raise MethodNotAllowed(f"method: expected POST, got {exchange.method.decode()}")
        return endpoint

    async def _read(self, scope: Scope, receive: Receive, body: _Body) -> bytes:
        limits = self._services.limits
        declared = [value for name, value in scope["headers"] if name == b"content-length"]
        body.check(int(declared[0]) if declared and declared[0].isdigit() else 0)
        more = True
        while more:
            try:
                async with asyncio.timeout(limits.body_timeout_s):
                    message = await receive()
            except TimeoutError as error:
                raise RequestTooSlow(
                    f"request body: expected a piece every {limits.body_timeout_s:g} s, got none"
                ) from error
            if message["type"] == "http.disconnect":
                raise ClientLeft
            more = message.get("more_body", False)
            body.add(message.get("body", b""))
        return body.whole()


class _Body:
    """A body as it arrives. What it holds is counted at once, and until `release`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pieces: list[bytes] = []
        self._bytes = 0

    def check(self, size: int) -> None:
        """Refuses a body of this size, if it passes a limit."""
        limits = self._services.limits
        if size > limits.max_body_bytes:
            raise BodyTooLarge(f"body: expected at most {limits.max_body_bytes} bytes, got more")
        if self._services.buffered_bytes + size - self._bytes > limits.max_buffered_bytes:
            raise Overloaded("request bodies: the server holds as many bytes as it may")

    def add(self, piece: bytes) -> None:
        self.check(self._bytes + len(piece))
        self._pieces.append(piece)
        self._bytes += len(piece)
        self._services.buffered_bytes += len(piece)

    def whole(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def release(self) -> None:
        self._services.buffered_bytes -= self._bytes
        self._bytes = 0


class AsgiExchange(BaseExchange):
    """A request behind ASGI; the promises are those of `gateway.exchange.Exchange`."""

    __slots__ = (
        "_broken_off",
        "_notes",
        "_peer",
        "_request_id",
        "_services",
        "_unsent",
        "_wake",
        "out",
        "sequence",
    )

    def __init__(self, services: Services, scope: Scope) -> None:
        """Reads what the scope says of the request."""
        self.head = head = read_scope(scope)
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.body = b""
        self.arrived = time.perf_counter()
        self.gone = False
        self._answered = False
        self._stream = None
        self._callbacks = None
        self._services = services
        self._peer: str = scope["client"][0] if scope.get("client") else ""
        # Behind the lane the request has its id and trace already, and the lane writes them.
        notes: Notes | None = scope.get("state", {}).get(NOTES_STATE)
        self._notes = notes
        self._request_id = services.new_request_id() if notes is None else notes.request_id
        self.sequence = int(self._request_id.rpartition(b"-")[2], 16)
        if notes is not None:
            head.trace = notes.trace
        self.out: deque[Message] = deque()
        self._unsent = 0
        self._wake = asyncio.Event()
        self._broken_off = False

    @property
    def services(self) -> Services:
        """The worker's."""
        return self._services

    @property
    def request_id(self) -> bytes:
        """What penstock-request-id says."""
        return self._request_id

    @property
    def client(self) -> str:
        """The client's address, forwarded where the peer is trusted."""
        return self._services.trusted.client(self._peer, self.headers)

    def run(self, endpoint: Endpoint) -> None:
        """Calls the endpoint."""
        self._endpoint = endpoint
        self.begin()

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Hands the whole answer to the server."""
        length = (b"content-length", b"%d" % len(body))
        self._start(status, [(b"content-type", content_type), length, *headers])
        self._put({"type": "http.response.body", "body": body, "more_body": False})

    def stream(self, status: int, headers: Sequence[Header] = ()) -> AsgiStream:
        """Starts an answer whose length is not known yet."""
        self._start(status, list(headers))
        self._stream = stream = AsgiStream(self)
        return stream

    def leave(self) -> None:
        """The client is gone."""
        if not self.gone:
            self._tell_gone()
            self.drained()
            self._wake.set()

    @property
    def write_paused(self) -> bool:
        """The server takes no more for now."""
        return self._unsent >= HIGH_WATER_BYTES

    def put(self, data: bytes, more: bool) -> None:
        """One piece of a stream."""
        self._put({"type": "http.response.body", "body": data, "more_body": more})

    async def send_all(self, send: Send) -> None:
        """Sends what the endpoint writes until it is all, or the client gone.

        Raises:
            RuntimeError: the answer was broken off; the server shows that to the client.
        """
        while not self.gone:
            if self._broken_off:
                self.leave()  # nobody will read what else is written
                raise RuntimeError(f"request {self.request_id.decode()}: its answer broke off")
            # Before sending, so that what happens meanwhile is not slept through.
            self._wake.clear()
            while self.out and not self._broken_off:
                message = self.out.popleft()
                await send(message)
                self._unsent -= len(message.get("body", b""))
                if not message.get("more_body", True):
                    return
                if not self.write_paused:
                    self.drained()
            await self._wake.wait()

    def _start(self, status: int, headers: list[Header]) -> None:
        if self._answered:
            raise RuntimeError(f"{self.path!r}: answered twice")
        notes = self._notes
        if notes is not None:
            notes.phases = getattr(self, "phases", None)
            notes.model = getattr(self, "model", notes.model)
        else:
            headers = [*self._with_own(headers), (b"penstock-request-id", self._request_id)]
            if self.head.echo is not None:
                headers.append((b"x-request-id", self.head.echo))
        self._answered = True
        self._put({"type": "http.response.start", "status": status, "headers": headers})

    def _put(self, message: Message) -> None:
        if not self.gone:
            self.out.append(message)
            self._unsent += len(message.get("body", b""))
            self._wake.set()

    def _cut(self) -> None:
        """Has `send_all` fail, so that the server ends the connection."""
        self._broken_off = True
        self._wake.set()


class AsgiStream(BaseStream):
    """The open end of a streamed answer."""

    __slots__ = ()

    _exchange: AsgiExchange

    def _send(self, data: bytes) -> None:
        self._exchange.put(data, more=True)

    def _paused(self) -> bool:
        return self._exchange.write_paused

    def _finish(self) -> None:
        self._exchange.put(b"", more=False)


def read_scope(scope: Scope) -> Head:
    """The head of a request as ASGI tells it."""
    raw: bytes | None = scope.get("raw_path")
    path = raw.partition(b"?")[0] if raw else urllib.parse.quote(scope["path"]).encode("ascii")
    method = scope["method"].encode("ascii")
    headers = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
    head = Head(method, path, scope.get("query_string", b""), headers, shown=shown_of(scope))
    given = head.first(b"x-request-id")
    head.echo = None if given is None else read_echo(given)
    parents = [value for name, value in headers if name == TRACEPARENT]
    if parents:
        head.trace = read_traceparent(parents[0] if len(parents) == 1 else b"")
    head.timed = (head.first(TIMING) or b"").strip() == b"1"
    return head


async def _watch(receive: Receive, exchange: AsgiExchange) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not exchange.gone:
        exchange.leave()
