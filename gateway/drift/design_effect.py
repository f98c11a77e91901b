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
    """What the seconds so far tell about dependence; one owner, no locks.

    About 2.8 kB a column, and of one without order up to 11 kB more, for ten groups.
    """

    ticks: int
    filling: Counts
    """(SCALES, columns, GROUPS) counts of the batch that each scale is filling."""
    previous: Counts
    """(SCALES, columns, GROUPS) those of the batch before."""
    sums: Floats
    """(SCALES, columns, READINGS) of squared differences between neighbouring batches."""
    pairs: np.ndarray[Any, np.dtype[np.int64]]
    """(SCALES, columns) how many differences those are."""
    places: np.ndarray[Any, np.dtype[np.int64]]
    """(columns,) where in `matrices` a column is; -1 for none."""
    matrices: Floats
    """(SCALES, columns with one, groups, groups) how their groups scatter together."""

    @classmethod
    def unknown(cls, baseline: Baseline, alike: bool = False) -> DesignEffect:
        """Nothing has been seen yet of columns that will be held against `baseline`.

        Args:
            baseline: its groups, and whether they have an order.
            alike: groups without order may be taken all alike, by the mean of their directions.
        """
        columns, most = len(baseline.groups), int(baseline.groups.max(initial=0))
        shape = (dependence.SCALES, columns)
        places = np.full(columns, -1)
        widest = np.flatnonzero(~(baseline.ordered | alike))
        places[widest] = np.arange(len(widest))
        return cls(
            ticks=0,
            filling=np.zeros((*shape, GROUPS), np.int64),
            previous=np.zeros((*shape, GROUPS), np.int64),
            sums=np.zeros((*shape, dependence.READINGS)),
            pairs=np.zeros(shape, np.int64),
            places=places,
            matrices=np.zeros((dependence.SCALES, len(widest), most, most)),
        )

    @classmethod
    def restored(cls, learnt: Floats, baseline: Baseline, alike: bool = False) -> DesignEffect:
        """Goes on with what was learnt; from nothing, where that is not of these columns."""
        made = cls.unknown(baseline, alike)
        counted = made.sums.size + made.pairs.size
        if (
            learnt.shape == (counted + made.matrices.size,)
            and np.isfinite(learnt).all()
            and (learnt[:counted] >= 0).all()
        ):
            parts = np.split(learnt, [made.sums.size, counted])
            made.sums[:] = parts[0].reshape(made.sums.shape)
            made.pairs[:] = parts[1].reshape(made.pairs.shape)
            made.matrices[:] = parts[2].reshape(made.matrices.shape)
        return made

    @property
    def learnt(self) -> Floats:
        """A copy of what is worth keeping: 560 B a column, up to 12 kB without an order."""
        return np.concatenate([self.sums.ravel(), self.pairs.ravel(), self.matrices.ravel()])

    def add(self, baseline: Baseline, counts: Counts) -> None:
        """Takes the counts of one second, (columns, width), an empty one as well."""
        self.ticks += 1
        dependence.tick(
            self.ticks,
            joined(counts, baseline.group_of),
            baseline.groups,
            baseline.shares,
            baseline.scores,
            self.places,
            self.filling,
            self.previous,
            self.sums,
            self.pairs,
            self.matrices,
        )

    def estimate(self, rules: Rules = DEFAULT) -> Floats:
        """(columns,) design effects, >= 1; NaN while too little was seen: 17 seconds with rows."""
        out = np.empty(self.pairs.shape[1])
        dependence.estimate(
            self.sums, self.pairs, rules.min_pairs, rules.min_batch, rules.caution, out
        )
        return 1.0 + rules.margin * (out - 1.0)
