"""What all connections of one port share: endpoints, limits, counters, and the time by the sweep.

Knows which connections there are and how to ask each of them to look at its clock or to leave.
Knows nothing of bytes, parsing or models.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gateway.config import Limits, Server
from gateway.errors import GatewayError
from gateway.exchange import Endpoint, Header
from gateway.wire import answers
from gateway.wire.forwarded import TrustedProxies
from gateway.wire.guard import Guard
from gateway.wire.head import Head
from gateway.wire.lag import LagGuard
from gateway.wire.sweep import Sweep

if TYPE_CHECKING:
    from gateway.wire.turns import LaneStream

# Clients on kept-alive connections send the same head over and over. These bounds keep the memory
# of heads near a megabyte even when every request brings a new one.
MAX_HEADS = 512
MAX_HEAD_BYTES = 2048
# Of a connection whose client has shown a certificate: such heads are its own.
MAX_OWN_HEADS = 8
IDLE_CHECK_S = 0.05


Refusal = Callable[[GatewayError, bytes, bytes, bytes | None], tuple[bytes, Sequence[Header]]]
"""The body that tells of an error, and headers beside those that every error has: by the path that
was asked, empty where that is not known, by our name for the request, and by the client's."""


class ConnectionCounters(Protocol):
    """What connections count. The worker maps it onto the arena."""

    def opened(self) -> None:
        """A connection was accepted."""

    def closed(self) -> None:
        """A connection is no more."""

    def refused(self, code: str) -> None:
        """A request or connection was answered with this error."""

    def handshake_failed(self) -> None:
        """A connection ended before TLS was agreed upon."""

    def left(self) -> None:
        """A client left before its request was answered."""

    def paused(self) -> None:
        """The worker stopped reading because it was late."""

    def cut(self, reason: str) -> None:
        """A connection was ended without a word, for one of `monitor.layout.CUT_REASONS`."""


class Connection(Protocol):
    """What the sweep, the lag guard, draining and a full port ask of a connection.

    Attributes:
        since: when the client last did something; negative as long as it has sent nothing.
    """

    since: float

    @property
    def headless(self) -> bool:
        """Its client has not sent a whole request head yet."""

    @property
    def idle(self) -> bool:
        """It waits for its client, to whom nothing is owed."""

    def check(self, now: float) -> None:
        """Ends the connection, or its request, if it waited for the client too long."""

    def close_if_idle(self) -> None:
        """Closes the connection unless a request is on it."""

    def close_at_once(self) -> None:
        """Closes the connection, whatever is on it."""

    def hold_reading(self) -> bool:
        """Stops reading because the worker is late. False: it is idle and need not be held."""

    def resume_reading(self) -> None:
        """Reads again."""


