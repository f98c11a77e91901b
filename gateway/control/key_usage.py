"""Which keys are used, by what workers count and what the control port sees.

Knows the counts by key and the names of keys. Knows nothing of who may do what.

Control's event loop owns what is kept; threads are given copies, and give back what they found.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping

from gateway.access.principal import TOKENS
from gateway.control.keys import Keys
from gateway.errors import GatewayError
from gateway.monitor.arena import Arena
from gateway.monitor.keys import OTHER, LastSeen, Series, Use, read_keys

COUNT_S = 1.0
# When keys were used is written down no more often than this.
WRITE_S = 10.0

Uses = list[tuple[tuple[str, str, str], float]]
"""Of each name of a key, model and version: requests, or seconds since 1970."""


class Usage:
    """Lives on control's event loop."""

    def __init__(self, arena: Arena, keys: Keys) -> None:
        self._arena = arena
        self._keys = keys
        self._last_seen = LastSeen(arena)
        self._unwritten: dict[int, float] = {}
        self._names: dict[int, str] = {TOKENS: "token", OTHER[0]: OTHER[1]}

    def know(self, names: Mapping[int, str]) -> None:
        """What callers that have no key are counted under, and what they are called."""
        self._names |= names

    def note(self, key: int) -> None:
        """A key was used on the control port."""
        self._note(key, time.time())

    def count(self) -> None:
        """Notes the keys that workers have seen."""
        for key, at in self._last_seen.news().items():
            self._note(key, at)

    def _note(self, key: int, at: float) -> None:
        if key > 0:  # no token, no certificate, not `other`
            self._unwritten[key] = max(at, self._unwritten.get(key, 0.0))

    async def keep_up(self) -> None:
        """Sees for a while which keys are used, and then writes it down.

        Raises:
            StoreFailed: it cannot be; it is the next time.
        """
        for _ in range(round(WRITE_S / COUNT_S)):
            self.count()
            await asyncio.sleep(COUNT_S)
        await self.write()

    async def close(self) -> None:
        """Writes down what is left."""
        self.count()
        with contextlib.suppress(GatewayError):  # a full disk keeps nobody from leaving
            await self.write()

    async def write(self) -> None:
        """Writes down when keys were last used.

        Raises:
            StoreFailed: they cannot be; they are the next time.
        """
        unwritten, self._unwritten = self._unwritten, {}
        if not unwritten:
            return
        try:
            await asyncio.to_thread(self._keys.used, unwritten)
        except BaseException:
            for key, at in unwritten.items():
                self._note(key, at)
            raise

    async def by_name(self, named_alone: bool = False) -> tuple[Uses, Uses]:
        """Requests, and when the last of them was seen, by the names that people gave.

        Keys that share one are added up.

        Args:
            named_alone: only requests that name the version.
        """
        uses, found = await asyncio.to_thread(self._read, dict(self._names), named_alone)
        self._names |= found
        return uses

    def _read(
        self, names: dict[int, str], named_alone: bool
    ) -> tuple[tuple[Uses, Uses], dict[int, str]]:
        """What all workers have counted, and the names that were not known; on a thread."""
        counts = read_keys(self._arena, named_alone)
        found: dict[int, str] = {}
        unknown = {key for key, _, _ in counts} - set(names)
        if unknown:
            with contextlib.suppress(GatewayError):  # counts are told even where the home is lost
                found = dict.fromkeys(unknown, OTHER[1]) | self._keys.names(unknown)
        return _added_up(counts, names | found), found


def _added_up(counts: Mapping[Series, Use], names: Mapping[int, str]) -> tuple[Uses, Uses]:
    totals: Counter[tuple[str, str, str]] = Counter()
    seen: dict[tuple[str, str, str], float] = {}
    for (key, model, version), use in counts.items():
        labels = (names.get(key, OTHER[1]), model, version)
        totals[labels] += use.requests
        if use.seen:
            seen[labels] = max(use.seen, seen.get(labels, 0.0))
    requests = [(labels, float(count)) for labels, count in sorted(totals.items())]
    return requests, sorted(seen.items())
