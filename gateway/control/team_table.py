"""Teams that tokens of an identity provider may name: their rows of limits, to the workers.

Knows the names of teams, the table that carries them, and who says which row is whose. Knows
nothing of tokens or of what is spent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256

from gateway.access.principal import NO_ROW
from gateway.control.tables import Tables
from gateway.errors import GatewayError

TABLE = "teams"


class TeamTable:
    """Lives on control's event loop."""

    def __init__(
        self,
        named: Callable[[], Iterable[str]],
        limited: Callable[[Iterable[str]], Mapping[str, int]],
        tables: Tables,
    ) -> None:
        """Knows no team yet.

        Args:
            named: those that the document in force names.
            limited: the row of each; called on a thread.
            tables: carries them to the workers.
        """
        self._named = named
        self._limited = limited
        self._tables = tables
        self._rows: dict[str, int] | None = None

    @property
    def limited(self) -> set[int]:
        """The rows that tokens count against; may be asked on any thread."""
        return set((self._rows or {}).values())

    async def look(self) -> None:
        """Brings workers to what is in force now.

        Raises:
            StoreFailed, ArenaFull: nobody can say the limits of teams that are new, and workers
                refuse what counts against these; it is tried again.
        """
        names = tuple(self._named())
        known = self._rows or {}
        try:
            rows = dict(await asyncio.to_thread(self._limited, names))
        except GatewayError:
            self._follow({name: known.get(name, NO_ROW) for name in names})
            raise
        self._follow(rows)

    def _follow(self, rows: dict[str, int]) -> None:
        if rows == self._rows:
            return
        before, self._rows = self._rows or {}, rows
        # By content, so that a successor of this process names the same teams the same.
        version = int.from_bytes(sha256(repr(sorted(rows.items())).encode()).digest()[:6])
        changed = {name: row for name, row in rows.items() if before.get(name) != row}
        dropped = [name for name in before if name not in rows]
        self._tables.publish(TABLE, version, changed, dropped)
