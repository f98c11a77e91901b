"""Who may call: keys go from the store to this process and the workers.

Knows the store's keys, the table that carries them, who says which limits they count against, and
that callers known by a certificate follow the same clock. Knows nothing of requests or uses. A
change that any process makes reaches every worker in a fraction of a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from gateway.access.keyring import Keyring
from gateway.access.principal import NO_ROW
from gateway.control.certificate_table import CertificateTable
from gateway.control.key_limits import groups_of
from gateway.control.key_values import Key
from gateway.control.keys import Changed, Keys
from gateway.control.store import Store
from gateway.control.tables import Tables
from gateway.errors import GatewayError

log = logging.getLogger("penstock.control")

# A revoked key is to stop within a second in every worker; looking costs microseconds.
LOOK_S = 0.2
# What expired is let go no more often than this.
LET_GO_S = 10.0
# Keys whose limits nobody could say are refused until somebody can.
RETRY_S = 1.0


class KeyTable:
    """Lives on control's event loop; `keyring` knows what workers know."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        keyring: Keyring,
        certificates: CertificateTable,
        tables: Tables | None,
        limited: Callable[[Mapping[str, Key]], Mapping[str, list[int]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Knows nobody yet.

        Args:
            store: the home's.
            keys: of the store.
            keyring: of this process.
            certificates: follow the same clock.
            tables: carries keys to the workers; None where they ask for none.
            limited: by digest, the rows of the limits that keys count against; on a thread.
            clock: seconds, monotonic.
        """
        self._limited = limited
        self._lacking = False  # keys that are in force without their limits
        self.keyring = keyring
        self.certificates = certificates
        self._store = store
        self._keys = keys
        self._tables = tables
        self._clock = clock
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
            since = None if now < before or self._lacking else self._version
            found = await asyncio.to_thread(self._keys.changed, since, before)
            await asyncio.to_thread(self._limit, found)
            self._looked_at = now
            self._follow(found, whole=since is None)
            await self.certificates.refresh()
            lacking = self._lacking or self.certificates.lacking
            self._due = self._clock() + (RETRY_S if lacking else LET_GO_S)

    def _limit(self, found: Changed) -> None:
        """Adds the rows of limits. Where nobody can say them, a key is in force all the same.

        Workers then refuse what counts against limits, and nothing else.
        """
        try:
            limited = self._limited(found.keys)
        except GatewayError as error:
            if not self._lacking:
                log.error("keys: limits are not in force: %s", error)
            limited = {digest: [NO_ROW] for digest in found.rows}
            self._lacking = True
        else:
            self._lacking = False
        for digest, rows in limited.items():
            found.rows[digest].append(rows)
            if not self._lacking:
                found.rows[digest].append(groups_of(found.keys[digest]))

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
        if seen != self._seen or self._clock() >= self._due:
            await self.refresh()
            self._seen = seen  # what changed since is another number at the next look
