"""Pairs of a language model's answers are counted as their slow twin says, and slots add up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kernels import answers as a
from kernels import pairs as p
from tests import reference

ASPECTS = len(a.ASPECTS)


def tables(rows, seed):
    """Figures of what two models answered, with some that nobody knows."""
    rng = np.random.default_rng(seed)

    def one():
        table = np.empty((rows, a.COLUMNS))
        table[:, :ASPECTS] = rng.random((rows, ASPECTS)) < 0.1
        table[:, ASPECTS:] = rng.lognormal(0, 2, (rows, len(a.MEASURES)))
        table[rng.random(table.shape) < 0.05] = np.nan
        return table

    first, second = one(), one()
    first[:4, ASPECTS:], second[:3, ASPECTS:] = 0.0, 7.0
    second[3, ASPECTS:] = 0.0
    return first, second


def counted(first, second, alike=None, slot=None):
    slot = np.zeros(a.WORDS, np.int64) if slot is None else slot
    unlikeness = np.full(len(first), -1.0)
    alike = np.full(len(first), np.nan) if alike is None else alike
    a.compare(slot, first, second, alike, unlikeness)
    return slot, unlikeness


def test_answers_are_counted_as_their_slow_twin_says():
    first, second = tables(400, 3)
    slot, unlikeness = counted(first, second)
    found = reference.compared_answers(first.tolist(), second.tolist(), ASPECTS, a.LARGEST)
    for aspect in range(ASPECTS):
        at = a.ASPECTS_FIRST + aspect * a.ASPECT_WIDTH
        known = [one["aspects"][aspect] for one in found if one["aspects"][aspect] is not None]
        assert slot[at + a.COMPARED] == len(known)
        assert slot[at + a.DIFFERING] == sum(was != now for was, now in known) > 0
        assert slot[at + a.RISEN] == sum(now > was for was, now in known)
    floats = slot.view(np.float64)
    for measure in range(len(a.MEASURES)):
        at = a.MEASURES_FIRST + measure * a.MEASURE_WIDTH
        ratios = [one["ratios"][measure] for one in found if one["ratios"][measure] is not None]
        assert slot[at + a.KNOWN] == len(ratios)
        assert slot[at + a.HIGHER] == sum(one > 0 for one in ratios)
        assert slot[at + a.LOWER] == sum(one < 0 for one in ratios)
        assert floats[at + a.UP] - floats[at + a.DOWN] == pytest.approx(sum(ratios))
        assert floats[at + a.SQUARES] == pytest.approx(sum(one**2 for one in ratios))
        known = np.isfinite(first[:, ASPECTS + measure] + second[:, ASPECTS + measure])
        assert floats[at + a.FIRST_SUM] == pytest.approx(first[known, ASPECTS + measure].sum())
        assert floats[at + a.SECOND_SUM] == pytest.approx(second[known, ASPECTS + measure].sum())
        assert slot[at + a.RATIOS : at + a.MEASURE_WIDTH].sum() == len(ratios)
    agreed = [all(one is None or one[0] == one[1] for one in row["aspects"]) for row in found]
    assert slot[p.ROWS] == 400
    assert slot[p.AGREED] == sum(agreed)
    assert (unlikeness > 1.0).tolist() == [not one for one in agreed]


@pytest.mark.parametrize(
    ("ratio", "place"),
    [(1.0, 6), (1.04, 6), (1.06, 7), (1 / 1.06, 5), (2.1, 10), (9.0, 12), (1e9, 12), (1e-9, 0)],
)
def test_a_ratio_is_counted_where_it_belongs(ratio, place):
    steps = min(max(math.log(ratio, a.LARGEST), -1.0), 1.0)
    assert a.bin_of(steps) == place


def test_what_is_missing_to_likeness_makes_answers_unlike():
    table = np.zeros((4, a.COLUMNS))
    other = table.copy()
    other[3, 0] = 1.0
    alike = np.array([1.0, 0.25, np.nan, 0.0])
    slot, unlikeness = counted(table, other, alike)
    assert unlikeness.tolist() == [0.0, 0.75, 0.0, 2.2]
    floats = slot.view(np.float64)
    assert slot[a.TEXTS] == 3
    assert floats[a.MISSING] == 1.75
    assert floats[a.MISSING_SQUARES] == 0.75**2 + 1.0
    assert slot[a.BY_LIKENESS :].tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_what_differs_in_the_same_words_does_not_agree():
    table = np.zeros((3, a.COLUMNS))
    other = table.copy()
    other[1, 0] = 1.0
    other[2, :2] = 1.0
    _, unlikeness = counted(table, other, np.array([0.0, 1.0, 1.0]))
    assert unlikeness.tolist() == [1.0, 1.2, 1.4]


def test_nothing_stands_where_scores_are_counted():
    first, second = tables(50, 8)
    slot, _ = counted(first, second)
    slot[[p.ROWS, p.AGREED]] = 0
    assert not slot[: p.WORDS].any()


def test_slots_add_up():
    first, second = tables(100, 4)
    whole, _ = counted(first, second)
    one, _ = counted(first[:30], second[:30])
    other, _ = counted(first[30:], second[30:])
    floats = list(a.FLOATS)
    for slot in (whole, one, other):
        slot[floats] = (slot.view(np.float64)[floats] * 1e6).round()
    assert np.abs(one + other - whole).max() <= 2  # the millionths are rounded thrice
