"""Follows what is spent, keeps it, and moves the ceilings of budgets when a window ends.

Knows what workers have settled, the store, and the calendar. Knows nothing of keys beyond their
numbers, or of requests.

Workers go on by the last ceilings where this stands still. What they have settled stands in the
arena: whoever takes over goes on from what was written last, and what a disk does not take is
written later. A request counts in the window in which it is seen to be settled, within a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.access.allowance import Allowance
from gateway.access.principal import NO_ROW
from gateway.control.limit_rows import LimitRows
from gateway.control.spend_store import SpendStore, Spent, Sums
from gateway.llm.limits.windows import Windows
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Words
from kernels import budgets

LOOK_S: Final = 1.0
_DAY, _MONTH, _TOTAL = range(3)
_SUMS: Final = 3  # money, tokens, requests
_FEW: Final = 500

Wanted = Callable[[], Set[int]]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one limited thing stands.

    Attributes:
        allowance: its limits.
        spent: in the newest windows.
        under_way: requests that are neither settled nor released.
        requests_left, tokens_left: that may come at once, of its limits per minute; None: it has no
            such limit.
        refusals: since the server was started, or since its row is its own.
    """

    owner: str
    allowance: Allowance
    spent: Spent
    under_way: int
    requests_left: int | None
    tokens_left: int | None
    refusals: int


