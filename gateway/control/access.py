"""Who may call, as control keeps it: keys go from the store to the workers, uses come back.

Knows the store's keys, the table that carries them, the counts by key, and that callers known by a
certificate follow the same clock. Knows nothing of requests. A change that any process makes
reaches every worker in a fraction of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping

from gateway.access.keyring import Keyring
from gateway.access.principal import TOKENS
from gateway.control.certified import Certified
from gateway.control.keys import Changed, Keys
from gateway.control.store import Store
from gateway.control.tables import Tables
from gateway.errors import GatewayError
from gateway.monitor.arena import Arena
from gateway.monitor.keys import OTHER, LastSeen, read_keys

# A revoked key is to stop within a second in every worker; looking costs microseconds.
LOOK_S = 0.2
COUNT_S = 1.0
# What expired is let go, and when keys were used is written down, no more often than this.
WRITE_S = 10.0

Uses = list[tuple[tuple[str, str, str], float]]
"""Of each name of a key, model and version: requests, or seconds since 1970."""


class Access:
    """Lives on control's event loop; `keyring` knows what workers know."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        keyring: Keyring,
        certified: Certified,
        tables: Tables | None,
    ) -> None:
        """`tables` carries keys to the workers; None where they ask for none."""
        self.keyring = keyring
        self.certified = certified
        self._store = store
        self._keys = keys
        self._tables = tables
        self._version: int | None = None
        self._looked_at = 0.0  # by the clock that keys expire by
        self._due = 0.0  # monotonic
        self._seen = -1
        self._refreshing = asyncio.Lock()

    async def refresh(self) -> None:
        """Brings everybody to what the store says now."""
        async with self._refreshing:
            now, before = time.time(), self._looked_at
            # Of a clock that was set back everything is asked: what had expired may be good again.
            since = None if now < before else self._version
            found = await asyncio.to_thread(self._keys.changed, since, before)
            self._looked_at, self._due = now, time.monotonic() + WRITE_S
            self._follow(found, whole=since is None)
            await self.certified.refresh()

    def _follow(self, found: Changed, whole: bool) -> None:
        rows, dropped = found.rows, found.dropped
        if whole:
            dropped = [one for one in self.keyring.digests if one not in rows]
        if rows or dropped:
            self.keyring.change(rows, dropped)
        if self._tables is not None and (whole or found.version != self._version or dropped):
            self._tables.publish("keys", found.version, rows, dropped)
        self._version = found.version

    async def look(self) -> None:
        """Refreshes if anybody has changed the store, or if it is time to let go what expired."""
        seen = self._store.data_version()
        if seen != self._seen or time.monotonic() >= self._due:
            await self.refresh()
            self._seen = seen  # what changed since is another number at the next look


class Usage:
    """Which keys are used, by what workers count and what the control port sees."""

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

    def write(self) -> None:
        """Writes down when keys were last used; what fails is written the next time."""
        unwritten = dict(self._unwritten)
        if unwritten:
            self._keys.used(unwritten)
        for key, at in unwritten.items():
            if self._unwritten.get(key) == at:  # not used again meanwhile
                del self._unwritten[key]

    def by_name(self) -> tuple[Uses, Uses]:
        """Requests, and when the last of them was seen, by the names that people gave.

        Keys that share one are added up.
        """
        counts = read_keys(self._arena)
        unknown = {key for key, _, _ in counts} - set(self._names)
        if unknown:
            with contextlib.suppress(GatewayError):  # counts are told even where the home is lost
                self._names |= dict.fromkeys(unknown, OTHER[1]) | self._keys.names(unknown)
        totals: Counter[tuple[str, str, str]] = Counter()
        seen: dict[tuple[str, str, str], float] = {}
        for (key, model, version), use in counts.items():
            labels = (self._names.get(key, OTHER[1]), model, version)
            totals[labels] += use.requests
            if use.seen:
                seen[labels] = max(use.seen, seen.get(labels, 0.0))
        requests = [(labels, float(count)) for labels, count in sorted(totals.items())]
        return requests, sorted(seen.items())
