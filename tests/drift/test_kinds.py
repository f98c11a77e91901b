"""A column that goes missing has drifted, though what is left of it looks as ever."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gateway.drift.kinds import Dependence, Effects, judge_columns
from gateway.drift.reference import SPECIALS, Reference
from gateway.profiles.live import ROWS, places
from kernels import columns
from tests.drift.test_exact_ks import Watched
from tests.monitor.watching import profile_of, rows

PROFILE = profile_of(*rows(np.random.default_rng(1), 5000))
PLACES = places(PROFILE)
REFERENCE = Reference.of(PROFILE, PLACES)
NAMES = [column.name for _, column in REFERENCE.columns]
ONES = Effects(np.ones(3), np.ones(3))
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


def few_valued(rng, count):
    """(count, 3): always 5, a fair coin's 0 and 1, and a normal column."""
    return np.column_stack([np.full(count, 5), rng.integers(0, 2, count), rng.normal(size=count)])


@pytest.mark.parametrize(
    ("column", "becomes"),
    [
        pytest.param(0, lambda values: values + 2, id="a-constant-that-is-another-one"),
        pytest.param(0, lambda values: values - np.arange(len(values)) % 2, id="no-constant-now"),
        pytest.param(1, lambda values: values * 100, id="ones-that-are-hundreds"),
    ],
)
def test_values_beyond_a_reference_of_few_values_are_drift_though_bins_are_as_full(column, becomes):
    rng = np.random.default_rng(5)
    watched = Watched(few_valued(rng, 5000).astype(np.float32), exact=(), names=("a", "b", "c"))
    live = few_valued(rng, 2000).astype(np.float32)
    assert set(judge_columns(watched.reference, watched.counted(live), ONES).verdicts) == {"ok"}
    live[:, column] = becomes(live[:, column])
    vector = watched.counted(live)
    bins = watched.reference.bins_of(vector)[column, : watched.reference.baseline.bins[column]]
    judged = judge_columns(watched.reference, vector, ONES)
    drifted = [place for place, one in enumerate(judged.verdicts) if one == "drift"]
    assert drifted == [column]
    assert judged.distance[column] >= 0.4
    assert bins.sum() == 2000  # none of them is missing or of another kind


@pytest.mark.parametrize(
    ("live_effect", "reference_effect", "drifted"),
    [(1.0, 1.0, True), (500.0, 1.0, False), (20.0, 1.0, True), (20.0, 2000.0, False)],
)
def test_values_out_of_range_depend_on_each_other_as_values_do(
    live_effect, reference_effect, drifted
):
    rng = np.random.default_rng(6)
    watched = Watched(few_valued(rng, 5000).astype(np.float32), (), ("a", "b", "c"))
    own = dataclasses.replace(watched.profile, self_referenced=True)  # its rows depend as well
    reference = Reference.of(own, watched.places).with_effect(np.full(3, reference_effect))
    live = few_valued(rng, 2000).astype(np.float32)
    live[:600, 1] = 7
    known = Effects(np.full(3, live_effect), np.ones(3))
    judged = judge_columns(reference, watched.counted(live), known)
    assert (judged.verdicts[1] == "drift") == drifted


def test_what_was_learnt_is_gone_on_with_and_taken_for_no_other_columns():
    rng = np.random.default_rng(3)
    learning = Dependence.unknown(REFERENCE)
    for _ in range(40):
        vector = np.zeros(PLACES.words, np.int64)
        for place, (_, one) in enumerate(REFERENCE.columns):
            first = PLACES.specials[place] + SPECIALS
            vector[first : first + one.bins] = rng.multinomial(50, one.shares)
        learning.add(REFERENCE, vector)
    known = learning.estimate()
    assert not np.isnan(known.values).any()
    again = Dependence.restored(learning.learnt, REFERENCE).estimate()
    assert again.values.tolist() == known.values.tolist()
    assert again.kinds.tolist() == known.kinds.tolist()
    spoilt = learning.learnt
    spoilt[7] = np.nan
    for other in (learning.learnt[1:], learning.learnt[2:], np.empty(0), spoilt):
        assert np.isnan(Dependence.restored(other, REFERENCE).estimate().values).all()


def test_as_many_missing_as_ever_is_no_drift():
    judged = judge_columns(REFERENCE, counted("age", 0.0, columns.NAN), KNOWN)
    assert set(judged.verdicts) == {"ok"}


def test_a_column_without_any_value_is_judged_by_its_kinds():
    unknown = Effects(np.full(len(NAMES), np.nan), np.ones(len(NAMES)))
    judged = judge_columns(REFERENCE, counted("age", 1.0, columns.NAN), unknown)
    assert judged.verdicts[NAMES.index("age")] == "drift"


def test_how_much_missing_values_depend_on_each_other_is_learnt_as_well():
    dependence = Dependence.unknown(REFERENCE)
    for second in range(40):
        share = float(second // 10 % 2)  # ten seconds with, ten without
        dependence.add(REFERENCE, counted("age", share, columns.NAN, of=500))
    effects = dependence.estimate()
    assert effects.kinds[NAMES.index("age")] > 20
    assert effects.kinds[NAMES.index("income")] == 1.0
