"""Limits that all workers of a host hold together, in its shared memory.

Knows the arena's blocks and the kernel that reserves. Knows nothing of keys or configuration:
control writes the table of what is limited, and what a worker held that was killed is given back
where its slot of the arena is cleared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

import numpy as np

from gateway.errors import InvalidParameter, LimitsUnavailable
from gateway.llm.limits.refusals import Refusal, refused
from gateway.llm.limits.table import Table
from gateway.llm.limits.words import NO_RATES, Grant, Rate, Rates, Unpriced
from gateway.llm.tariff import Tariff
from gateway.monitor.arena import Arena
from kernels import budgets

# Another worker that was stopped in the middle of reserving goes on as soon as it has a core.
PATIENCE_NS: Final = 2_000_000
FIRST_GRANTS: Final = 256
MOST: Final = budgets.MOST

# Of a grant's words: what answers are held to, and how its rates stand.
_BETWEEN: Final = budgets.REQUESTS_LIMIT - budgets.OUTPUT - 1
_TOLD: Final = Struct(f"{8 * budgets.OUTPUT}xq{8 * _BETWEEN}x6q")
Told = tuple[int, int, int, int, int, int, int]


def unnamed(row: int) -> str:
    """Of a row whose owner nobody has named."""
    return ""


class SharedLimits:
    """One worker's access. Lives on its event loop."""

    def __init__(
        self,
        arena: Arena,
        worker: int,
        named: Callable[[int], str] = unnamed,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: holds the table, once control has made it.
            worker: which slot is this process's.
            named: what a row's key, team or tag is called; empty: not known.
            clock_ns: monotonic.
            wall: seconds since 1970.
        """
        self._arena = arena
        self._workers = arena.workers
        self._me = worker
        self._named = named
        self._clock_ns = clock_ns
        self._wall = wall
        self._table: Table | None = None
        self.refused_at = NO_RATES
        self._grants = np.zeros(FIRST_GRANTS * budgets.GRANT_WORDS, np.int64)
        self._words = self._grants.data
        self._free = list(range(0, len(self._grants), budgets.GRANT_WORDS))

    def cover(
        self,
        rows: Sequence[int],
        now_ns: int,
        tariff: Tariff,
        read: int,
        estimated: int,
        asked: int | None,
        most: int,
        choices: int,
    ) -> Grant:
        """Reserves what a request takes at most; `words.Limits` says the rest."""
        table = self._table or self._find()
        at = self._place(rows)
        if asked is None:
            asked = -1
        elif asked > MOST:
            asked = MOST
        code = budgets.cover(
            table.rows,
            table.slots,
            self._grants,
            at,
            self._workers,
            self._me,
            now_ns,
            tariff,
            read,
            estimated,
            asked,
            most,
            choices,
        )
        if code == budgets.GRANTED:
            return SharedGrant(self, at, _TOLD.unpack_from(self._words, at * 8))
        return self._otherwise(table, at, code, now_ns)

    def reserve(self, rows: Sequence[int], money: int, tokens: int, now_ns: int) -> Grant:
        """Reserves so much, for all rows or for none; `words.Limits` says the rest."""
        table = self._table or self._find()
        at = self._place(rows)
        words = self._words
        words[at + budgets.WANTED_MONEY] = money if money < MOST else MOST
        words[at + budgets.WANTED_TOKENS] = tokens if tokens < MOST else MOST
        words[at + budgets.WANTED_OF_RATES] = words[at + budgets.WANTED_TOKENS]
        words[at + budgets.OUTPUT] = -1
        code = budgets.reserve(
            table.rows, table.slots, self._grants, at, self._workers, self._me, now_ns
        )
        return self._otherwise(table, at, code, now_ns)

    def _place(self, rows: Sequence[int]) -> int:
        """Room for a grant of these rows."""
        count = len(rows)
        if count > budgets.MAX_ROWS:
            self.refused_at = NO_RATES
            raise InvalidParameter(
                f"limits: expected at most {budgets.MAX_ROWS} limited things of one request,"
                f" got {count}"
            )
        if not self._free:
            self._grow()
        at = self._free.pop()
        words = self._words
        words[at + budgets.COUNT] = count
        place = at + budgets.FIRST
        for row in rows:
            words[place] = row
            place += budgets.EACH
        return at

    def _otherwise(self, table: Table, at: int, code: int, now_ns: int) -> Grant:
        """The grant that the kernel has given after all; raises what it refuses with."""
        if code < 0:
            code = self._again(table, at, now_ns)
        known = code != 1 + budgets.NO_ROW
        if known:
            budgets.rates_left(table.rows, self._grants, at, now_ns)
        told = _TOLD.unpack_from(self._words, at * 8)
        if code == budgets.GRANTED:
            return SharedGrant(self, at, told)
        self.refused_at = _rates(told) if known else NO_RATES
        self._free.append(at)
        if code == budgets.UNPRICED:
            raise Unpriced
        refusal = self._refusal(table, at, code)
        if known:  # else there is nobody whom it could be counted for
            table.count_refusal(self._grants, at, self._me)
        raise refused(refusal, self._wall())

    def end(self, at: int, money: int, tokens: int, used: bool) -> None:
        """Ends a grant of this worker's."""
        table = self._table
        assert table is not None, "it was reserved there"
        now = self._clock_ns()
        budgets.settle(
            table.rows,
            table.slots,
            self._grants,
            at,
            self._workers,
            self._me,
            now,
            money if money < MOST else MOST,
            tokens if tokens < MOST else MOST,
            used,
        )
        self._free.append(at)

    @property
    def open(self) -> int:
        """How many grants are neither settled nor released."""
        return len(self._grants) // budgets.GRANT_WORDS - len(self._free)

    def _find(self) -> Table:
        table = Table.find(self._arena)
        if table is None:
            self.refused_at = NO_RATES
            raise LimitsUnavailable("limits: what counts budgets is not there yet")
        # What a predecessor was killed in the middle of settling is settled now.
        table.complete(self._me)
        self._table = table
        return table

    def _again(self, table: Table, at: int, now_ns: int) -> int:
        """Asks until no other worker is in the way, or for as long as that may take."""
        until = self._clock_ns() + PATIENCE_NS
        code = -1
        while code < 0 and self._clock_ns() < until:
            os.sched_yield()
            code = budgets.reserve(
                table.rows, table.slots, self._grants, at, self._workers, self._me, now_ns
            )
        return abs(code)

    def _refusal(self, table: Table, at: int, code: int) -> Refusal:
        words = self._words
        row, place = words[at + budgets.ROW], code - 1
        settled_left = words[at + budgets.LEFT]
        if place < budgets.PARALLEL:
            unit = place // budgets.WINDOWS
            settled = int(table.spent(self._workers)[:, row, unit].sum())
            settled_left = table.row(row)[budgets.CEILINGS + place] - settled
        return Refusal(
            place,
            0 if place == budgets.NO_ROW else table.row(row)[budgets.KIND],
            words[at + budgets.ASKED],
            words[at + budgets.LEFT],
            settled_left,
            words[at + budgets.WAIT_NS],
            self._named(row),
            table.row(row)[budgets.MAX_PARALLEL] if place == budgets.PARALLEL else 0,
        )

    def _grow(self) -> None:
        """Makes room for as many grants again."""
        before = len(self._grants)
        self._grants = np.concatenate([self._grants, np.zeros(before, np.int64)])
        self._words = self._grants.data
        self._free.extend(range(before, 2 * before, budgets.GRANT_WORDS))


class SharedGrant:
    """What one request has reserved of this host's limits."""

    __slots__ = ("_at", "_limits", "_told", "output")

    def __init__(self, limits: SharedLimits, at: int, told: Told) -> None:
        self._limits = limits
        self._at = at
        # Its words are another's once it has ended, and its answer is told of them later.
        self._told = told
        self.output = told[0]

    @property
    def rates(self) -> Rates:
        """Once it has taken of them."""
        return _rates(self._told)

    def settle(self, money: int, tokens: int) -> None:
        """The request is over and has cost this much."""
        at, self._at = self._at, -1
        if at >= 0:
            self._limits.end(at, money, tokens, True)

    def release(self) -> None:
        """Nothing was asked of anybody."""
        at, self._at = self._at, -1
        if at >= 0:
            self._limits.end(at, 0, 0, False)


def _rates(told: Told) -> Rates:
    _, limit, left, full_ns, token_limit, token_left, token_full_ns = told
    none = budgets.UNLIMITED
    if limit == token_limit == none:
        return NO_RATES
    return Rates(
        None if limit == none else Rate(limit, left, _milliseconds(full_ns)),
        None
        if token_limit == none
        else Rate(token_limit, token_left, _milliseconds(token_full_ns)),
    )


def _milliseconds(nanoseconds: int) -> int:
    return -(-nanoseconds // 1_000_000)
