"""Where limits lie in the arena: the table of what is limited, and a slot for each worker.

Knows blocks, rows and slots. Knows nothing of who reserves, or of what a row stands for.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import PAGE, Words
from kernels import budgets

_TABLE_WORDS = layout.MAX_LIMITED * budgets.ROW_WORDS
_HELD_END = budgets.HELD_FIRST + layout.MAX_LIMITED * budgets.HELD_WORDS
_SPENT_FIRST = _HELD_END + budgets.JOURNAL_WORDS


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Both blocks.

    Attributes:
        rows: (MAX_LIMITED * ROW_WORDS,), as kernels take it.
        slots: (workers * LIMITS_WORDS,) of all workers, one after the other.
    """

    rows: Words
    slots: Words

    @classmethod
    def find(cls, arena: Arena) -> Table | None:
        """The blocks of an arena; None: they were not made."""
        rows = arena.find(layout.LIMIT_ROWS, layout.LIMITS_BLOCK)
        slots = arena.find(layout.LIMITS, layout.LIMITS_BLOCK)
        if rows is None or slots is None:
            return None
        return cls(arena.whole(rows)[:_TABLE_WORDS], arena.whole(slots))

    @classmethod
    def make(cls, arena: Arena) -> Table:
        """The blocks of an arena, made where they are not there. Control's alone.

        Raises:
            ArenaFull: there is no room.
        """
        each = -(-_TABLE_WORDS * 8 // arena.workers)
        arena.allocate(layout.LIMIT_ROWS, layout.LIMITS_BLOCK, -(-each // PAGE) * PAGE // 8)
        arena.allocate(layout.LIMITS, layout.LIMITS_BLOCK)
        table = cls.find(arena)
        assert table is not None, "they were just made"
        return table

    @property
    def owners(self) -> Words:
        """(MAX_LIMITED,) of each row; 0: nobody."""
        return self.rows[budgets.OWNER :: budgets.ROW_WORDS]

    def row(self, number: int) -> Words:
        """(ROW_WORDS,) of one limited thing."""
        return self.rows[number * budgets.ROW_WORDS : (number + 1) * budgets.ROW_WORDS]

    def held(self, workers: int) -> Words:
        """(workers, MAX_LIMITED, 4) what each worker holds: money, tokens, requests under way."""
        by_worker = self.slots.reshape(workers, -1)
        return by_worker[:, budgets.HELD_FIRST : _HELD_END].reshape(workers, layout.MAX_LIMITED, -1)

    def spent(self, workers: int) -> Words:
        """(workers, MAX_LIMITED, 4) what each has settled: money, tokens, requests, refusals."""
        by_worker = self.slots.reshape(workers, -1)
        return by_worker[:, _SPENT_FIRST:].reshape(workers, layout.MAX_LIMITED, -1)

    def complete(self, worker: int) -> None:
        """Completes what this worker, or its predecessor, was killed in the middle of settling."""
        budgets.complete(self.slots, worker * layout.LIMITS_WORDS, layout.MAX_LIMITED)

    def count_refusal(self, grants: Words, at: int, worker: int) -> None:
        """Counts, for this worker, that a row refused the grant at a place of its grants."""
        mine = worker * layout.LIMITS_WORDS
        budgets.count_refusal(self.slots, grants, at, mine, layout.MAX_LIMITED)
