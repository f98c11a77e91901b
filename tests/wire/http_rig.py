"""A worker's wire side in a thread of its own, and a client that speaks in bytes.

The endpoints answer at once (`/echo`), when told (`/held`), or badly; whatever is not theirs goes
to a small ASGI application. Tests look at sockets and at what the endpoints were given, nothing
else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.config import Limits, Server, Tracing
from gateway.errors import QueueFull
from gateway.spans import TracedRequest
from gateway.wire.acceptor import Acceptor
from gateway.wire.access_log import AccessLog
from gateway.wire.asgi import EndpointApp
from gateway.wire.guard import Door, Guard
from gateway.wire.http import Lane
from gateway.wire.logged import LoggedLane
from gateway.wire.services import Services
from gateway.wire.spans import SpanLog

WAIT_S = 20.0


class CountingCounters:
    """What the worker would write to the arena."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()

    def opened(self) -> None:
        self.numbers["opened"] += 1

    def closed(self) -> None:
        self.numbers["closed"] += 1

    def refused(self, code: str) -> None:
        self.numbers[code] += 1

    def handshake_failed(self) -> None:
        self.numbers["handshake_failed"] += 1

    def left(self) -> None:
        self.numbers["left"] += 1

    def paused(self) -> None:
        self.numbers["paused"] += 1

    def cut(self, reason: str) -> None:
        self.numbers[f"cut: {reason}"] += 1


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    lines: list[tuple[str, str]] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, spoken to in bytes."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.shown: Any = None
        """The server's certificate, over TLS."""
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            self.shown = self.socket.getpeercert()
        self._read = b""

    def send(self, *pieces: bytes) -> Client:
        self.socket.sendall(b"".join(pieces))
        return self

    def answer(self, head_only: bool = False) -> Answer:
        """The next answer on the connection."""
        head = self._until(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        lines = [
            (name.lower(), value) for name, _, value in (line.partition(": ") for line in rest)
        ]
        status = int(first.split()[1])
        headers = dict(lines)
        if head_only or status in (100, 204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            body = self.rest()
        return Answer(status, headers, body, lines)

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        pieces = [self._read]
        self._read = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self.socket.recv(65_536):
                pieces.append(piece)
        return b"".join(pieces)

    def closed(self) -> bool:
        """The server closes now, without another byte."""
        return self.rest() == b""

    def silent(self, for_s: float = 0.05) -> bool:
        """Nothing comes, not even an end, for a moment."""
        self.socket.settimeout(for_s)
        try:
            return not self._read and self.socket.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(WAIT_S)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leaves with RST."""
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            self._more()
        found, _, self._read = self._read.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        found, self._read = self._read[:size], self._read[size:]
        return found

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self._exactly(size)
            assert self._until(b"\r\n") == b""
        assert self._until(b"\r\n") == b""
        return body

    def _more(self) -> None:
        piece = self.socket.recv(65_536)
        if not piece:
            raise EOFError(f"the server closed; so far: {self._read!r}")
        self._read += piece


class Records:
    """Where the access log of a rig writes to."""

    def __init__(self) -> None:
        self._lines: queue.Queue[bytes] = queue.Queue()

    def write(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            self._lines.put(line)

    def next(self) -> dict[str, Any]:
        """The next record, once it is there."""
        found: dict[str, Any] = json.loads(self._lines.get(timeout=WAIT_S))
        return found

    @property
    def empty(self) -> bool:
        return self._lines.empty()


class Rig:
    """A server in a thread: `call` runs on its loop, `held` gets the exchanges that wait."""

    def __init__(
        self,
        limits: Limits,
        server: Server,
        carrier: str = "lane",
        app: Callable[..., Any] | None = None,
        offer: Callable[[socket.socket], bool] | None = None,
        guard: Guard | None = None,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self.held: queue.Queue[Any] = queue.Queue()
        self.seen: queue.Queue[Any] = queue.Queue()
        self.counters = CountingCounters()
        self.records = Records()
        self.traced: queue.Queue[TracedRequest] = queue.Queue()
        self.clients: list[Client] = []
        self.services = Services(
            endpoints={
                b"/echo": self._echo,
                b"/held": self.held.put,
                b"/fails": _fail,
                b"/full": _full,
            },
            limits=limits,
            server=server,
            counters=self.counters,
            guard=guard,
            request_id_prefix=b"host-0-1-",
        )
        if guard is not None:
            guard.doors = {
                path: Door(guard, endpoint, path[1:].decode(), 1)
                for path, endpoint in self.services.endpoints.items()
            }
            self.services.endpoints |= {path: door.enter for path, door in guard.doors.items()}
        self._carrier = carrier
        self._app = app or self._default_app
        self._offer = offer
        self._tls = tls
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self) -> Rig:
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        self.loop.call_soon_threadsafe(self._done.set)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        assert self.services.buffered_bytes == 0, "every body that was held has been given back"

    def connect(self, tls: ssl.SSLContext | None = None) -> Client:
        client = Client(self.port, tls)
        self.clients.append(client)
        return client

    def get(self, path: str = "/health", tls: ssl.SSLContext | None = None) -> Answer:
        """A good request on a fresh connection: the server is well."""
        client = self.connect(tls).send(request("GET", path))
        answer = client.answer()
        client.close()
        return answer

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs something on the server's loop."""

        async def run() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(WAIT_S)

    def next_held(self) -> Any:
        return self.held.get(timeout=WAIT_S)

    def next_traced(self) -> TracedRequest:
        return self.traced.get(timeout=WAIT_S)

    def signal(self) -> tuple[Callable[[], None], Callable[[], bool]]:
        """Something to be called on the loop, and whether it was, waited for."""
        event = threading.Event()
        return event.set, lambda: event.wait(WAIT_S)

    def reached(self, condition: Callable[[], bool]) -> bool:
        """Waits, turn by turn of the server's loop, for something to become true there."""
        return any(self.call(condition) or self._stop.wait(0.001) for _ in range(int(WAIT_S * 500)))

    def _trace(self, requests: list[TracedRequest]) -> bool:
        for one in requests:
            self.traced.put(one)
        return True

    def _echo(self, exchange: Any) -> None:
        self.seen.put(exchange)
        exchange.reply(200, exchange.body)

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self.acceptor = Acceptor(
            self.loop, listener, self._protocol(), self.services, self._offer, self._tls
        )
        self.services.start(self.loop)
        self.acceptor.start()
        self._ready.set()
        await self._done.wait()
        self.acceptor.stop()
        self.services.stop()
        empty = asyncio.Event()
        self.services.finish(empty.set)
        self.services.abort()
        await asyncio.wait_for(empty.wait(), WAIT_S)
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=WAIT_S)
        listener.close()

    def _protocol(self) -> Callable[[], asyncio.Protocol]:
        self._state = ServerState()
        if self._carrier == "lane":
            config = _config(self._app)
            return lambda: Lane(config, self._state, {}, services=self.services)
        if self._carrier == "logged":
            config = _config(self._app)
            access = AccessLog("all", self.records, "worker-0", self.loop)
            return lambda: LoggedLane(
                config, self._state, {}, services=self.services, note=access.note
            )
        if self._carrier == "traced":
            config = _config(self._app)
            spans = SpanLog(Tracing(), self._trace, _never, self.loop)
            return lambda: LoggedLane(
                config, self._state, {}, services=self.services, note=spans.note
            )
        # The same endpoints behind somebody else's server.
        config = _config(EndpointApp(self.services))
        return lambda: _Stock(config, self._state, self.services)

    async def _default_app(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.put(scope)
        body = b""
        more = scope["method"] == "POST" and scope["path"] != "/app/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.put("disconnected")
                return
            body += message["body"]
            more = message["more_body"]
        if scope["path"] == "/app/held":
            held = HeldApplication(asyncio.Event(), receive)
            self.held.put(held)
            await held.go.wait()
        if scope["path"] == "/app/fails":
            raise RuntimeError("secret of the application")
        text = body or scope["path"].encode()
        headers = [(b"content-length", b"%d" % len(text)), (b"content-type", b"text/plain")]
        if scope["path"] == "/app/stream":
            headers = []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})


