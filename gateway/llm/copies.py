"""Has the shadows of a route asked what was answered: copies, whose answers nobody gets.

Knows routes' shadows and how many copies may be under way. Knows nothing of how an upstream is
asked (`journey`), or of what is made of the answers: they are watched as those of their version.

A copy begins once its request was answered. It costs what it costs, and no caller's budget; what
cannot be had at once is dropped, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from gateway.exchange import JSON_TYPE, Header, Model, Phases, Stream
from gateway.llm.names import Chosen, Named
from gateway.llm.proxy import Proxy
from gateway.llm.told import Happened
from gateway.wire.llm.words import Dialect

# Of copies in one worker: each holds its request, and a connection of its upstream's.
MAX_UNDER_WAY: Final = 256
MAX_BYTES: Final = 32 << 20


class Copies:
    """Lives on a worker's event loop.

    Attributes:
        made: copies, so far.
        dropped: that were not, since too many were under way.
        under_way: right now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        proxies: Mapping[Dialect, Proxy],
        random: Random,
    ) -> None:
        """Takes the worker's loop, what asks in each dialect, and what draws who is copied."""
        self._loop = loop
        self._proxies = proxies
        self._random = random
        self._bytes = 0
        self.made = self.dropped = self.under_way = 0

    def answered(self, named: Named, answered: Chosen, exchange: Any, happened: Happened) -> None:
        """A request was answered: has those shadows asked that are drawn for it."""
        spoken = happened.spoken
        if spoken is None:
            return
        for shadow, share in named.shadows:
            if shadow is answered.deployment or self._random.random() >= share:
                continue
            size = len(exchange.body)
            if self.under_way >= MAX_UNDER_WAY or self._bytes + size > MAX_BYTES:
                self.dropped += 1
                continue
            self.made += 1
            self.under_way += 1
            self._bytes += size
            copied = Copied(exchange, self._done)
            proxy = self._proxies[spoken.client]
            self._loop.call_soon(proxy.copy, copied, happened.call, happened.values, Chosen(shadow))

    def _done(self, size: int) -> None:
        self.under_way -= 1
        self._bytes -= size


class Copied:
    """Stands in for the exchange of a request: whatever is answered, nobody gets it."""

    method = b"POST"
    query = b""
    gone = False
    client = ""

    def __init__(self, exchange: Any, done: Callable[[int], None]) -> None:
        self.path: bytes = exchange.path
        self.headers: Sequence[Header] = exchange.headers
        self.body: bytes = exchange.body
        self.arrived: float = exchange.arrived
        self.sequence: int = exchange.sequence
        self.head = exchange.head
        self.request_id: bytes = exchange.request_id
        self.about: dict[str, str] = {**exchange.about, "copy": "yes"}
        self._done = done

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        return next((value for one, value in self.headers if one == name), None)

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Nobody waits, so nobody leaves."""

    def note_phases(self, phases: Phases) -> None:
        """Nobody asks."""

    def note_model(self, model: Model) -> None:
        """Nobody asks."""

    def note_generation(self, happened: object) -> None:
        """Nobody asks."""

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Goes nowhere."""

    def stream(self, status: int, headers: Sequence[Header] = ()) -> Stream:
        """Goes nowhere."""
        return _NOWHERE

    def over(self) -> None:
        """The copy is done with."""
        self._done(len(self.body))


class _Nowhere(Stream):
    """The end of a stream that nobody reads."""

    __slots__ = ()

    @property
    def gone(self) -> bool:
        return False

    def write(self, data: bytes) -> bool:
        return True

    def on_drain(self, callback: Callable[[], None]) -> None:
        callback()

    def end(self) -> None:
        pass


_NOWHERE: Final = _Nowhere()