@dataclass(slots=True, eq=False)
class Services:
    """One per worker, and one for the control port, which has no endpoints; see the module.

    Attributes:
        endpoints: by raw path; the worker changes it in place, or replaces it, with the plan.
        limits: bounds of what clients can make grow.
        server: keep-alive, half-closing clients, trusted proxies.
        counters: what connections count.
        guard: asks who sends a request; None where everybody may.
        request_id_prefix: of every penstock-request-id, `b"host-0-1-"`.
        identifies: somebody asks whose certificate a connection has, even where there is no guard.
        refusal: what tells of an error that no endpoint or application answers with.
        idle_yield: where the port is full, an idle connection is ended for a new one.
        draining: answers carry `Connection: close` and are the last on their connection.
        now: `time.perf_counter` as of the last sweep: good enough for time-outs, and free.
        buffered_bytes: held at the moment: bodies, tensors of large ones, answers yet to be read.
        connections: all that are open.
        opening: how many are accepted and not yet open.
        newcomers: connections that may not have sent a whole head yet, oldest first, and what ends
            each of them. Who has sent one is let go when a place is wanted: nothing per request.
        heads: recently seen heads of requests to endpoints, by their bytes up to the empty line.
        alike: the same, by what stands around the length that they name; apart, since many lengths
            would drive out all heads.
        unwritten: streams that hold something until the turn of the loop is over.
    """

    endpoints: dict[bytes, Endpoint]
    limits: Limits
    server: Server
    counters: ConnectionCounters
    guard: Guard | None = None
    request_id_prefix: bytes = b""
    identifies: bool = False
    refusal: Refusal = answers.refusal
    idle_yield: bool = False
    draining: bool = False
    now: float = field(default_factory=time.perf_counter)
    buffered_bytes: int = 0
    connections: set[Connection] = field(default_factory=set)
    opening: int = 0
    newcomers: OrderedDict[Connection, Callable[[], None]] = field(default_factory=OrderedDict)
    heads: dict[bytes, Head] = field(default_factory=dict)
    alike: dict[tuple[bytes, bytes], Head] = field(default_factory=dict)
    unwritten: list[LaneStream] = field(default_factory=list)
    sequence: Iterator[int] = field(default_factory=itertools.count)
    trusted: TrustedProxies = field(init=False)
    sweep: Sweep = field(init=False)
    lag: LagGuard = field(init=False)
    _on_empty: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        """Makes the collaborators that follow from the configuration."""
        self.trusted = TrustedProxies(self.server.trusted_proxies)
        self.sweep = Sweep(self)
        self.lag = LagGuard(self)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the two timers: the sweep over time-outs and the lag guard."""
        self.sweep.start(loop)
        self.lag.start(loop)

    def stop(self) -> None:
        """Stops both timers."""
        self.sweep.stop()
        self.lag.stop()

    @property
    def crowded(self) -> bool:
        """The worker holds more bytes than it may: large answers are not added to them."""
        return self.buffered_bytes > self.limits.max_buffered_bytes

    def new_request_id(self) -> bytes:
        """A request id for what never became an exchange."""
        return b"%b%x" % (self.request_id_prefix, next(self.sequence))

    def opened(self, connection: Connection) -> None:
        """A connection begins."""
        self.connections.add(connection)
        self.newcomers.setdefault(connection, connection.close_at_once)
        if self.opening:  # none where somebody else than our acceptor accepts
            self.opening -= 1
        self.counters.opened()

    def never_opened(self, connection: Connection) -> None:
        """A connection was lost before it began."""
        self.opening -= 1
        self.newcomers.pop(connection, None)
        self.check_empty()

    def closed(self, connection: Connection) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        self.newcomers.pop(connection, None)
        self.counters.closed()
        self.check_empty()

    def make_room(self) -> bool:
        """Ends a connection that nobody would miss, for a new one; False where there is none.

        Else whoever opens as many as there may be and says nothing keeps everybody out. The oldest
        of those without a head goes, so that a client has the time of a whole siege to send one.
        """
        while self.newcomers:
            connection, end = self.newcomers.popitem(last=False)
            if connection.headless:
                break
        else:
            idle = [one for one in self.connections if one.idle] if self.idle_yield else []
            if not idle:
                return False
            end = min(idle, key=lambda one: one.since).close_at_once
        self.counters.cut("displaced")
        end()
        return True

    def check_empty(self) -> None:
        """Tells whoever waits for the end, if this is it."""
        if self._on_empty is not None and not self.connections and not self.opening:
            on_empty, self._on_empty = self._on_empty, None
            on_empty()

    def begin_draining(self) -> None:
        """From now on every answer is the last on its connection."""
        self.draining = True

    def finish(self, on_empty: Callable[[], None]) -> None:
        """Closes idle connections, the others after their answers; calls back when none is left."""
        self.draining = True
        self._on_empty = on_empty
        self.check_empty()
        self._close_idle_later()

    def _close_idle_later(self) -> None:
        if self._on_empty is not None:
            asyncio.get_running_loop().call_later(IDLE_CHECK_S, self._close_idle)

    def _close_idle(self) -> None:
        for connection in tuple(self.connections):
            connection.close_if_idle()
        self._close_idle_later()

    def abort(self) -> None:
        """Closes every connection now; requests on them are lost."""
        for connection in tuple(self.connections):
            self.counters.cut("drain")
            connection.close_at_once()
