"""What callers, teams and tags have spent, as commands, the admin API and metrics tell it.

Knows the store's table of it, and the names of keys. Knows nothing of how it is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.access.allowance import dollars
from gateway.control.spend_store import SpendStore, Spent, Sums
from gateway.control.store import Store
from gateway.llm.limits.windows import Windows

_NOTHING: Final[Sums] = (0, 0, 0)
_ALL: Final = -1


@dataclass(frozen=True, slots=True)
class Line:
    """Of one key (with those that took its place), team or tag.

    Attributes:
        kind: `key`, `certificate`, `team` or `tag`.
        name: as people gave it.
        id: of the key, the first of those that took each other's place; None: it is no key.
        day: money, tokens and requests, of today.
        month: of this month.
        total: of all.
    """

    owner: str
    kind: str
    name: str
    id: int | None
    day: Sums
    month: Sums
    total: Sums

    def as_json(self) -> dict[str, Any]:
        """As commands and the admin API show it."""
        sums = {"day": self.day, "month": self.month, "total": self.total}
        return {
            "kind": self.kind,
            "name": self.name,
            "id": self.id,
            "spent": {
                window: {"usd": dollars(money), "tokens": tokens, "requests": requests}
                for window, (money, tokens, requests) in sums.items()
            },
        }


def lines(
    store: Store, now: float, after: str = "", limit: int = _ALL, others: Iterable[str] = ()
) -> list[Line]:
    """So many, by their owners' names, of those past one.

    Args:
        store: the home's.
        now: seconds since 1970: a day that is over is not today's.
        after: an owner's name.
        limit: -1: all.
        others: owners that are told, too, where nothing of them was ever written.

    Raises:
        StoreFailed: they cannot be read.
    """
    found = {one.owner: one for one in SpendStore(store).page(after, limit)}
    # Where the page is full, what of the others was written behind it is cut off below.
    found |= {one: _unspent(one) for one in others if one > after and one not in found}
    spent = sorted(found.values(), key=lambda one: one.owner)[: None if limit == _ALL else limit]
    numbers = [one.owner.partition(":")[2] for one in spent if one.owner.startswith("key:")]
    names = key_names(store, [int(number) for number in numbers])
    return [_line(one, names, Windows.at(now)) for one in spent]


def _unspent(owner: str) -> Spent:
    return Spent(owner, "", _NOTHING, "", _NOTHING, _NOTHING, 0, _NOTHING)


def key_names(store: Store, accounts: list[int]) -> dict[int, str]:
    """The names of keys by their ids."""
    query = "SELECT name FROM keys WHERE id = ?"
    with store.read() as db:
        found = {number: db.execute(query, (number,)).fetchone() for number in accounts}
    return {number: str(row[0]) for number, row in found.items() if row is not None}


def _line(one: Spent, names: Mapping[int, str], present: Windows) -> Line:
    kind, _, name = one.owner.partition(":")
    number = int(name) if kind == "key" else None
    return Line(
        one.owner,
        kind,
        name if number is None else names.get(number, name),
        number,
        # What was written in a window that is ahead was written by a clock that is wrong.
        one.in_day if one.day >= present.day else _NOTHING,
        one.in_month if one.month >= present.month else _NOTHING,
        one.total,
    )