@dataclass
class HeldApplication:
    """An ASGI application that waits in the middle of a request."""

    go: asyncio.Event
    receive: Any


class _Stock(HttpToolsProtocol):
    """uvicorn's own protocol, which tells the services only that it is there."""

    since = 0.0
    headless = idle = False

    def __init__(self, config: uvicorn.Config, state: ServerState, services: Services) -> None:
        super().__init__(config, state, {})
        self._services = services

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._services.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._services.closed(self)

    def check(self, now: float) -> None:
        pass

    def close_if_idle(self) -> None:
        self.shutdown()

    def close_at_once(self) -> None:
        self.transport.abort()

    def hold_reading(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass


def _config(app: Any) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        interface="asgi3",
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
    )
    config.load()
    return config


def _never(requests: int) -> None:
    raise AssertionError(f"{requests} requests found no room")


def _fail(exchange: Any) -> None:
    raise RuntimeError("secret of the endpoint")


def _full(exchange: Any) -> None:
    raise QueueFull("model 'm': Exceeds maximum queue size")


@contextlib.contextmanager
def rig(
    carrier: str = "lane",
    app: Callable[..., Any] | None = None,
    server: dict[str, Any] | None = None,
    offer: Callable[[socket.socket], bool] | None = None,
    guard: Guard | None = None,
    tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    **limits: Any,
) -> Iterator[Rig]:
    """A running server with these limits."""
    options = Limits(**limits), Server(**(server or {}))
    with Rig(*options, carrier, app, offer, guard, tls) as running:
        yield running


def request(
    method: str, path: str, body: bytes | None = None, *headers: str, version: str = "1.1"
) -> bytes:
    """The bytes of a request; `headers` are lines."""
    lines = [f"{method} {path} HTTP/{version}", "Host: test", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def post(path: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    return request("POST", path, body, *headers, version=version)


def chunked(path: str, *chunks: bytes, last: bool = True) -> bytes:
    """A request whose body comes in chunks."""
    head = request("POST", path, None, "Transfer-Encoding: chunked")
    pieces = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    return b"".join([head, *pieces, b"0\r\n\r\n" if last else b""])
