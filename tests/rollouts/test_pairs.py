"""Sums of pairs become figures that hold however often one looks."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.rollouts.pairs import PROBABILITIES, VALUES, WHOLE, Pairs, added_up
from kernels import pairs as p
from kernels.answers import WORDS
from kernels.performance import BINARY, VALUE


def counted(first, second, told=BINARY, slot=None):
    """The words of a slot after these pairs."""
    slot = np.zeros(WORDS, np.int64) if slot is None else slot
    rows = len(first)
    first, second = (
        np.ascontiguousarray(one, np.float64).reshape(rows, 1) for one in (first, second)
    )
    p.compare(slot, first, second, 0, told, 0.5, 0.01, np.empty(rows))
    slot[p.COPIED] += rows
    return slot


def pairs_of(first, second, told=BINARY):
    return Pairs(added_up(counted(first, second, told)[None, :]))


def test_slots_add_up_and_what_came_between_two_looks_is_their_difference():
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 300))
    one, other = counted(first[:100], second[:100]), counted(first[100:200], second[100:200])
    early = Pairs(added_up(np.stack([one, other])))
    late = Pairs(added_up(np.stack([one, counted(first[200:], second[200:], slot=other)])))
    between, wanted = late.since(early), pairs_of(first[200:], second[200:])
    assert (between.rows, between.disagreeing) == (100, wanted.disagreeing)
    assert between.plain() == pytest.approx(wanted.plain())
    assert early.and_(between).plain() == pytest.approx(late.plain())
    assert Pairs.of(early.plain()).plain() == early.plain()


def test_counts_that_begin_anew_are_taken_whole():
    before, after = pairs_of([0.1, 0.2], [0.1, 0.2]), pairs_of([0.3], [0.3])
    assert after.since(before).rows == 1
    assert Pairs.of([1.0]).rows == 0  # of another layout


def test_every_row_that_was_copied_is_something():
    slot = counted([0.1, 0.2, 0.3], [0.1, np.nan, 0.3])
    slot[p.COPIED] += 10
    slot[p.DROPPED] += 4
    slot[p.FAILED] += 3
    found = Pairs(added_up(slot[None, :]))
    became = (found.copied, found.rows, found.unlike, found.dropped, found.failed, found.waiting)
    assert became == (13, 2, 1, 4, 3, 3)
    assert found.failures.value == 4 / 6


@pytest.mark.parametrize(
    ("first", "second", "told", "compared"),
    [
        ([0.2], [0.3], BINARY, PROBABILITIES),
        ([20.0], [30.0], VALUE, VALUES),
    ],
)
def test_what_was_compared_is_known_from_the_sums(first, second, told, compared):
    assert pairs_of(first, second, told).compared == compared


def test_whole_answers_have_no_differences():
    values = np.zeros(WORDS)
    values[[p.ROWS, p.AGREED]] = 5, 4
    found = Pairs(values)
    assert found.compared == WHOLE
    assert (found.disagreement.value, found.difference.value) == (0.2, None)
    assert found.calibration_gap is None


def test_a_shift_of_scores_is_seen_and_an_interval_holds_it():
    rng = np.random.default_rng(2)
    first = rng.beta(2, 2, 5000) * 0.9
    found = pairs_of(first, first + 0.02 + rng.normal(0, 0.01, 5000))
    assert found.difference.value == pytest.approx(0.02, abs=0.001)
    low, high = found.difference.interval
    assert 0.0 < low < 0.02 < high < 0.03
    assert found.log10_e > 100
    assert found.calibration_gap == pytest.approx(0.02, abs=0.001)
    assert sum(rows for _, _, rows in found.histogram) == 5000
    (most,) = [
        one for one in found.histogram if one[2] == max(rows for *_, rows in found.histogram)
    ]
    assert most[:2] == (0.01, 0.02) or most[:2] == (0.02, 0.05)


def test_a_shift_of_values_is_seen():
    first = np.random.default_rng(3).normal(100, 10, 2000)
    found = pairs_of(first, first + 3.0, VALUE)
    assert found.difference.value == pytest.approx(3.0)
    assert found.disagreement.value > 0.9


def test_whoever_looks_after_each_batch_at_equal_models_is_seldom_wrong():
    rng, wrong, signs = np.random.default_rng(4), 0, 0
    for _ in range(200):
        first = rng.random(600)
        second = np.clip(first + rng.normal(0, 0.05, 600), 0, 1)
        swap = rng.random(600) < 0.5  # neither is the one that is higher
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        slot, looks = np.zeros(WORDS, np.int64), []
        for start in range(0, 600, 30):
            counted(first[start : start + 30], second[start : start + 30], slot=slot)
            found = Pairs(added_up(slot[None, :]))
            low, high = found.difference.interval or (-1.0, 1.0)
            looks.append((low > 0 or high < 0, found.log10_e > np.log10(20)))
        wrong += any(one for one, _ in looks)
        signs += any(one for _, one in looks)
    assert wrong <= 0.05 * 200
    assert signs <= 0.05 * 200 + 5


def test_what_a_row_costs_is_that_of_runs_that_both_have_made():
    slot = counted([0.1], [0.1])
    slot[[p.BOTH_ROWS, p.SECOND_NS, p.FIRST_NS]] = 10, 30_000, 20_000
    found = Pairs(added_up(slot[None, :]))
    assert (found.row_s, found.answered_row_s, found.cost_ratio) == (3e-6, 2e-6, 1.5)
    assert Pairs.nothing().cost_ratio is None
