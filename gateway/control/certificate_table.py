"""Callers known by a certificate: from the configuration in force to this process and the workers.

Knows one section of the document and the table that carries it. Knows nothing of certificates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from hashlib import sha256

from gateway.access.certificates import CertificateRing, Row, number_of
from gateway.config import Access
from gateway.control.tables import Tables

TABLE = "certificates"


class CertificateTable:
    """Lives on control's event loop; `ring` knows what workers know."""

    def __init__(
        self,
        refresh: Callable[[], Access],
        ring: CertificateRing,
        tables: Tables | None,
        named: Callable[[Mapping[int, str]], None],
    ) -> None:
        """Knows nobody yet.

        Args:
            refresh: reads what is in force; called on a thread.
            ring: of this process.
            tables: carries the table to the workers; None where they ask nobody.
            named: is told under which numbers they are counted.
        """
        self.ring = ring
        self._refresh = refresh
        self._tables = tables
        self._named = named
        self._rows: dict[str, Row] | None = None

    async def refresh(self) -> None:
        """Brings everybody to what is in force now."""
        self._follow(rows_of(await asyncio.to_thread(self._refresh)))

    def _follow(self, rows: dict[str, Row]) -> None:
        if rows == self._rows:
            return
        before, self._rows = self._rows or {}, rows
        self.ring.replace(rows)
        self._named({number_of(name): name for name, _, _ in rows.values()})
        if self._tables is not None:
            # By content, so that a successor of this process names the same callers the same.
            version = int.from_bytes(sha256(repr(sorted(rows.items())).encode()).digest()[:6])
            changed = {subject: row for subject, row in rows.items() if before.get(subject) != row}
            dropped = [subject for subject in before if subject not in rows]
            self._tables.publish(TABLE, version, changed, dropped)


def rows_of(access: Access) -> dict[str, Row]:
    """The table: by subject, a name, a role and models."""
    return {one.subject: [one.name, one.role, list(one.models)] for one in access.certificates}
