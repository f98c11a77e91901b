"""An arena with a table of limits, as control would fill it."""

from __future__ import annotations

from gateway.llm.limits.shared import SharedLimits
from gateway.llm.limits.table import Table
from gateway.llm.tariff import FREE
from gateway.monitor.arena import Arena
from kernels import budgets


class Rig:
    """Workers of one host, all of them in this process."""

    def __init__(self, workers=2):
        self.names: dict[int, str] = {}
        self.arena = Arena.create(workers)
        self.table = Table.make(self.arena)
        self.now_ns = 10**12
        self.wall = 1_800_000_000.0
        self.workers = [
            SharedLimits(
                self.arena,
                slot,
                lambda row: self.names.get(row, ""),
                lambda: self.now_ns,
                lambda: self.wall,
            )
            for slot in range(workers)
        ]

    def limit(self, row, kind=1, ceilings=None, parallel=None, rates=(None, None)):
        """`ceilings`: by place, money's day, month and total, then those of tokens."""
        words = self.table.row(row)
        limits = [(ceilings or {}).get(place) for place in range(6)] + [parallel, *rates]
        words[budgets.CEILINGS : budgets.REQUESTS_DUE] = [
            budgets.UNLIMITED if one is None else one for one in limits
        ]
        words[budgets.KIND] = kind
        words[budgets.OWNER] = 1 + row

    def reserve(self, rows, money=0, tokens=0, worker=0):
        return self.workers[worker].reserve(rows, money, tokens, self.now_ns)

    def cover(self, rows, tariff=FREE, read=0, asked=None, most=4096, choices=1, worker=0):
        estimated = -(-read // 4)
        return self.workers[worker].cover(
            rows, self.now_ns, tariff, read, estimated, asked, most, choices
        )

    def held(self, row):
        return self.table.held(len(self.workers))[:, row, :3].sum(axis=0).tolist()

    def spent(self, row):
        return self.table.spent(len(self.workers))[:, row, :3].sum(axis=0).tolist()

    def refusals(self, row):
        return int(self.table.spent(len(self.workers))[:, row, budgets.REFUSALS].sum())
