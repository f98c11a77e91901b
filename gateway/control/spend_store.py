"""What was settled of each limited thing, in the store.

Knows one table. Knows nothing of windows, or of who counts. Money is in pico-dollars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.control.store import Store

Sums = tuple[int, int, int]
"""Money, tokens, requests."""

_COLUMNS = (
    "owner, day, day_money, day_tokens, day_requests, month, month_money, month_tokens,"
    " month_requests, money, tokens, requests, boot, counted_money, counted_tokens,"
    " counted_requests"
)


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one limited thing.

    Attributes:
        owner: `key:17`, `team:search`, `tag:batch`.
        day: the day that it was written in, `2027-01-31`.
        in_day: what was settled in it.
        month: likewise, `2027-01`.
        in_month: what was settled in it.
        total: for ever.
        boot: of the arena that workers counted in.
        counted: what they had settled there then.
    """

    owner: str
    day: str
    in_day: Sums
    month: str
    in_month: Sums
    total: Sums
    boot: int
    counted: Sums


class SpendStore:
    """Called on threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, Spent]:
        """Everything that was ever written, by owner.

        Raises:
            StoreFailed: it cannot be read.
        """
        with self._store.read() as db:
            return {
                row[0]: _spent(tuple(row)) for row in db.execute(f"SELECT {_COLUMNS} FROM spend")
            }

    def of(self, owners: Iterable[str]) -> Mapping[str, Spent]:
        """The same of some owners; who is not there has spent nothing."""
        query = f"SELECT {_COLUMNS} FROM spend WHERE owner = ?"
        with self._store.read() as db:
            found = (db.execute(query, (owner,)).fetchone() for owner in owners)
            return {row[0]: _spent(tuple(row)) for row in found if row is not None}

    def page(self, after: str, limit: int) -> list[Spent]:
        """So many, by their names, of those past one.

        Raises:
            StoreFailed: they cannot be read.
        """
        query = f"SELECT {_COLUMNS} FROM spend WHERE owner > ? ORDER BY owner LIMIT ?"
        with self._store.read() as db:
            return [_spent(tuple(row)) for row in db.execute(query, (after, limit))]

    def write(self, spent: Iterable[Spent]) -> None:
        """Writes what is new in place of what was.

        Raises:
            StoreFailed: it cannot be; nothing of it was written.
        """
        places = ", ".join("?" * 16)
        with self._store.write() as db:
            db.executemany(
                f"INSERT OR REPLACE INTO spend ({_COLUMNS}) VALUES ({places})",
                (
                    (
                        one.owner,
                        one.day,
                        *one.in_day,
                        one.month,
                        *one.in_month,
                        *one.total,
                        one.boot,
                        *one.counted,
                    )
                    for one in spent
                ),
            )


def _spent(row: tuple[object, ...]) -> Spent:
    owner, day, d0, d1, d2, month, m0, m1, m2, t0, t1, t2, boot, c0, c1, c2 = row
    numbers = (d0, d1, d2, m0, m1, m2, t0, t1, t2, boot, c0, c1, c2)
    whole = [int(number) for number in numbers]  # type: ignore[call-overload]
    return Spent(
        str(owner),
        str(day),
        (whole[0], whole[1], whole[2]),
        str(month),
        (whole[3], whole[4], whole[5]),
        (whole[6], whole[7], whole[8]),
        whole[9],
        (whole[10], whole[11], whole[12]),
    )
