"""Client certificates: the names that one carries, and the principal that a name stands for.

Knows what Python tells of a certificate that a handshake has verified, and a table that somebody
else fills. Knows nothing of sockets or headers: what a request says cannot become a certificate.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from weakref import WeakSet

from gateway.access.principal import CERTIFICATES, Principal, models_of
from gateway.errors import Unauthenticated

Row = list[Any]
"""Of the table, under its subject: name, role, models or None, and, where its requests count
against limits, the rows of these, and the names of its team and tags."""

_NAMES = 4
_KINDS = {"DNS": "dns", "URI": "uri"}
_UNKNOWN = "credentials: nobody known here has this certificate"


@dataclass(slots=True, eq=False)
class Shown:
    """The certificate that the client of a connection has shown.

    Attributes:
        names: what it may be known by: `cn:shop`, `dns:shop.example`, `uri:spiffe://prod/shop`.
        until: when it ends, seconds since 1970.
        serial: its number, for the audit.
        principal: who it stood for when last asked.
    """

    names: frozenset[str]
    until: float
    serial: str = ""
    principal: Principal | None = None


def read_certificate(peer: Mapping[str, Any] | None) -> Shown | None:
    """What a certificate says, or None where none was shown.

    Args:
        peer: as `SSLSocket.getpeercert()` tells it, empty for one that nobody has verified.
    """
    if not peer:
        return None
    subject = (pair for part in peer.get("subject", ()) for pair in part)
    names = [subject_of("cn", value) for kind, value in subject if kind == "commonName"]
    for kind, value in peer.get("subjectAltName", ()):
        if kind in _KINDS:
            names.append(subject_of(_KINDS[kind], value))
    until = float(ssl.cert_time_to_seconds(peer["notAfter"]))
    return Shown(frozenset(names), until, str(peer.get("serialNumber", "")))


def subject_of(kind: str, value: str) -> str:
    """A name as the table has it; host names are the same in small letters."""
    return f"{kind}:{value.lower() if kind == 'dns' else value}"


def number_of(name: str) -> int:
    """Under which certificates of this name are counted: always the same, and no key's."""
    return CERTIFICATES - int.from_bytes(blake2b(name.encode(), digest_size=6).digest())


class CertificateRing:
    """Used on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self._limit_names: dict[int, str] = {}
        self._given: WeakSet[Principal] = WeakSet()

    def find(self, shown: Shown) -> Principal:
        """The principal that a certificate stands for.

        Raises:
            Unauthenticated: it stands for nobody, for more than one, or it has ended.
        """
        now = self._clock()
        principal = shown.principal
        if principal is None or principal.until <= now:
            principal = shown.principal = self._principal(shown, now)
        return principal

    @property
    def numbers(self) -> set[int]:
        """Under which those that are known are counted."""
        return {number_of(row[0]) for row in self._rows.values()}

    @property
    def limited(self) -> set[int]:
        """The rows of all limits that they count against; may be asked on any thread."""
        return {one for row in list(self._rows.values()) for rows in row[3:4] for one in rows}

    def limit_name(self, number: int) -> str:
        """The name of what a row of limits is of; empty: not known."""
        return self._limit_names.get(number, "")

    def replace(self, rows: Mapping[str, Row]) -> None:
        """Takes over a whole table."""
        self._rows = dict(rows)
        self._follow()

    def change(self, rows: Mapping[str, Row], dropped: Iterable[str]) -> None:
        """Takes over rows that are new or differ, and lets go of others."""
        self._rows |= rows
        for one in dropped:
            self._rows.pop(one, None)
        self._follow()

    def _principal(self, shown: Shown, now: float) -> Principal:
        rows = [row for name in shown.names if (row := self._rows.get(name)) is not None]
        # One that stands for two could be taken for the one or the other.
        if len(rows) != 1 or shown.until <= now:
            raise Unauthenticated(_UNKNOWN)
        name, role, models, *limited = rows[0]
        proof = f"certificate {shown.serial}"
        principal = Principal(
            number_of(name),
            name,
            role,
            models_of(models),
            shown.until,
            proof,
            tuple(limited[0]) if limited else (),
        )
        self._given.add(principal)
        return principal

    def _follow(self) -> None:
        self._limit_names = {
            number: name
            for row in self._rows.values()
            if len(row) > _NAMES
            for number, name in zip(row[_NAMES - 1], (row[0], *row[_NAMES]), strict=True)
        }
        self._forget()

    def _forget(self) -> None:
        """Has whoever remembers a principal ask again."""
        for principal in self._given:
            principal.until = 0.0
        self._given.clear()
