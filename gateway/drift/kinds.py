"""Values that are missing or of no kind that was expected, judged as the others are.

Knows a reference, counts and the rules. A column of which half is NaN looks as ever by its other
half: what is in no bin is in none of the figures over bins. So each column is judged twice, over
its bins, and over three kinds of values: in a bin, missing (NaN, null), and other (infinite, wrong
type, unseen category); and what is more alarming stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.drift.baseline import Counts, Floats
from gateway.drift.design_effect import DesignEffect
from gateway.drift.reference import Reference
from gateway.drift.rules import DEFAULT, Rules
from gateway.drift.verdict import VERDICTS, Judgement, judge


@dataclass(frozen=True, slots=True)
class Dependence:
    """How much live rows depend on each other, by their values and by their kinds."""

    values: DesignEffect
    kinds: DesignEffect

    @classmethod
    def unknown(cls, columns: int) -> Dependence:
        """Nothing has been seen yet."""
        return cls(DesignEffect.unknown(columns), DesignEffect.unknown(columns))

    @classmethod
    def restored(cls, learnt: Floats, columns: int) -> Dependence:
        """Goes on with what was `learnt`; from nothing, where that is not of these columns."""
        if len(learnt) % 2:
            return cls.unknown(columns)
        return cls(*(DesignEffect.restored(half, columns) for half in np.split(learnt, 2)))

    @property
    def learnt(self) -> Floats:
        """One vector of all that is worth keeping over a restart."""
        return np.concatenate([self.values.learnt, self.kinds.learnt])

    def add(self, reference: Reference, vector: Counts) -> None:
        """Takes what was counted in one more second, (words,)."""
        self.values.add(reference.baseline, reference.bins_of(vector))
        self.kinds.add(reference.kinds, reference.kinds_of(vector))

    def estimate(self, rules: Rules = DEFAULT) -> Effects:
        """The design effects by now; NaN where too little was seen."""
        return Effects(self.values.estimate(rules), self.kinds.estimate(rules))


@dataclass(frozen=True, slots=True)
class Effects:
    """Design effects, (columns,) each; NaN where they are not known."""

    values: Floats
    kinds: Floats


def judge_columns(
    reference: Reference, vector: Counts, effects: Effects, rules: Rules = DEFAULT
) -> Judgement:
    """Holds what was counted, (words,), against its reference: of both judgements the worse."""
    values = judge(reference.baseline, reference.bins_of(vector), effects.values, rules)
    kinds = judge(reference.kinds, reference.kinds_of(vector), effects.kinds, rules)
    worse = _ranks(kinds) > _ranks(values)
    return Judgement(
        values.rows,
        np.where(worse, kinds.log10_e, values.log10_e),
        np.where(worse, kinds.distance, values.distance),
        np.where(worse, kinds.verdicts, values.verdicts),
    )


def _ranks(judged: Judgement) -> Counts:
    return np.array([VERDICTS.index(str(one)) for one in judged.verdicts], np.int64)
