"""Sums by group and by pair of groups are those of the records that are in them."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import groups as g
from kernels.marks import GROUPINGS, HELD_OUT, grouped
from kernels.performance import VALUE
from tests.outcomes.records import NOON_MS, records

EVERYTHING = (1, 0, 2 * NOON_MS)


def cells_of(words, groupings=GROUPINGS, which=EVERYTHING):
    found = g.no_cells(groupings)
    g.add_cells(found, words, *which)
    return found


def marked(rng, count, groups):
    """(GROUPINGS, count) numbers of groups, and the marks that say so."""
    told = rng.integers(0, groups, (GROUPINGS, count))
    marks = np.zeros(count, np.int64)
    for grouping, some in enumerate(told):
        marks |= np.array([grouped(grouping, one)[1] for one in some.tolist()])
    return told, marks


def by_hand(score, outcome):
    """The sums of one binary record, by their definitions."""
    selected = float(score > 0.5)
    if outcome != outcome:
        return [1, 1, selected, 0, 0, 0, 0, 0, 0, 0]
    wrong, hits = float(selected != outcome), selected * outcome
    false, off = selected * (1 - outcome), outcome - score
    return [1, 1, selected, 1, wrong, outcome, hits, false, off * off, off]


def test_each_record_counts_in_its_groups_and_in_every_pair_of_them():
    rng = np.random.default_rng(4)
    told, marks = marked(rng, 300, 4)
    scores, outcomes = rng.random(300), rng.choice([0.0, 1.0, np.nan], 300)
    words = records(range(300), scores=scores, outcomes=outcomes, marks=marks | HELD_OUT)
    wanted = g.no_cells(GROUPINGS)
    for row in range(300):
        for first in range(GROUPINGS):
            for second in range(first, GROUPINGS):
                place = first, second, told[first, row], told[second, row]
                wanted[place] += by_hand(scores[row], outcomes[row])
    assert cells_of(words) == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    few = cells_of(words, groupings=2)
    assert few == pytest.approx(wanted[:2, :2], rel=1e-12, abs=1e-12)


def test_positive_is_what_lies_above_the_threshold():
    words = records(range(4), scores=[0.1, 0.3, 0.31, 0.9], outcomes=[0.0, 1.0, 1.0, 0.0])
    found = g.no_cells(1)
    g.add_cells(found, words, 1, 0, 2 * NOON_MS, 0.3)
    cell = found[0, 0, 0, 0]
    assert cell[[g.SELECTED, g.WRONG, g.HITS, g.FALSE_HITS]].tolist() == [2, 2, 1, 1]


def test_the_last_group_of_the_last_slicing_has_a_place():
    _, last = grouped(GROUPINGS - 1, g.GROUPS - 1)
    found = cells_of(records([0], marks=last))
    assert found[-1, -1, -1, -1, g.N] == 1
    assert found[0, 0, 0, 0, g.N] == 1


def test_other_series_and_times_and_scores_that_are_none_count_nowhere():
    words = records(
        range(5),
        series=[1, 2, 1, 1, 1],
        at_ms=[10, 10, 9, 20, 10],
        scores=[0.5, 0.5, 0.5, 0.5, np.nan],
    )
    assert cells_of(words, 1, (1, 10, 20))[0, 0, 0, 0, g.N] == 1


def test_of_several_classes_it_counts_whether_the_top_one_was_right():
    words = records(range(3), scores=0.75, tops=[2, 0, 2], outcomes=[2.0, 2.0, np.nan])
    cell = cells_of(words, 1)[0, 0, 0, 0]
    assert cell[[g.N, g.BINARIES, g.LABELLED, g.WRONG, g.POSITIVE]].tolist() == [3, 0, 2, 1, 0]
    assert cell[g.SQUARES] == pytest.approx(0.25**2 + 0.75**2)
    assert cell[g.APART] == pytest.approx(0.25 - 0.75)


def test_values_are_answered_and_neither_right_nor_wrong():
    cell = cells_of(records([0], scores=17.0, tops=VALUE, outcomes=12.0), 1)[0, 0, 0, 0]
    assert np.flatnonzero(cell).tolist() == [g.N]
