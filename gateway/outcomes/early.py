"""Outcomes that came before their record, and wait for it.

Knows who waits, and since when not to. Knows nothing of records, or of how they are kept: whoever
was told that an outcome waits is not told otherwise by a control process that is killed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from gateway.digests import digest
from gateway.outcomes.address import Address, parse_id
from gateway.outcomes.arrivals import Arrival, Arrivals

MAX_EARLY: Final = 100_000
# Of them by clients' ids: each is looked for in every file, as long as it waits once a second.
MAX_CLIENTS: Final = 5_000

Models = frozenset[str] | None
"""Whose outcomes a caller may send; None: everybody's."""


class Key(NamedTuple):
    """Of which there is one outcome."""

    id: str
    client: bool
    row: int
    metric: str | None


class Waiting(NamedTuple):
    """One that waits.

    Attributes:
        arrival: with the time when it was known.
        models: whose it may be.
        until_ms: how long it does.
    """

    arrival: Arrival
    models: Models
    until_ms: int

    @property
    def key(self) -> Key:
        """A later one of the same key takes its place."""
        one = self.arrival
        return Key(one.id, one.client, one.row, one.metric)


class Keeper(Protocol):
    """Keeps them for whoever comes after this process."""

    def waiting(self) -> Iterable[Waiting]:
        """All that are kept."""

    def keep_waiting(self, come: Sequence[Waiting], gone: Sequence[Key]) -> None:
        """Keeps some and drops others, in one transaction.

        Raises:
            StoreFailed: it could not.
        """


class Early:
    """Of one ledger."""

    def __init__(self, keeper: Keeper, room: int = MAX_EARLY, clients: int = MAX_CLIENTS) -> None:
        """Takes up those that were kept.

        Args:
            keeper: has them.
            room: for how many there is.
            clients: of them that name a request as its client did.

        Raises:
            StoreFailed: they cannot be read.
        """
        self._keeper = keeper
        self._room, self._clients = room, clients
        self._waiting: dict[Key, Waiting] = {one.key: one for one in keeper.waiting()}
        self._named = sum(key.client for key in self._waiting)
        self._come: dict[Key, Waiting] = {}
        self._gone: set[Key] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, one: Waiting) -> bool:
        """Whether there is room for it."""
        key = one.key
        if key not in self._waiting and self._full(key.client):
            return False
        self._named += key.client and key not in self._waiting
        self._waiting[key] = self._come[key] = one
        self._gone.discard(key)
        return True

    def drop(self, one: Waiting) -> None:
        """It waits no more."""
        del self._waiting[one.key]
        self._named -= one.key.client
        self._come.pop(one.key, None)
        self._gone.add(one.key)

    def forget(self, requests: Collection[Address], named: Collection[int] = ()) -> int:
        """Drops those that wait for these requests; how many.

        Args:
            requests: which.
            named: digests of what clients call them. Of another request that is called so, too,
                what waits is dropped as well: it would have been joined to neither.

        Raises:
            StoreFailed: it could not be kept; what changed is kept with the next change.
        """
        gone = [one for one in self.all() if _is_of(one.arrival, requests, named)]
        for one in gone:
            self.drop(one)
        self.keep()
        return len(gone)

    def all(self) -> list[Waiting]:
        """Those that wait."""
        return list(self._waiting.values())

    def of(self, arrivals: Arrivals) -> list[Waiting]:
        """Those that wait for the same records as newer ones."""
        if not self._waiting:
            return []
        ids = {arrivals.id(place) for place in range(len(arrivals))}
        return [one for one in self._waiting.values() if one.arrival.id in ids]

    def keep(self) -> None:
        """Keeps what has changed.

        Raises:
            StoreFailed: it could not; what changed is kept with the next change.
        """
        if self._come or self._gone:
            self._keeper.keep_waiting(list(self._come.values()), list(self._gone))
            self._come.clear()
            self._gone.clear()

    def _full(self, client: bool) -> bool:
        if len(self._waiting) >= self._room:
            return True
        return client and self._named >= self._clients


def _is_of(arrival: Arrival, requests: Collection[Address], named: Collection[int]) -> bool:
    if arrival.client:
        return bool(named) and digest(arrival.id) in named
    return parse_id(arrival.id) in requests
