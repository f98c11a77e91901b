"""Gives whatever is limited its row in the arena's table, and writes its limits there.

Knows owners by name, and the words of a row. Knows nothing of keys, windows or what was spent.

Which row is whose stands in the arena itself, as a hash of the owner's name, so that a control
process that takes another's place finds every row where workers have it.
"""

from __future__ import annotations

from collections.abc import Set
from hashlib import blake2b
from typing import Final

import numpy as np

from gateway.access.allowance import Allowance
from gateway.access.principal import NO_ROW
from gateway.llm.limits.table import Table
from gateway.llm.limits.words import KINDS
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Words
from kernels import budgets

_BASES: Final = slice(budgets.BASES, budgets.BASES + budgets.SPENT_WORDS)


class LimitRows:
    """Control's side of the table. Used by one thread at a time."""

    def __init__(self, arena: Arena) -> None:
        """Makes the table where it is not there.

        Raises:
            ArenaFull: there is no room.
        """
        self.table = Table.make(arena)
        self._workers = arena.workers
        self._words = self.table.rows.reshape(-1, budgets.ROW_WORDS)
        taken = np.flatnonzero(self.table.owners)
        self.used = int(taken[-1]) + 1 if len(taken) else 0
        self._inherited = {int(self.table.owners[row]): int(row) for row in taken}
        self._free = [row for row in range(self.used) if not self.table.owners[row]]
        self.rows: dict[str, int] = {}
        self.names: dict[int, str] = {}

    def row_of(self, owner: str) -> tuple[int, bool]:
        """The row of an owner, and whether it was given to it just now.

        One that was given just now allows nothing, until `limit` and `ceilings` say what it may.
        """
        known = self.rows.get(owner)
        if known is not None:
            return known, False
        mark = _mark(owner)
        row = self._inherited.pop(mark, None)
        fresh = row is None
        if row is None:
            row = self._next()
            if row == NO_ROW:
                return NO_ROW, False
            self._begin(row, owner, mark)
        self.rows[owner], self.names[row] = row, owner
        return row, fresh

    def settled(self) -> Words:
        """(used, 4) what all workers together have settled of each row: with refusals."""
        found: Words = self.table.spent(self._workers)[:, : self.used].sum(axis=0)
        return found

    def bases(self, row: int) -> list[int]:
        """What had been settled of a row when its owner got it: with refusals."""
        base: list[int] = self._words[row, _BASES].tolist()
        return base

    def under_way(self, row: int) -> int:
        """Requests that are neither settled nor released."""
        return int(self.table.held(self._workers)[:, row, budgets.REQUESTS].sum())

    def rates_left(self, row: int, now_ns: int) -> tuple[int, int]:
        """Requests and tokens that its rates let come at once; where it has none, any number."""
        rows = self.table.rows
        at = row * budgets.ROW_WORDS
        requests, tokens = (budgets.rate_left(rows, at, rate, now_ns, 0) for rate in range(2))
        return requests, tokens

    def limit(self, row: int, allowance: Allowance) -> None:
        """Writes those limits that know no window."""
        limits = (
            allowance.max_parallel,
            allowance.requests_per_minute,
            allowance.tokens_per_minute,
        )
        self._words[row, budgets.MAX_PARALLEL : budgets.REQUESTS_DUE] = [
            budgets.UNLIMITED if one is None else one for one in limits
        ]

    def ceilings(self, rows: Words, ceilings: Words) -> None:
        """Writes (rows, 6) ceilings; each word is seen whole."""
        self._words[rows, budgets.CEILINGS : budgets.MAX_PARALLEL] = ceilings

    def keep(self, wanted: Set[int]) -> None:
        """Takes rows back that nobody wants, and of which nothing is under way.

        Among them those that an earlier control process gave to owners that left since.
        """
        inherited = {row: mark for mark, row in self._inherited.items()}
        for row in [*self.names, *inherited]:
            if row in wanted or self.under_way(row):
                continue
            self.table.owners[row] = 0
            if row in self.names:
                del self.rows[self.names.pop(row)]
            else:
                del self._inherited[inherited[row]]
            self._free.append(row)

    def _next(self) -> int:
        if self._free:
            return self._free.pop()
        if self.used == layout.MAX_LIMITED:
            return NO_ROW
        self.used += 1
        return self.used - 1

    def _begin(self, row: int, owner: str, mark: int) -> None:
        words = self._words[row]
        words[budgets.KIND] = KINDS.index(owner.partition(":")[0])
        words[budgets.CEILINGS : budgets.BASES] = 0
        words[_BASES] = self.table.spent(self._workers)[:, row].sum(axis=0)
        words[budgets.OWNER] = mark  # last: from here on the row is there


def _mark(owner: str) -> int:
    """Never 0."""
    hashed = blake2b(owner.encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "little", signed=True) | 1
