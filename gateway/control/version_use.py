"""Who named which version on which day: by key where keys are asked for, else all together.

Knows what workers have counted, and the store's table of days. Knows nothing of who may call. Who
names the model alone is no caller of a version: a route, an alias or a default led there.

Counts of the arena end with the server, and those of a version soon after it left; here they are
kept by day, so that whoever wants to retire a version is told who would miss it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.control.key_usage import Uses
from gateway.control.store import Store
from gateway.errors import GatewayError
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.report import named

WRITE_S = 30.0
KEPT_DAYS = 90
DAY_S = 86_400.0
ANYBODY = ""
"""The caller where nobody is asked who they are."""

Caller = tuple[str, int, str]
"""Model, version, and the name of a key."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A caller's requests so far, and when the last was (seconds since 1970)."""

    requests: int
    at: float


class VersionUse:
    """Lives on control's event loop; counts are read and written on threads."""

    def __init__(
        self,
        arena: Arena,
        store: Store,
        by_name: Callable[[], Awaitable[tuple[Uses, Uses]]] | None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: what workers count.
            store: keeps the days.
            by_name: requests that name a version by key, model and version, and when each was last
                seen; None: nobody is asked for a key.
            now: seconds since 1970.
        """
        self._arena = arena
        self._store = store
        self._by_name = by_name
        self._now = now
        self._written: dict[Caller, int] | None = None
        self._writing = asyncio.Lock()

    async def write(self) -> None:
        """Adds what was counted since to today.

        Raises:
            StoreFailed: it cannot be; it is the next time.
        """
        async with self._writing:
            seen = await self._counted()
            self._written = await asyncio.to_thread(self._write, seen, self._written)

    async def close(self) -> None:
        """Writes down what is left."""
        with contextlib.suppress(GatewayError):  # a full disk keeps nobody from leaving
            await self.write()

    async def of(self, model: str, version: int, days: int) -> Sequence[Mapping[str, Any]]:
        """Who called a version within so many days, the latest first: caller, requests, last, days.

        Raises:
            StoreFailed: the days cannot be read or written.
        """
        await self.write()
        return await asyncio.to_thread(self._read, model, version, days)

    async def _counted(self) -> Mapping[Caller, Seen]:
        if self._by_name is None:
            return await asyncio.to_thread(self._all_together)
        requests, seen = await self._by_name()
        last = dict(seen)
        return {
            (model, int(version), key): Seen(int(count), last.get((key, model, version), 0.0))
            for (key, model, version), count in requests
            if version.isdecimal()
        }

    def _all_together(self) -> Mapping[Caller, Seen]:
        found = {}
        for block in self._arena.blocks(layout.MODEL):
            name, version = layout.model_of(block.name)
            found[name, int(version), ANYBODY] = Seen(*named(self._arena, block))
        return found

    def _write(
        self, seen: Mapping[Caller, Seen], written: Mapping[Caller, int] | None
    ) -> dict[Caller, int]:
        boot, now = self._arena.boot_id, self._now()
        with self._store.write() as db:
            known = _known(db, boot) if written is None else dict(written)
            for caller, one in seen.items():
                before = known.get(caller, 0)
                # A version that left and came back after long counts from zero again.
                new = one.requests - before if one.requests >= before else one.requests
                if new:
                    at = one.at or now
                    day = time.strftime("%Y-%m-%d", time.gmtime(at))
                    db.execute(_ADD, (*caller, day, new, at, boot, one.requests))
                known[caller] = one.requests
            db.execute("DELETE FROM version_use WHERE day < ?", (_day(now, KEPT_DAYS),))
        return known

    def _read(self, model: str, version: int, days: int) -> Sequence[Mapping[str, Any]]:
        since = _day(self._now(), days)
        with self._store.read() as db:
            rows = db.execute(
                "SELECT caller, day, requests, seen FROM version_use"
                " WHERE model = ? AND version = ? AND day > ? ORDER BY day",
                (model, version, since),
            ).fetchall()
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            name = row["caller"]
            if name not in found:
                found[name] = {"caller": name or None, "requests": 0, "last": 0.0, "days": {}}
            one = found[name]
            one["requests"] += row["requests"]
            one["last"] = max(one["last"], row["seen"])
            one["days"][row["day"]] = row["requests"]
        return sorted(found.values(), key=lambda one: -one["last"])


_ADD = """
INSERT INTO version_use VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (model, version, caller, day) DO UPDATE SET
    requests = requests + excluded.requests,
    seen = MAX(seen, excluded.seen),
    boot = excluded.boot,
    total = excluded.total
"""


def _known(db: sqlite3.Connection, boot: int) -> dict[Caller, int]:
    """What a predecessor in the same server has written down."""
    rows = db.execute(
        "SELECT model, version, caller, total FROM version_use WHERE boot = ? ORDER BY day", (boot,)
    )
    return {(row[0], row[1], row[2]): row[3] for row in rows}


def _day(now: float, days: int) -> str:
    """The day that lies so many days back."""
    return time.strftime("%Y-%m-%d", time.gmtime(now - days * DAY_S))
