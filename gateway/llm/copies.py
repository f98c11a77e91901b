"""Has the shadows of a route asked what was answered: copies, whose answers nobody gets.

Knows routes' shadows and how many copies may be under way. Knows nothing of how an upstream is
asked (`journey`), or of what is made of the answers: they are watched as those of their version,
and held against what was answered (`pairs`).

A copy begins once its request was answered. It costs what it costs, and no caller's budget; what
cannot be had at once is dropped, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from gateway.exchange import JSON_TYPE, Header, Model, Phases, Stream
from gateway.llm.deployment import LlmDeployment
from gateway.llm.names import Chosen, Named
from gateway.llm.pairs import Pair, Pairs
from gateway.llm.proxy import Proxy
from gateway.llm.relay import AnswerTooLarge
from gateway.llm.told import Happened
from gateway.wire.llm.words import Dialect

# Of copies in one worker, from the answer to the comparison: each holds its request, what was
# answered and what has come of the shadow's answer, and at first a connection of its upstream's.
MAX_UNDER_WAY: Final = 256
MAX_BYTES: Final = 32 << 20
# A shadow may say more than was answered: reasoning, say. What is so much more has no end.
MORE_TIMES: Final = 4
MORE_BYTES: Final = 4 << 20
_NOTHING_SAID: Final[Mapping[str, Any]] = {}


class Copies:
    """Lives on a worker's event loop.

    Attributes:
        under_way: copies right now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        proxies: Mapping[Dialect, Proxy],
        pairs: Pairs,
        random: Random,
    ) -> None:
        """Begins with none.

        Args:
            loop: the worker's.
            proxies: what asks in each dialect.
            pairs: count what comes of copies.
            random: draws who is copied.
        """
        self._loop = loop
        self._proxies = proxies
        self._pairs = pairs
        self._random = random
        self._bytes = 0
        self.under_way = 0

    def answered(self, named: Named, answered: Chosen, exchange: Any, happened: Happened) -> None:
        """A request was answered: has those shadows asked that are drawn for it."""
        spoken, relay, by = happened.spoken, happened.relay, answered.deployment
        if spoken is None or relay is None or spoken.client is Dialect.COUNT:
            return
        size = len(exchange.body) + relay.size
        for shadow, share in named.shadows:
            pair = self._pairs.find(named.name, by.version, shadow.version)
            if pair is None or shadow is by or self._random.random() >= share:
                continue
            room = self.under_way < MAX_UNDER_WAY and self._bytes + size <= MAX_BYTES
            pair.drawn(asked=room)
            if not room:
                continue
            self.under_way += 1
            self._bytes += size
            most = MORE_TIMES * relay.came + MORE_BYTES
            copied = Copied(exchange, by, happened, pair, size, most, self)
            proxy = self._proxies[spoken.client]
            self._loop.call_soon(proxy.copy, copied, happened.call, happened.values, Chosen(shadow))

    def keep(self, size: int) -> bool:
        """Whether there is room for so many bytes more; then they are kept."""
        if self._bytes + size > MAX_BYTES:
            return False
        self._bytes += size
        return True

    def done(self, size: int) -> None:
        """Nobody needs a copy any more, of which so many bytes were kept."""
        self.under_way -= 1
        self._bytes -= size


class Copied:
    """Stands in for the exchange of a request: whatever is answered, nobody gets it.

    Attributes:
        by: the version that answered the request.
        answered: what happened to that.
        parameters: what it says of itself.
    """

    method = b"POST"
    query = b""
    gone = False
    client = ""

    def __init__(
        self,
        exchange: Any,
        by: LlmDeployment,
        answered: Happened,
        pair: Pair,
        size: int,
        most: int,
        copies: Copies,
    ) -> None:
        """Copies a request.

        Args:
            exchange: of it.
            by: the version that answered it.
            answered: what happened to it.
            pair: of that version and the one that is asked now.
            size: bytes that are kept of both.
            most: bytes that its own answer may have.
            copies: knows what room there is.
        """
        self.path: bytes = exchange.path
        self.headers: Sequence[Header] = exchange.headers
        self.body: bytes = exchange.body
        self.arrived: float = exchange.arrived
        self.sequence: int = exchange.sequence
        self.head = exchange.head
        self.request_id: bytes = exchange.request_id
        self.about: dict[str, str] = {**exchange.about, "copy": "yes"}
        self.by = by
        self.answered = answered
        metadata = answered.values.get("metadata")
        self.parameters = metadata if isinstance(metadata, dict) else _NOTHING_SAID
        self._pair = pair
        self._size = size
        self._most = size + most
        self._copies = copies
        self._crowded = False

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

    def take(self, size: int) -> None:
        """So many bytes more of its answer came.

        Raises:
            AnswerTooLarge: they are not kept: it is much longer than what was answered, or there
                is no room for it.
        """
        if self._size + size > self._most:
            raise AnswerTooLarge("a shadow's answer is much longer than the one that was given")
        if not self._copies.keep(size):
            self._crowded = True
            raise AnswerTooLarge("there is no room for more answers of shadows")
        self._size += size

    def over(self, said: Happened) -> None:
        """Whoever was asked has answered, or has not."""
        if said.result == "ok":
            self._pair.answers(self, said)
        elif self._crowded:
            self._pair.crowded_out(self)
        else:
            self._pair.failed(self, at_fault=said.at_fault)

    def done(self) -> None:
        """Nobody needs it any more."""
        self._copies.done(self._size)


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
