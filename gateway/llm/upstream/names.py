"""What names stand for, asked off the loop and remembered for a while.

Knows the system's resolver. Knows nothing of which addresses are allowed, or of connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain, zip_longest

from gateway.errors import UpstreamFailed

# Providers move; a connection is kept for longer than this anyway.
REMEMBERED_S = 30.0
MAX_REMEMBERED = 256

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host, as text, in the order in which they are to be tried; raises OSError."""


def system(loop: asyncio.AbstractEventLoop) -> LookUp:
    """The system's resolver, on a thread of the loop's."""

    async def look_up(host: str, port: int) -> Sequence[str]:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(address[0]) for _, _, _, _, address in found]

    return look_up


class Names:
    """Remembers what was looked up. Who asks while somebody does waits for the same answer."""

    def __init__(
        self, look_up: LookUp, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]
    ) -> None:
        self._look_up = look_up
        self._loop = loop
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """Of a host, families by turns.

        Raises:
            UpstreamFailed: it has none.
        """
        known = self._known.get(host)
        if known is not None and self._clock() < known[0]:
            return known[1]
        task = self._asked.get(host)
        if task is None:
            task = self._asked[host] = self._loop.create_task(self._ask(host, port))
            task.add_done_callback(partial(self._was_asked, host))
        # Whoever asked first may be cancelled; the others still wait.
        return await asyncio.shield(task)

    def _was_asked(self, host: str, task: asyncio.Task[list[str]]) -> None:
        del self._asked[host]
        if not task.cancelled():
            task.exception()  # is seen, though all who waited for it may have left

    async def _ask(self, host: str, port: int) -> list[str]:
        try:
            found = list(dict.fromkeys(await self._look_up(host, port)))
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name may have
            raise UpstreamFailed(f"{host}: no address: {error}") from error
        if not found:
            raise UpstreamFailed(f"{host}: no address")
        found = _families_by_turns(found)
        self._known[host] = (self._clock() + REMEMBERED_S, found)
        self._known.move_to_end(host)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return found

    def forget(self, host: str) -> None:
        """None of its addresses answered: they may have changed."""
        self._known.pop(host, None)

    def close(self) -> None:
        """Asks no more."""
        for task in self._asked.values():
            task.cancel()


def _families_by_turns(addresses: Sequence[str]) -> list[str]:
    """Where one family leads nowhere, the second attempt is of the other."""
    first_has_colon = ":" in addresses[0]
    first = [a for a in addresses if (":" in a) is first_has_colon]
    second = [a for a in addresses if (":" in a) is not first_has_colon]
    return [a for a in chain.from_iterable(zip_longest(first, second)) if a is not None]
