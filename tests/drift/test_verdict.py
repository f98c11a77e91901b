"""Verdicts: what each takes, and that a shifted column is named and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.drift.baseline import Baseline
from gateway.drift.design_effect import DesignEffect
from gateway.drift.rules import PANE_S, Rules
from gateway.drift.verdict import judge, overall

COLUMNS, BINS, ROWS = 30, 60, 5000
KNOWN = np.ones(COLUMNS)
PANES_A_DAY = 86_400 / PANE_S
"""Each begins looks back."""


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def counted(values, edges):
    """(rows, columns) values as (columns, bins) counts."""
    return np.stack(
        [
            np.bincount(np.searchsorted(e, column, "left"), minlength=BINS)
            for e, column in zip(edges, values.T, strict=True)
        ]
    )


@pytest.fixture
def edges_and_baseline(rng):
    values = rng.normal(size=(ROWS, COLUMNS))
    edges = np.quantile(values, np.arange(1, BINS) / BINS, axis=0).T
    counts = counted(values, edges)
    return edges, Baseline.of(counts, np.full(COLUMNS, BINS), np.full(COLUMNS, True))


def live(rng, edges, rows, shift=0.0):
    values = rng.normal(size=(rows, COLUMNS))
    values[:, 4] += shift
    return counted(values, edges)


def test_a_quarter_sigma_shift_of_one_column_is_drift_of_that_column_alone(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    got = judge(base, live(rng, edges, 2000, 0.25), KNOWN)
    assert np.flatnonzero(got.verdicts == "drift").tolist() == [4]


@pytest.mark.parametrize("rows", [200, 1000, 10_000, 1_000_000])
def test_more_of_the_same_is_ok_at_any_number_of_rows(rng, edges_and_baseline, rows):
    edges, base = edges_and_baseline
    assert set(judge(base, live(rng, edges, rows), KNOWN).verdicts) == {"ok"}


def test_what_is_drift_of_one_column_alone_takes_more_among_thirty(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    shifted = live(rng, edges, 1000, 0.27)
    alone = Baseline.of(base.counts[4:5], base.bins[4:5], base.ordered[4:5])
    got = judge(alone, shifted[4:5], KNOWN[:1])
    between = Rules(false_alarms_per_day=10 ** (1 - got.log10_e[0]) * PANES_A_DAY)
    assert between.log10_level == pytest.approx(1 - got.log10_e[0])
    assert (judge(alone, shifted[4:5], KNOWN[:1], between).verdicts == "drift").all()
    # 1 of 30 needs 30 times as much.
    assert not (judge(base, shifted, KNOWN, between).verdicts == "drift").any()


def test_the_looks_of_a_day_share_what_may_be_spent_on_false_alarms():
    level = 10 ** Rules().log10_level
    assert level * PANES_A_DAY == pytest.approx(Rules().false_alarms_per_day) == 0.01


def test_few_rows_are_too_few_however_far_they_are(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    got = judge(base, live(rng, edges, 199, 5.0), KNOWN)
    assert set(got.verdicts) == {"too_few_rows"}


def test_rows_whose_dependence_is_not_known_are_too_few(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    got = judge(base, live(rng, edges, 5000, 5.0), np.full(COLUMNS, math.nan))
    assert set(got.verdicts) == {"too_few_rows"}
    assert np.isnan(got.log10_e).all()


def test_rows_that_tell_a_tenth_are_not_enough_yet(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    got = judge(base, live(rng, edges, 2000, 0.25), 10 * KNOWN)
    assert got.verdicts[4] == "ok"


def test_a_sure_but_small_change_is_watched(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    got = judge(base, live(rng, edges, 2000, 0.25), KNOWN, Rules(ks_floor=0.2))
    assert got.verdicts[4] == "watch"


def test_a_large_change_that_is_not_sure_yet_is_watched(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    got = judge(base, live(rng, edges, 800, 0.22), KNOWN)
    assert 2.0 <= got.log10_e[4] < 6.0
    assert got.verdicts[4] == "watch"


def test_against_its_own_first_traffic_nothing_is_ok(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    own = Baseline.of(base.counts, base.bins, base.ordered, own=True)
    got = judge(own, live(rng, edges, 2000, 0.25), KNOWN)
    assert set(got.verdicts) == {"self_referenced", "drift"}


def test_a_reference_of_dependent_rows_witnesses_less(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    frozen = Baseline.of(base.counts, base.bins, base.ordered, effect=19 * KNOWN)
    window = live(rng, edges, 2000, 0.25)
    assert judge(frozen, window, KNOWN).log10_e[4] < judge(base, window, KNOWN).log10_e[4]


def test_a_category_that_doubles_is_drift_and_its_distance_is_the_share_that_it_gained():
    base = Baseline.of(np.array([[4000, 900, 100]]), np.array([3]), np.array([False]))
    got = judge(base, np.array([[1400, 560, 40]]), np.ones(1))
    assert (got.verdicts[0], got.distance[0]) == ("drift", pytest.approx(0.1))


def test_columns_without_reference_or_rows_have_too_few_rows():
    base = Baseline.of(np.array([[0, 0], [500, 500]]), np.array([2, 2]), np.array([True, True]))
    got = judge(base, np.array([[900, 100], [0, 0]]), np.ones(2))
    assert got.verdicts.tolist() == ["too_few_rows"] * 2


def test_no_columns_are_too_few_rows():
    base = Baseline.of(np.zeros((0, 1), np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    got = judge(base, np.zeros((0, 1), np.int64), np.zeros(0))
    assert (got.verdicts.tolist(), overall([])) == ([], "too_few_rows")


def test_a_window_of_another_shape_is_refused(edges_and_baseline):
    _, base = edges_and_baseline
    with pytest.raises(ValueError, match="equal shapes"):
        judge(base, np.zeros((COLUMNS, 3), np.int64), KNOWN)


# ---------------------------------------------------------------- the design effect


def test_the_effect_of_independent_rows_is_learnt_within_minutes(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    effect = DesignEffect.unknown(base)
    for _ in range(16):
        effect.add(base, live(rng, edges, 100))
    assert np.isnan(effect.estimate()).all()
    for _ in range(44):
        effect.add(base, live(rng, edges, 100))
    got = effect.estimate()
    assert (got >= 1.0).all()
    assert np.median(got) < 1.3


def test_stored_and_put_back_it_goes_on_where_it_was(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    ticks = [live(rng, edges, 100) for _ in range(40)]
    straight, stored = DesignEffect.unknown(base), DesignEffect.unknown(base)
    for counts in ticks[:21]:
        straight.add(base, counts)
        stored.add(base, counts)
    restored = DesignEffect(
        stored.ticks,
        stored.filling.copy(),
        stored.previous.copy(),
        stored.sums.copy(),
        stored.pairs.copy(),
        stored.places,
        stored.matrices.copy(),
    )
    for counts in ticks[21:]:
        straight.add(base, counts)
        restored.add(base, counts)
    assert straight.estimate().tolist() == restored.estimate().tolist()


def test_what_was_learnt_of_categories_is_put_back_with_its_direction(rng):
    base = Baseline.of(np.full((1, 8), 500), np.array([8]), np.array([False]))
    straight, level = DesignEffect.unknown(base), 0.0

    def second():
        nonlocal level
        level = 0.95 * level + rng.normal()
        tilt = np.exp(0.1 * level * np.linspace(-1, 1, 8))  # along one direction alone
        return rng.multinomial(100, tilt / tilt.sum())[None]

    for _ in range(200):
        straight.add(base, second())
    restored = DesignEffect.restored(straight.learnt, base)
    assert restored.learnt.tolist() == straight.learnt.tolist()
    assert straight.estimate()[0] > 4.0
    for _ in range(100):
        counts = second()
        straight.add(base, counts)
        restored.add(base, counts)
    assert restored.estimate()[0] == pytest.approx(straight.estimate()[0], rel=0.2)


def test_autocorrelated_rows_of_the_same_marginal_are_no_drift(rng, edges_and_baseline):
    edges, base = edges_and_baseline
    effect, window = DesignEffect.unknown(base), np.zeros((COLUMNS, BINS), np.int64)
    state = rng.normal(size=COLUMNS)
    for pane in range(300):
        rows = np.empty((50, COLUMNS))
        for at, fresh in enumerate(rng.normal(size=rows.shape)):
            state = rows[at] = 0.9 * state + math.sqrt(1 - 0.81) * fresh
        counts = counted(rows, edges)
        effect.add(base, counts)
        window = window + counts if pane >= 200 else window
    assert "drift" in judge(base, window, KNOWN).verdicts
    assert set(judge(base, window, effect.estimate()).verdicts) <= {"ok", "watch"}
