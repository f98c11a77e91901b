"""How much live rows depend on each other, learnt second by second.

Knows a baseline's groups and the counts of each second. Knows nothing of verdicts.

What was learnt outlives a restart; the batch that each scale is filling does not, so that no
difference is taken between rows before a pause and after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.drift.baseline import GROUPS, Baseline, Counts, Floats, joined
from gateway.drift.rules import DEFAULT, Rules
from kernels import dependence


@dataclass(slots=True)
class DesignEffect:
    """What the seconds so far tell about dependence. About 2.8 kB a column; one owner, no locks."""

    ticks: int
    filling: Counts
    """(SCALES, columns, GROUPS) counts of the batch that each scale is filling."""
    previous: Counts
    """(SCALES, columns, GROUPS) those of the batch before."""
    sums: Floats
    """(SCALES, columns, READINGS) of squared differences between neighbouring batches."""
    pairs: np.ndarray[Any, np.dtype[np.int64]]
    """(SCALES, columns) how many differences those are."""

    @classmethod
    def unknown(cls, columns: int) -> DesignEffect:
        """Nothing has been seen yet."""
        shape = (dependence.SCALES, columns)
        return cls(
            ticks=0,
            filling=np.zeros((*shape, GROUPS), np.int64),
            previous=np.zeros((*shape, GROUPS), np.int64),
            sums=np.zeros((*shape, dependence.READINGS)),
            pairs=np.zeros(shape, np.int64),
        )

    @classmethod
    def restored(cls, learnt: Floats, columns: int) -> DesignEffect:
        """Goes on with what was learnt; from nothing, where that is not of these columns."""
        made = cls.unknown(columns)
        sizes = made.sums.size, made.pairs.size
        if learnt.shape == (sum(sizes),) and (np.isfinite(learnt) & (learnt >= 0)).all():
            made.sums[:] = learnt[: sizes[0]].reshape(made.sums.shape)
            made.pairs[:] = learnt[sizes[0] :].reshape(made.pairs.shape)
        return made

    @property
    def learnt(self) -> Floats:
        """(SCALES * columns * (READINGS + 1),) a copy of what is worth keeping: 560 B a column."""
        return np.concatenate([self.sums.ravel(), self.pairs.ravel()])

    def add(self, baseline: Baseline, counts: Counts) -> None:
        """Takes the counts of one second, (columns, width), an empty one as well."""
        self.ticks += 1
        dependence.tick(
            self.ticks,
            joined(counts, baseline.group_of),
            baseline.groups,
            baseline.shares,
            baseline.scores,
            self.filling,
            self.previous,
            self.sums,
            self.pairs,
        )

    def estimate(self, rules: Rules = DEFAULT) -> Floats:
        """(columns,) design effects, >= 1; NaN while too little was seen: 17 seconds with rows."""
        out = np.empty(self.pairs.shape[1])
        dependence.estimate(
            self.sums, self.pairs, rules.min_pairs, rules.min_batch, rules.caution, out
        )
        return 1.0 + rules.margin * (out - 1.0)
