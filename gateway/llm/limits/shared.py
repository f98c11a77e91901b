"""Limits that all workers of a host hold together, in its shared memory.

Knows the arena's blocks and the kernel that reserves. Knows nothing of keys or configuration:
control writes the table of what is limited, and what a worker held that was killed is given back
where its slot of the arena is cleared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from gateway.errors import InvalidParameter, LimitsUnavailable
from gateway.llm.limits.refusals import Refusal, refused
from gateway.llm.limits.table import Table
from gateway.llm.limits.words import NOTHING_LIMITED, Grant, Left, Rate
from gateway.monitor.arena import Arena
from kernels import budgets

# Another worker that was stopped in the middle of reserving goes on as soon as it has a core.
PATIENCE_NS: Final = 2_000_000
FIRST_GRANTS: Final = 256
MOST: Final = budgets.UNLIMITED >> 2
"""Of money or tokens, what one request is taken for at the most: above any budget, and so far below
what a word holds that sums of it stay there. A caller may ask for more, a provider say so."""


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
        self._told = np.zeros(budgets.LEFT_WORDS + budgets.MAX_ROWS, np.int64)
        self._told_words = self._told.data
        self._grants = np.zeros(FIRST_GRANTS * budgets.GRANT_WORDS, np.int64)
        self._words = self._grants.data
        self._free = list(range(0, len(self._grants), budgets.GRANT_WORDS))

    def begin(self, rows: Sequence[int], now_ns: int) -> tuple[Left, Grant | None]:
        """What is left, and a grant where amounts do not matter; `words.Limits` says the rest."""
        table = self._table or self._find()
        at = self._place(rows)
        code = budgets.begin(
            table.rows,
            table.slots,
            self._grants,
            at,
            self._told,
            self._workers,
            self._me,
            now_ns,
        )
        if code == budgets.AMOUNTS:
            self._free.append(at)
            return self._left(), None
        grant = self._granted(table, at, code, now_ns)
        # The usual key: no amount matters, nor how many requests there are.
        words = self._told_words
        free = words[budgets.REQUESTS_LIMIT] == words[budgets.LEFT_PARALLEL] == budgets.UNLIMITED
        return NOTHING_LIMITED if free else self._left(), grant

    @property
    def last_left(self) -> Left:
        """What was left when a request was begun last; `words.Limits` says the rest."""
        return self._left()

    def reserve(self, rows: Sequence[int], money: int, tokens: int, now_ns: int) -> Grant:
        """Reserves for all rows, or for none; `words.Limits` says the rest."""
        table = self._table or self._find()
        at = self._place(rows)
        words = self._words
        words[at + budgets.WANTED_MONEY] = money if money < MOST else MOST
        words[at + budgets.WANTED_TOKENS] = tokens if tokens < MOST else MOST
        code = budgets.reserve(
            table.rows, table.slots, self._grants, at, self._workers, self._me, now_ns
        )
        return self._granted(table, at, code, now_ns)

    def _place(self, rows: Sequence[int]) -> int:
        """Room for a grant of these rows."""
        count = len(rows)
        if count > budgets.MAX_ROWS:
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

    def _granted(self, table: Table, at: int, code: int, now_ns: int) -> Grant:
        """The grant that the kernel has given; raises what it refuses with."""
        if code < 0:
            code = self._again(table, at, now_ns)
        if code != budgets.GRANTED:
            refusal = self._refusal(table, at, code)
            if refusal.place != budgets.NO_ROW:  # which has nobody whom it could be counted for
                table.count_refusal(self._grants, at, self._me)
            self._free.append(at)
            raise refused(refusal, self._wall())
        return SharedGrant(self, at)

    def _left(self) -> Left:
        """What the kernel has told."""
        unlimited = budgets.UNLIMITED
        told = self._told_words[: budgets.LEFT_WORDS].tolist()
        money, tokens, parallel, limit, left, full_ns, token_limit, token_left, token_full_ns = told
        return Left(
            None if money == unlimited else money,
            None if tokens == unlimited else tokens,
            None if parallel == unlimited else parallel,
            None if limit == unlimited else Rate(limit, left, full_ns * 1e-9),
            None
            if token_limit == unlimited
            else Rate(token_limit, token_left, token_full_ns * 1e-9),
        )

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

    __slots__ = ("_at", "_limits")

    def __init__(self, limits: SharedLimits, at: int) -> None:
        self._limits = limits
        self._at = at

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
