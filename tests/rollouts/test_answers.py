"""Sums of pairs of a language model's answers become figures that hold however often one looks."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.rollouts.pairs import Pairs, added_up
from kernels import answers as a

ASPECTS = len(a.ASPECTS)
REFUSED, TOKENS = a.ASPECTS.index("refused"), ASPECTS + a.MEASURES.index("output_tokens")


def plain(rows):
    """Answers that have nothing of any aspect, and one of each measure."""
    table = np.zeros((rows, a.COLUMNS))
    table[:, ASPECTS:] = 1.0
    return table


def found_of(first, second, alike=None):
    slot = np.zeros(a.WORDS, np.int64)
    alike = np.full(len(first), np.nan) if alike is None else alike
    a.compare(slot, first, second, alike, np.empty(len(first)))
    return Pairs(added_up(slot[None, :]))


def aspect(pairs, name):
    return next(one for one in pairs.answers.aspects if one.name == name)


def measure(pairs, name):
    return next(one for one in pairs.answers.measures if one.name == name)


def test_where_nothing_was_compared_there_is_nothing_to_tell():
    assert Pairs.nothing().answers is None


def test_an_aspect_tells_how_often_and_on_which_side_it_differs():
    first, second = plain(200), plain(200)
    second[:30, REFUSED] = 1.0
    first[30:32, REFUSED] = 1.0
    pairs = found_of(first, second)
    refused = aspect(pairs, "refused")
    assert refused.differing.value == 32 / 200
    assert refused.sides == (2, 30)
    assert refused.log10_e > 1.3
    finish = aspect(pairs, "finish")
    assert (finish.differing.value, finish.sides, finish.log10_e) == (0.0, None, None)
    assert pairs.disagreement.value == 32 / 200
    assert pairs.difference.value is None  # there are no scores


def test_an_aspect_that_nobody_has_is_not_told():
    first, second = plain(5), plain(5)
    first[:, a.ASPECTS.index("tools")] = np.nan
    names = [one.name for one in found_of(first, second).answers.aspects]
    assert names == ["finish", "refused", "empty", "json_valid"]


def test_a_measure_is_told_as_a_ratio_of_either_side():
    rng = np.random.default_rng(2)
    first, second = plain(2000), plain(2000)
    first[:, TOKENS] = rng.lognormal(5, 1, 2000)
    second[:, TOKENS] = first[:, TOKENS] * rng.lognormal(np.log(1.5), 0.2, 2000)
    tokens = measure(found_of(first, second), "output_tokens")
    assert tokens.means == pytest.approx((first[:, TOKENS].mean(), second[:, TOKENS].mean()))
    assert tokens.ratio.value == pytest.approx(1.5, rel=0.02)
    low, high = tokens.ratio.interval
    assert 1.35 < low < 1.5 < high < 1.65
    assert tokens.higher + tokens.lower == 2000 == sum(one[2] for one in tokens.bins)
    assert tokens.log10_e > 100
    same = measure(found_of(first, first), "output_tokens")
    assert (same.ratio.value, same.higher, same.lower) == (1.0, 0, 0)
    assert same.bins[a.SIDE] == (1 / 1.05, 1.05, 2000)


def test_likeness_is_told_with_where_it_lies():
    alike = np.full(500, 0.9)
    alike[:100] = 1.0
    pairs = found_of(plain(500), plain(500), alike)
    likeness = pairs.answers.likeness
    assert (likeness.value, likeness.n) == (pytest.approx(0.92), 500)
    low, high = likeness.interval
    assert 0.85 < low < 0.92 < high <= 1.0
    assert [one[2] for one in pairs.answers.by_likeness][-2:] == [0, 500]
    assert found_of(plain(3), plain(3)).answers.likeness.value is None


@pytest.mark.parametrize("name", a.MEASURES)
def test_intervals_of_ratios_hold_at_all_times_at_once(name):
    """Each look is at all that came by then; one miss at any of them is a miss."""
    rng = np.random.default_rng(a.MEASURES.index(name))
    column, misses = ASPECTS + a.MEASURES.index(name), 0
    for _ in range(60):
        slot = np.zeros(a.WORDS, np.int64)
        for _ in range(10):
            first, second = plain(20), plain(20)
            second[:, column] = rng.lognormal(0.0, 1.0, 20)
            a.compare(slot, first, second, np.full(20, np.nan), np.empty(20))
            low, high = measure(Pairs(added_up(slot[None, :])), name).ratio.interval
            if not low <= 1.0 <= high:
                misses += 1
                break
    assert misses <= 7  # of 60 at 5 %: more come once in 5,000 such tests
