"""Values that are missing, of no kind that was expected or out of range, judged as the others are.

Knows a reference, counts and the rules. A column of which half is NaN looks as ever by its other
half: what is in no bin is in none of the figures over bins. And bins at the ends are open: where
the reference is constant, or has a few values only, what lies beyond them falls into a bin that was
as full before. So each column is judged three times, and what is most alarming stands:

    bins      as the distribution of its values
    ranges    values within the reference's range, below it, above it: dependent as its values are
    kinds     values in a bin, missing (NaN, null), other (infinite, wrong type, unseen category)
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
    def unknown(cls, reference: Reference) -> Dependence:
        """Nothing has been seen yet."""
        # Of most kinds a reference has no row: what they scatter has no unit to be measured in.
        return cls(
            DesignEffect.unknown(reference.baseline),
            DesignEffect.unknown(reference.kinds, alike=True),
        )

    @classmethod
    def restored(cls, learnt: Floats, reference: Reference) -> Dependence:
        """Goes on with what was `learnt`; from nothing, where that is not of these columns."""
        upto = cls.unknown(reference).values.learnt.size
        values, kinds = np.split(learnt, [upto])
        return cls(
            DesignEffect.restored(values, reference.baseline),
            DesignEffect.restored(kinds, reference.kinds, alike=True),
        )

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
    """Holds what was counted, (words,), against its reference: of three judgements the worst."""
    values = judge(reference.baseline, reference.bins_of(vector), effects.values, rules)
    ranges = judge(reference.ranges, reference.ranges_of(vector), effects.values, rules)
    kinds = judge(reference.kinds, reference.kinds_of(vector), effects.kinds, rules)
    return _worse(_worse(values, ranges), kinds)


def _worse(one: Judgement, other: Judgement) -> Judgement:
    """By column what is more alarming; of equals the first."""
    worse = _ranks(other) > _ranks(one)
    return Judgement(
        one.rows,
        np.where(worse, other.log10_e, one.log10_e),
        np.where(worse, other.distance, one.distance),
        np.where(worse, other.verdicts, one.verdicts),
    )


def _ranks(judged: Judgement) -> Counts:
    return np.array([VERDICTS.index(str(one)) for one in judged.verdicts], np.int64)