class Spending:
    """Its methods are called on threads, one at a time: whoever comes second waits."""

    def __init__(
        self,
        arena: Arena,
        store: SpendStore,
        now: Callable[[], float] = time.time,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Knows nothing until it is asked to follow somebody.

        Args:
            arena: workers settle there.
            store: keeps it.
            now: seconds since 1970.
            clock_ns: monotonic, as workers have it.
        """
        self._boot = arena.boot_id
        self._arena = arena
        self._store = store
        self._now = now
        self._clock_ns = clock_ns
        self._turn = threading.Lock()
        self._windows = Windows.at(now())
        self._allowances: dict[str, Allowance] = {}
        self._rows: LimitRows | None = None
        # Rows that are nobody's take no memory.
        self._sums = np.zeros((layout.MAX_LIMITED, 3, _SUMS), np.int64)
        self._counted = np.zeros((layout.MAX_LIMITED, _SUMS), np.int64)
        self._budgets = np.full((0, 6), budgets.UNLIMITED, np.int64)
        self._unwritten = np.zeros(layout.MAX_LIMITED, np.bool_)

    def follow(self, wanted: Mapping[str, Allowance], others: Wanted) -> dict[str, int]:
        """The rows of owners, with these limits from now on.

        Args:
            wanted: by owner.
            others: rows that somebody may still count against; asked where the table is full.

        Returns:
            By owner; NO_ROW where there is no room.

        Raises:
            StoreFailed: nobody can say what they have spent.
            ArenaFull: there is no room for a table at all.
        """
        with self._turn:
            rows = self._table()
            changed = []
            found: dict[str, int] = {}
            missing = [owner for owner in wanted if owner not in rows.rows]
            stored = self._spent_of(missing)
            for owner, allowance in wanted.items():
                row, fresh = rows.row_of(owner)
                if row == NO_ROW:
                    mine = {rows.rows[one] for one in wanted if one in rows.rows}
                    self._make_room(rows, others() | mine)
                    row, fresh = rows.row_of(owner)
                found[owner] = row
                if row == NO_ROW:
                    continue
                known = self._allowances.get(owner)
                if known is None:
                    self._begin(rows, row, stored.get(owner), fresh)
                if known != allowance:
                    self._limit(rows, row, owner, allowance)
                    changed.append(row)
            self._move(rows, np.array(changed, np.int64))
            return found

    def look(self) -> None:
        """Counts what was settled since, begins windows anew, and writes down what has changed.

        Raises:
            StoreFailed: it cannot be written; it is the next time.
        """
        with self._turn:
            rows = self._rows
            if rows is None:
                return
            self._count(rows)
            self._roll(rows)
            self._write(rows)

    def close(self) -> None:
        """Completes what killed workers were in the middle of, and writes down what is left.

        Raises:
            StoreFailed: it cannot be.
        """
        rows = self._rows
        if rows is not None:
            for worker in range(self._arena.workers):
                rows.table.complete(worker)
        self.look()

    def standings(self, owners: Iterable[str]) -> Sequence[Standing]:
        """Where those of these stand that are known."""
        with self._turn:
            rows = self._rows
            if rows is None:
                return []
            self._count(rows)
            settled, now_ns = rows.settled(), self._clock_ns()
            return [
                self._standing(rows, row, owner, int(settled[row, budgets.REFUSALS]), now_ns)
                for owner in owners
                if (row := rows.rows.get(owner)) is not None
            ]

    def refused(self) -> list[str]:
        """Those that a limit has refused something, whether or not they spent anything."""
        with self._turn:
            rows = self._rows
            if rows is None:
                return []
            refusals = rows.settled()[:, budgets.REFUSALS]
            return [
                owner
                for row in np.flatnonzero(refusals).tolist()
                if (owner := rows.names.get(row)) is not None
                and refusals[row] > rows.bases(row)[budgets.REFUSALS]
            ]

    def settled(self) -> dict[str, tuple[int, int, int, int]]:
        """By owner, what was settled and refused since its row is its own: these only grow."""
        with self._turn:
            rows = self._rows
            if rows is None:
                return {}
            settled = rows.settled()
            known = {}
            for row in np.flatnonzero(settled.any(axis=1)).tolist():
                owner = rows.names.get(row)
                if owner is not None:
                    money, tokens, requests, refusals = (settled[row] - rows.bases(row)).tolist()
                    known[owner] = (money, tokens, requests, refusals)
            return known

    # ---- in turn --------------------------------------------------------------------------------

    def _table(self) -> LimitRows:
        if self._rows is None:
            self._rows = LimitRows(self._arena)
        return self._rows

    def _spent_of(self, owners: Sequence[str]) -> Mapping[str, Spent]:
        # One look for all is as fast as a few hundred for one each.
        return self._store.of(owners) if len(owners) < _FEW else self._store.all()

    def _begin(self, rows: LimitRows, row: int, spent: Spent | None, fresh: bool) -> None:
        """Takes up what an owner has spent, up to the moment that the arena goes on from."""
        base = np.array(rows.bases(row)[:_SUMS], np.int64)
        self._sums[row] = 0
        self._counted[row] = base
        if spent is None:
            return
        now = self._windows
        # A window that lies ahead is one of a clock that was wrong: see `windows`.
        if spent.day >= now.day:
            self._sums[row, _DAY] = spent.in_day
        if spent.month >= now.month:
            self._sums[row, _MONTH] = spent.in_month
        self._sums[row, _TOTAL] = spent.total
        if not fresh and spent.boot == self._boot:
            self._counted[row] = np.maximum(base, np.array(spent.counted, np.int64))

    def _limit(self, rows: LimitRows, row: int, owner: str, allowance: Allowance) -> None:
        if row >= len(self._budgets):
            more = np.full((max(1024, row, len(self._budgets)), 6), budgets.UNLIMITED, np.int64)
            self._budgets = np.concatenate([self._budgets, more])
        self._budgets[row] = [
            budgets.UNLIMITED if one is None else one for one in allowance.budgets
        ]
        rows.limit(row, allowance)
        self._allowances[owner] = allowance

    def _count(self, rows: LimitRows) -> None:
        settled = rows.settled()[:, :_SUMS]
        fresh = settled - self._counted[: len(settled)]
        grown = np.flatnonzero(fresh.any(axis=1))
        grown = grown[rows.table.owners[grown] != 0]
        sums = self._sums[grown] + fresh[grown, None, :]
        # More than a server counts in its life, so that nothing ever turns negative.
        self._sums[grown] = np.minimum(sums, budgets.UNLIMITED)
        self._counted[grown] = settled[grown]
        self._unwritten[grown] = True

    def _roll(self, rows: LimitRows) -> None:
        self._windows, new_day, new_month = self._windows.later(self._now())
        if new_day:
            self._sums[: rows.used, _DAY] = 0
        if new_month:
            self._sums[: rows.used, _MONTH] = 0
        if new_day or new_month:
            self._move(rows, np.array(sorted(rows.names), np.int64))

    def _move(self, rows: LimitRows, which: Words) -> None:
        """Sets ceilings: what was settled when a window began, and its budget on top."""
        if not len(which):
            return
        wanted = self._budgets[which].reshape(-1, 2, 3)
        begun = self._counted[which, None, :2] - self._sums[which, :, :2]
        ceilings = begun.transpose(0, 2, 1) + wanted
        unlimited = wanted == budgets.UNLIMITED
        rows.ceilings(which, np.where(unlimited, budgets.UNLIMITED, ceilings).reshape(-1, 6))

    def _write(self, rows: LimitRows) -> None:
        changed = np.flatnonzero(self._unwritten[: rows.used]).tolist()
        if changed:
            self._store.write(self._record(rows, row) for row in changed if row in rows.names)
            self._unwritten[changed] = False

    def _record(self, rows: LimitRows, row: int) -> Spent:
        def sums(window: int) -> Sums:
            money, tokens, requests = self._sums[row, window].tolist()
            return money, tokens, requests

        money, tokens, requests = self._counted[row].tolist()
        windows = self._windows
        return Spent(
            rows.names[row],
            windows.day,
            sums(_DAY),
            windows.month,
            sums(_MONTH),
            sums(_TOTAL),
            self._boot,
            (money, tokens, requests),
        )

    def _standing(
        self, rows: LimitRows, row: int, owner: str, refusals: int, now_ns: int
    ) -> Standing:
        allowance = self._allowances[owner]
        requests, tokens = rows.rates_left(row, now_ns)
        return Standing(
            owner,
            allowance,
            self._record(rows, row),
            rows.under_way(row),
            None if allowance.requests_per_minute is None else requests,
            None if allowance.tokens_per_minute is None else tokens,
            refusals - rows.bases(row)[budgets.REFUSALS],
        )

    def _make_room(self, rows: LimitRows, wanted: Set[int]) -> None:
        """Takes back the rows of owners that left; what they have spent is written down first."""
        self._count(rows)
        self._write(rows)
        rows.keep(wanted)
        for owner in self._allowances.keys() - rows.rows.keys():
            del self._allowances[owner]
