"""What is said of a provider's address, of a request to it and of how that ends.

Knows no sockets: this is what the rest of the gateway sees of the room, and hands into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gateway.errors import GatewayError
from gateway.exchange import Header

Body = bytes | Sequence[bytes | memoryview]
"""Of a request: all of it, or pieces that are sent one after the other."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy on the way.

    Attributes:
        host: its name or address.
        port: where it listens.
        authorization: the value of `Proxy-Authorization`; empty: it asks for none.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """A server that answers, and how it is reached. Equal ones share their connections.

    Attributes:
        scheme: `http` or `https`.
        host: its name or address, without brackets.
        port: where it listens.
        ca_file: who may have signed its certificate; None: whom the machine trusts.
        allow_private: its address may be one of a private network, or of this machine.
        proxy: goes between; with https it sees a tunnel and nothing in it.
        max_connections: at once. Further requests wait in line.
    """

    scheme: str
    host: str
    port: int
    ca_file: Path | None = None
    allow_private: bool = False
    proxy: Proxy | None = None
    max_connections: int = 1000
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        values = (self.scheme, self.host, self.port, self.ca_file, self.allow_private, self.proxy)
        object.__setattr__(self, "_hash", hash(values))

    def __hash__(self) -> int:
        return self._hash  # it is looked up by every request

    @property
    def authority(self) -> str:
        """Host and port, as `Host` and `CONNECT` tell them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long what may take, seconds.

    Attributes:
        connect_s: from asking until there is a connection, the wait in line included.
        first_byte_s: from the last byte of the request to the head of the answer.
        idle_s: between two pieces of the answer, and of the request where the upstream reads
            slowly. While the answer is paused it does not count.
        total_s: for all of it.
    """

    connect_s: float = 5.0
    first_byte_s: float = 300.0
    idle_s: float = 60.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What cannot grow beyond which size.

    Attributes:
        max_waiting: requests in line for a connection, per origin, beside those that one is being
            made for.
        max_head_bytes: of an answer's head; and of what may come between two pieces of its body.
            What one read brings, at most 256 KiB, is taken as it is.
        max_headers: of an answer.
        keep_alive_s: for how long a connection is kept that nobody uses.
    """

    max_waiting: int = 1000
    max_head_bytes: int = 65_536
    max_headers: int = 200
    keep_alive_s: float = 60.0


@dataclass(slots=True)
class Counters:
    """What happened so far.

    Attributes:
        opened: connections made.
        reused: requests that found one which was there.
        resent: requests whose kept-alive connection died under them, and which were sent again.
        failed: requests that did not get their whole answer, but those that were cancelled.
        cancelled: requests whose caller left.
        unfit: connections closed because their upstream broke the protocol on them.
    """

    opened: int = 0
    reused: int = 0
    resent: int = 0
    failed: int = 0
    cancelled: int = 0
    unfit: int = 0


class Sink(Protocol):
    """Takes an answer. Exactly one of `on_end` and `on_failure` is called, last.

    Neither is called for a request that was cancelled, and nothing before `send` has returned.
    """

    __slots__ = ()

    def on_head(self, status: int, headers: Sequence[Header]) -> None:
        """Status, and headers with names in lower case; before any data."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body without its framing, as it came."""

    def on_end(self) -> None:
        """The whole answer came."""

    def on_failure(self, error: GatewayError, *, sent: bool, answered: bool) -> None:
        """It did not.

        Args:
            error: UpstreamFailed, UpstreamTimedOut, UpstreamsExhausted or Draining.
            sent: bytes of the request may have reached the upstream.
            answered: at least one byte came back.
        """


class Sending(Protocol):
    """A request that is under way.

    Attributes:
        sink: who is told what comes from now on.
    """

    __slots__ = ("sink",)

    sink: Sink

    @property
    def sent(self) -> bool:
        """Bytes of it may have reached the upstream."""

    def cancel(self) -> None:
        """The caller left: nothing more is told, and the connection is closed at once."""

    def pause(self) -> None:
        """Takes no more of the answer; what has been read is not held back."""

    def resume(self) -> None:
        """Goes on."""
