"""Finds the principal behind a credential.

Knows digests of keys, as a table that somebody else fills, and who to ask about tokens. Knows
nothing of headers, of ports, or of how the table got here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Protocol

from gateway.access.keys import MAX_KEY_BYTES, PREFIX, digest
from gateway.access.principal import FOREVER, Principal, models_of
from gateway.errors import Unauthenticated

Row = list[Any]
"""Of the table, under its digest: id, name, role, models or None, until or None, and, where its
requests count against limits, the rows of these, and the names of its team and tags."""

_NAMES = 6
_PREFIX = PREFIX.encode()
# One wording for unknown, expired and revoked: the caller learns nothing that it can use.
_UNKNOWN = "credentials: not known, expired, or revoked"
# Its own form is no news to whoever sent it: most often a provider's key that was left in place.
_FOREIGN = f"{_UNKNOWN}: keys of this gateway begin with '{PREFIX}', and it takes no others"


class Tokens(Protocol):
    """Verifies what is no key."""

    def find(self, token: bytes, now: float) -> Principal | None:
        """The principal that a token names, or None."""


class Keyring:
    """Used on one event loop."""

    def __init__(
        self,
        secret: bytes,
        tokens: Tokens | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives seconds since 1970."""
        self._secret = secret
        self._tokens = tokens
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self._numbers: set[int] = set()
        self._limit_names: dict[int, str] = {}
        # Those that were asked for, so that all who remember one remember the same.
        self._principals: dict[str, Principal] = {}

    def find(self, credential: bytes) -> Principal:
        """The principal that a credential stands for.

        An unknown and a wrong key take the same way: one digest, one look-up by it.

        Raises:
            Unauthenticated: it stands for nobody, or no longer.
        """
        now = self._clock()
        if self._tokens is not None and credential.count(b".") == 2:
            principal = self._tokens.find(credential, now)
        elif len(credential) > MAX_KEY_BYTES:
            principal = None
        else:
            principal = self._of_key(digest(self._secret, credential))
        if principal is None or principal.until <= now:
            ours = self._tokens is not None or credential.startswith(_PREFIX)
            raise Unauthenticated(_UNKNOWN if ours else _FOREIGN)
        return principal

    @property
    def digests(self) -> Set[str]:
        """Of all keys that are known."""
        return self._rows.keys()

    @property
    def numbers(self) -> Set[int]:
        """Of all keys that are known."""
        return self._numbers

    @property
    def limited(self) -> set[int]:
        """The rows of all limits that keys count against; may be asked on any thread."""
        return {one for row in list(self._rows.values()) for rows in row[5:6] for one in rows}

    def limit_name(self, number: int) -> str:
        """The name of the key, team or tag that a row of limits is of; empty: not known."""
        return self._limit_names.get(number, "")

    def replace(self, rows: Mapping[str, Row]) -> None:
        """Takes over a whole table."""
        self._forget(self._principals)
        self._rows = dict(rows)
        self._numbers = {row[0] for row in rows.values()}
        self._limit_names = _limit_names(rows)

    def change(self, rows: Mapping[str, Row], dropped: Iterable[str]) -> None:
        """Takes over rows that are new or differ, and lets go of others."""
        self._forget(rows)
        self._forget(dropped)
        self._rows.update(rows)
        self._numbers.update(row[0] for row in rows.values())
        self._limit_names |= _limit_names(rows)  # a row that is another's by now is told by that
        for one in dropped:
            if (row := self._rows.pop(one, None)) is not None:
                self._numbers.discard(row[0])

    def _of_key(self, hashed: str) -> Principal | None:
        principal = self._principals.get(hashed)
        if principal is None and (row := self._rows.get(hashed)) is not None:
            number, name, role, models, until, *limited = row
            principal = self._principals[hashed] = Principal(
                number,
                name,
                role,
                models_of(models),
                FOREVER if until is None else until,
                rows=tuple(limited[0]) if limited else (),
            )
        return principal

    def _forget(self, digests: Iterable[str]) -> None:
        for hashed in tuple(digests):
            principal = self._principals.pop(hashed, None)
            if principal is not None:
                principal.until = 0.0


def _limit_names(rows: Mapping[str, Row]) -> dict[int, str]:
    """Whose each row of limits is, by what keys say of theirs: first their own, then the others."""
    return {
        number: name
        for row in rows.values()
        if len(row) > _NAMES
        for number, name in zip(row[_NAMES - 1], (row[1], *row[_NAMES]), strict=True)
    }
