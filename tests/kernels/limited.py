"""A small table of limits in plain memory, and what a process asks of it."""

from __future__ import annotations

import numpy as np

from kernels import budgets

ROOM = 64
WORKERS = 3
SLOT = budgets.slot_words(ROOM)


class Small:
    """A table of `ROOM` rows and a slot for each of `WORKERS`, all in this process."""

    def __init__(self):
        self.rows = np.zeros(ROOM * budgets.ROW_WORDS, np.int64)
        self.slots = np.zeros(WORKERS * SLOT, np.int64)
        self.grants = [np.zeros(64 * budgets.GRANT_WORDS, np.int64) for _ in range(WORKERS)]
        places = range(0, 64 * budgets.GRANT_WORDS, budgets.GRANT_WORDS)
        self.free = [list(places) for _ in range(WORKERS)]

    def limit(self, row, ceilings=(None,) * 6, parallel=None, rates=(None, None)):
        words = self.rows[row * budgets.ROW_WORDS : (row + 1) * budgets.ROW_WORDS]
        words[budgets.OWNER], words[budgets.KIND] = 1000 + row, 1
        limits = [*ceilings, parallel, *rates]
        words[budgets.CEILINGS : budgets.REQUESTS_DUE] = [
            budgets.UNLIMITED if one is None else one for one in limits
        ]

    def reserve(self, worker, rows, money, tokens, now=0):
        """The place of the grant, or minus the answer."""
        at, grants = self.free[worker].pop(), self.grants[worker]
        grants[at : at + 3] = len(rows), money, tokens
        grants[at + budgets.WANTED_OF_RATES] = tokens
        for place, row in enumerate(rows):
            grants[at + budgets.FIRST + place * budgets.EACH] = row
        code = budgets.reserve(self.rows, self.slots, grants, at, WORKERS, worker, now)
        if code:
            self.free[worker].append(at)
            self.refusal = grants[at + budgets.ROW : at + budgets.WAIT_NS + 1].tolist()
            return -abs(code)
        return at

    def settle(self, worker, at, used, now=0):
        """`used`: money and tokens; None: nothing was asked of anybody."""
        money, tokens = used or (0, 0)
        budgets.settle(
            self.rows,
            self.slots,
            self.grants[worker],
            at,
            WORKERS,
            worker,
            now,
            money,
            tokens,
            used is not None,
        )
        self.free[worker].append(at)

    def left(self, rows, now):
        """Money and tokens, and of each rate its limit, what is left, and until when it is full."""
        grant = np.zeros(budgets.GRANT_WORDS, np.int64)
        grant[budgets.COUNT] = len(rows)
        grant[budgets.FIRST : budgets.FIRST + len(rows) * budgets.EACH : budgets.EACH] = rows
        assert budgets.budgets_left(self.rows, self.slots, grant, 0, WORKERS) == 0
        budgets.rates_left(self.rows, grant, 0, now)
        return grant[budgets.LEFT_MONEY : budgets.TOKENS_FULL_NS + 1].tolist()

    def held(self, row):
        """Money, tokens and requests under way, all processes added up."""
        first = budgets.HELD_FIRST + row * budgets.HELD_WORDS
        return self.slots.reshape(WORKERS, -1)[:, first : first + 3].sum(axis=0).tolist()

    def spent(self, row):
        """Money, tokens and requests settled."""
        first = budgets.spent_first(ROOM) + row * budgets.SPENT_WORDS
        return self.slots.reshape(WORKERS, -1)[:, first : first + 3].sum(axis=0).tolist()

    def due(self, row):
        first = row * budgets.ROW_WORDS + budgets.REQUESTS_DUE
        return self.rows[first : first + 2].tolist()
