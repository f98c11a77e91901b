"""A column that goes missing has drifted, though what is left of it looks as ever."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.drift.kinds import Dependence, Effects, judge_columns
from gateway.drift.reference import SPECIALS, Reference
from gateway.profiles.live import ROWS, places
from kernels import columns
from tests.monitor.watching import profile_of, rows

PROFILE = profile_of(*rows(np.random.default_rng(1), 5000))
PLACES = places(PROFILE)
REFERENCE = Reference.of(PROFILE, PLACES)
NAMES = [column.name for _, column in REFERENCE.columns]
KNOWN = Effects(np.ones(len(NAMES)), np.ones(len(NAMES)))


def counted(column: str, share: float, special: int, of: int = 2000) -> np.ndarray:
    """What the reference's own rows would count, but for a share of one column's values."""
    vector = np.zeros(PLACES.words, np.int64)
    vector[ROWS] = of
    for place, (_, one) in enumerate(REFERENCE.columns):
        first = PLACES.specials[place]
        kept = of if one.name != column else round(of * (1 - share))
        bins = np.random.default_rng(place).multinomial(kept, one.shares)
        vector[first + SPECIALS : first + SPECIALS + one.bins] = bins
        vector[first + special] = of - kept
    return vector


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
@pytest.mark.parametrize(
    ("column", "special"),
    [("age", columns.NAN), ("income", columns.POS_INF), ("job", columns.UNSEEN)],
)
def test_values_that_go_missing_are_drift_of_that_column_alone(column, special, share):
    judged = judge_columns(REFERENCE, counted(column, share, special), KNOWN)
    drifted = [name for name, one in zip(NAMES, judged.verdicts, strict=True) if one == "drift"]
    assert drifted == [column]
    place = NAMES.index(column)
    assert judged.distance[place] == pytest.approx(share, abs=0.01)
    assert judged.log10_e[place] > 6


def test_what_was_learnt_is_gone_on_with_and_taken_for_no_other_columns():
    rng = np.random.default_rng(3)
    learning = Dependence.unknown(len(NAMES))
    for _ in range(40):
        vector = np.zeros(PLACES.words, np.int64)
        for place, (_, one) in enumerate(REFERENCE.columns):
            first = PLACES.specials[place] + SPECIALS
            vector[first : first + one.bins] = rng.multinomial(50, one.shares)
        learning.add(REFERENCE, vector)
    known = learning.estimate()
    assert not np.isnan(known.values).any()
    again = Dependence.restored(learning.learnt, len(NAMES)).estimate()
    assert again.values.tolist() == known.values.tolist()
    assert again.kinds.tolist() == known.kinds.tolist()
    spoilt = learning.learnt
    spoilt[7] = np.nan
    for other in (learning.learnt[1:], learning.learnt[2:], np.empty(0), spoilt):
        assert np.isnan(Dependence.restored(other, len(NAMES)).estimate().values).all()


def test_as_many_missing_as_ever_is_no_drift():
    judged = judge_columns(REFERENCE, counted("age", 0.0, columns.NAN), KNOWN)
    assert set(judged.verdicts) == {"ok"}


def test_a_column_without_any_value_is_judged_by_its_kinds():
    unknown = Effects(np.full(len(NAMES), np.nan), np.ones(len(NAMES)))
    judged = judge_columns(REFERENCE, counted("age", 1.0, columns.NAN), unknown)
    assert judged.verdicts[NAMES.index("age")] == "drift"


def test_how_much_missing_values_depend_on_each_other_is_learnt_as_well():
    dependence = Dependence.unknown(len(NAMES))
    for second in range(40):
        share = float(second // 10 % 2)  # ten seconds with, ten without
        dependence.add(REFERENCE, counted("age", share, columns.NAN, of=500))
    effects = dependence.estimate()
    assert effects.kinds[NAMES.index("age")] > 20
    assert effects.kinds[NAMES.index("income")] == 1.0
