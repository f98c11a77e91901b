"""Callers known by a certificate: from the configuration in force to this process and the workers.

Knows one section of the document, the table that carries it, and who says which limits they count
against. Knows nothing of certificates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from gateway.access.certificates import CertificateRing, Row, number_of
from gateway.access.principal import NO_ROW
from gateway.config import Access, CertifiedCaller
from gateway.control.key_limits import groups_of_certified
from gateway.control.tables import Tables
from gateway.errors import GatewayError

log = logging.getLogger("penstock.control")

TABLE = "certificates"
Limited = Callable[[Sequence[CertifiedCaller]], Mapping[str, list[int]]]


class CertificateTable:
    """Lives on control's event loop; `ring` knows what workers know.

    Attributes:
        lacking: callers are in force without their limits.
    """

    def __init__(
        self,
        refresh: Callable[[], Access],
        ring: CertificateRing,
        tables: Tables | None,
        named: Callable[[Mapping[int, str]], None],
        limited: Limited,
    ) -> None:
        """Knows nobody yet.

        Args:
            refresh: reads what is in force; called on a thread.
            ring: of this process.
            tables: carries the table to the workers; None where they ask nobody.
            named: is told under which numbers they are counted.
            limited: by subject, the rows of the limits that callers count against; on a thread.
        """
        self.ring = ring
        self.lacking = False
        self._refresh = refresh
        self._tables = tables
        self._named = named
        self._limited = limited
        self._rows: dict[str, Row] | None = None

    async def refresh(self) -> None:
        """Brings everybody to what is in force now."""
        self._follow(await asyncio.to_thread(self._read))

    def _read(self) -> dict[str, Row]:
        """The table. Where nobody can say limits, a caller is in force all the same.

        Workers then refuse what counts against limits, and nothing else.
        """
        certificates = self._refresh().certificates
        rows: dict[str, Row] = {
            one.subject: [one.name, one.role, list(one.models)] for one in certificates
        }
        try:
            limited = self._limited(certificates)
        except GatewayError as error:
            if not self.lacking:
                log.error("certificates: limits are not in force: %s", error)
            self.lacking = True
            for row in rows.values():
                row.append([NO_ROW])
            return rows
        self.lacking = False
        for one in certificates:
            if one.subject in limited:
                rows[one.subject] += [limited[one.subject], groups_of_certified(one)]
        return rows

    def _follow(self, rows: dict[str, Row]) -> None:
        if rows == self._rows:
            return
        before, self._rows = self._rows or {}, rows
        self.ring.replace(rows)
        self._named({number_of(row[0]): row[0] for row in rows.values()})
        if self._tables is not None:
            # By content, so that a successor of this process names the same callers the same.
            version = int.from_bytes(sha256(repr(sorted(rows.items())).encode()).digest()[:6])
            changed = {subject: row for subject, row in rows.items() if before.get(subject) != row}
            dropped = [subject for subject in before if subject not in rows]
            self._tables.publish(TABLE, version, changed, dropped)
