"""One stream of requests over its own keep-alive connections, in an open or a closed loop.

Knows sockets, HTTP answers and when a request was due. Knows nothing of processes, of several
streams, or of what the answers mean.

Open loop: requests are due on a schedule, whatever the server does. One that finds no free
connection waits for one, and its latency still counts from the moment it was due; measured from
the moment of sending, the wait of everybody behind a stall would be left out (coordinated
omission).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from time import perf_counter
from typing import Any, Literal

import httptools

from loadtest.schedule import Arrivals, arrivals
from loadtest.tally import Tally

REQUEST_ID = b"penstock-request-id"
# libuv's timers count in milliseconds; the last stretch before an arrival is spent polling.
TIMER_S = 0.002
SWEEP_S = 0.05
RECONNECT_S = 0.01


@dataclass(frozen=True)
class Stream:
    """What to send, where, and how often.

    Attributes:
        pool: file of bodies (bodies.py), sent in turn.
        mode: `open` at `rate` per second, `closed` (each connection sends when answered), or `idle`
            (each connection sends one request before the start, then keeps silent).
        max_requests: no more than these, however long the run.
        hang_up: share of requests whose client leaves: half of them in the middle of the body.
        identify: notes which server process answered (by the request id's prefix).
    """

    name: str
    port: int
    target: str
    pool: str
    host: str = "127.0.0.1"
    headers: dict[str, str] = field(default_factory=dict)
    mode: Literal["open", "closed", "idle"] = "closed"
    connections: int = 32
    rate: float = 0.0
    arrivals: Arrivals = "poisson"
    seed: int = 1
    timeout_s: float = 10.0
    max_requests: int = 50_000_000
    hang_up: float = 0.0
    identify: bool = False


def render(stream: Stream, body: bytes) -> bytes:
    """The bytes of one request."""
    headers = {"Host": f"{stream.host}:{stream.port}", "Content-Length": str(len(body))}
    lines = [f"POST {stream.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (headers | stream.headers).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request out."""

    __slots__ = ("flow", "intended", "leaving", "parser", "sent", "transport", "who")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.intended = 0.0  # when the request that is out was due; 0: none is out
        self.sent = 0.0
        self.who = ""
        self.leaving = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)
        self.flow.joined(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.flow.answered_badly(self)

    def on_message_complete(self) -> None:
        now = perf_counter()
        intended, self.intended = self.intended, 0.0
        if not intended:  # a farewell such as 408, or the answer to a request that we left
            return
        status = self.parser.get_status_code()
        flow = self.flow
        if status == 200:
            flow.record(now - intended)
        else:
            flow.tally.other(status, now - intended)
        if self.parser.should_keep_alive():
            flow.free(self, now)
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.flow.lost(self)


class Identified(Connection):
    """Also notes who answered."""

    __slots__ = ()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == REQUEST_ID:
            self.who = value.rpartition(b"-")[0].decode()

    def on_message_complete(self) -> None:
        if self.intended:
            now = perf_counter()
            seen = self.flow.tally.seen.setdefault(self.who, [now, now, 0])
            seen[1] = now
            seen[2] += 1
        super().on_message_complete()


class Flow:
    """Runs one stream. Owned by its event loop; nothing here may be shared with another thread."""

    def __init__(self, stream: Stream, bodies: list[bytes], spin: bool) -> None:
        self.stream = stream
        self.loop = asyncio.get_running_loop()
        self.next_request = cycle([render(stream, body) for body in bodies]).__next__
        self.random = Random(stream.seed)
        self.free: Callable[[Connection, float], None] = {
            "open": self._free_open,
            "closed": self._free_closed,
            "idle": self._free_idle,
        }[stream.mode]
        # For polling the last stretch; without it an arrival is up to a millisecond late.
        self.spin = spin
        self.connections: set[Connection] = set()
        self.idle: deque[Connection] = deque()
        self.pending: deque[float] = deque()
        self.left = stream.max_requests
        self.running = False
        self.closing = False
        self.schedule: Iterator[float] = iter(())
        self.started = self.due = 0.0
        self.in_window = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.reset()

    # ------------------------------------------------------------ phases

    async def connect(self) -> None:
        """Opens the connections; an idle stream's have been answered once when this returns."""
        for _ in range(0, self.stream.connections, 64):
            missing = min(64, self.stream.connections - len(self.connections))
            await asyncio.gather(*(self._connect() for _ in range(missing)))
        if self.stream.mode == "idle":
            for connection in list(self.connections):
                self._send(connection, perf_counter())
            end = perf_counter() + self.stream.timeout_s
            while self.out() and perf_counter() < end:  # noqa: ASYNC110 - before the clock runs
                await asyncio.sleep(0.005)

    def start(self, seconds: float) -> None:
        """Begins to send, for so many seconds."""
        self.running, self.started = True, perf_counter()
        if self.stream.mode == "open":
            kind, seed = self.stream.arrivals, self.stream.seed
            self.schedule = arrivals(self.stream.rate, kind, seed, seconds)
            self._next_arrival()
            self._dispatch()
        elif self.stream.mode == "closed":
            for connection in list(self.connections):
                self._free_closed(connection, perf_counter())

    def reset(self) -> None:
        """Forgets what was counted so far (the warm-up); requests that are out count as sent."""
        self.tally = Tally(sent=self.out())
        self.record = self.tally.ok.append

    def stop(self) -> None:
        """Sends nothing new; what was due and waits is still sent."""
        self.running = False
        self.in_window = len(self.tally.ok)
        self.tally.open = len(self.connections)

    def out(self) -> int:
        return sum(1 for connection in self.connections if connection.intended)

    def spent(self) -> bool:
        """Whether there is nothing left to send or to wait for."""
        return self.stream.mode == "idle" or (self.left <= 0 and not self.busy())

    def busy(self) -> bool:
        return bool(self.pending) or self.out() > 0

    def close(self) -> None:
        """Gives up on what is still out and closes every connection."""
        self.closing, now = True, perf_counter()
        for connection in self.connections:
            if connection.intended:
                self.tally.timeouts += 1
                self.tally.never.append(now - connection.intended)
                connection.intended = 0.0
            connection.transport.abort()
        self.tally.unsent = len(self.pending)
        self.tally.never.extend(now - due for due in self.pending)

    def sweep(self) -> None:
        """Leaves requests that have been out too long."""
        now = perf_counter()
        for connection in list(self.connections):
            if connection.intended and now - connection.sent > self.stream.timeout_s:
                self.tally.timeouts += 1
                self.tally.never.append(now - connection.intended)
                connection.intended = 0.0
                connection.transport.abort()

    # ------------------------------------------------------------ sending

    def _send(self, connection: Connection, intended: float) -> None:
        connection.intended = intended
        connection.sent = perf_counter()
        self.tally.sent += 1
        self.left -= 1
        request = self.next_request()
        if self.stream.hang_up and self.random.random() < self.stream.hang_up:
            self._hang_up(connection, request)
        else:
            connection.transport.write(request)

    def _hang_up(self, connection: Connection, request: bytes) -> None:
        whole = self.random.random() < 0.5
        connection.transport.write(request if whole else request[: -len(request) // 3])
        connection.intended, connection.leaving = 0.0, True
        self.tally.hang_ups += 1
        # Some leave before the server has read, some while it computes; some abruptly.
        leave = self.random.choice([connection.transport.abort, connection.transport.close])
        self.loop.call_later(self.random.random() * 0.003, leave)

    def _free_closed(self, connection: Connection, now: float) -> None:
        if self.running and self.left > 0:
            self._send(connection, now)

    def _free_open(self, connection: Connection, now: float) -> None:
        if self.pending:
            self._send(connection, self.pending.popleft())
        else:
            self.idle.append(connection)

    def _free_idle(self, connection: Connection, now: float) -> None:
        """Keeps silent from now on."""

    def _next_arrival(self) -> None:
        self.due = self.started + next(self.schedule, float("inf"))

    def _dispatch(self) -> None:
        now = perf_counter()
        while self.due <= now and self.left > 0:
            if now - self.due > 1e-3:
                self.tally.late += 1
            if self.idle:
                self._send(self.idle.popleft(), self.due)
            else:
                self.pending.append(self.due)
            self._next_arrival()
        if self.due == float("inf") or self.left <= 0:
            return
        wait = self.due - now
        if wait > TIMER_S or not self.spin:
            self.loop.call_later(max(wait - TIMER_S / 2 * self.spin, 1e-3), self._dispatch)
        else:
            # A server on the same core, as a provider behind a gateway, is not to wait for a slice.
            os.sched_yield()
            self.loop.call_soon(self._dispatch)

    # ------------------------------------------------------------ connections

    async def _connect(self) -> None:
        kind = Identified if self.stream.identify else Connection
        while not self.closing:
            try:
                await self.loop.create_connection(
                    lambda: kind(self), self.stream.host, self.stream.port
                )
                return
            except OSError:
                self.tally.connect_errors += 1
                await asyncio.sleep(RECONNECT_S)

    def joined(self, connection: Connection) -> None:
        self.connections.add(connection)
        if self.closing:
            connection.transport.abort()
        elif self.stream.mode == "open" or self.running:
            self.free(connection, perf_counter())

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if connection.intended:
            connection.intended = 0.0
            self.tally.cut += 1
            self.tally.cut_at[connection.who] = self.tally.cut_at.get(connection.who, 0) + 1
        if not self.closing and self.stream.mode != "idle":
            self.tally.reconnects += 1
            task = self.loop.create_task(self._connect())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def answered_badly(self, connection: Connection) -> None:
        """What came is not HTTP; the request that was out counts as answered badly."""
        if connection.intended:
            connection.intended = 0.0
            self.tally.bad_answers += 1
        connection.transport.abort()
