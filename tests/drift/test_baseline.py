"""A reference's bins joined to groups: none lost, none empty, about equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drift.baseline import GROUPS, Baseline, joined

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=70).filter(any)


def baseline(counts, ordered=True, **options):
    return Baseline.of(np.array([counts]), np.array([len(counts)]), np.array([ordered]), **options)


@given(COUNTS, st.booleans())
def test_every_row_is_in_one_group_and_no_group_is_empty(counts, ordered):
    base = baseline(counts, ordered)
    groups = int(base.groups[0])
    assert 1 <= groups <= GROUPS
    assert base.grouped[0].sum() == sum(counts)
    assert (base.grouped[0, groups:] == 0).all()
    if ordered or 0 not in counts:
        assert (base.grouped[0, :groups] > 0).all()


@given(COUNTS)
def test_groups_of_ordered_bins_are_neighbours(counts):
    assert (np.diff(baseline(counts).group_of[0]) >= 0).all()


def test_sixty_equal_bins_become_ten_groups_of_six():
    base = baseline([83] * 60)
    assert base.group_of[0].tolist() == [bin // 6 for bin in range(60)]


def test_rare_categories_share_the_last_group():
    counts = [5, 900, 3, *([100] * 8), 1]
    base = baseline(counts, ordered=False)
    assert base.grouped[0].tolist() == [900, *([100] * 8), 9]


@given(COUNTS)
def test_scores_have_mean_0_and_variance_1_where_they_tell_groups_apart(counts):
    base = baseline(counts)
    for scores in base.scores[0]:
        mean, square = (base.shares[0] * scores).sum(), (base.shares[0] * scores**2).sum()
        assert mean == pytest.approx(0.0, abs=1e-9)
        assert square == pytest.approx(1.0) or square == 0.0


def test_categories_have_no_scores():
    assert not baseline([5, 6, 7], ordered=False).scores.any()


def test_a_column_without_bins_or_rows_has_no_evidence_to_give():
    base = Baseline.of(np.zeros((2, 3), np.int64), np.array([0, 3]), np.array([True, True]))
    assert base.groups.tolist() == [0, 1]
    assert not base.shares.any()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30))
def test_joining_adds_up(pairs):
    one, other = (np.array([[pair[at] for pair in pairs]]) for at in (0, 1))
    group_of = np.arange(len(pairs))[None] % GROUPS
    assert (joined(one, group_of) + joined(other, group_of) == joined(one + other, group_of)).all()
