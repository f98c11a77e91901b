"""How far distributions are apart: right by definition, and surely so at all times."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gateway.rollouts.differences import Differences

ONES = np.ones(1)


def counts(*numbers):
    return np.array([numbers], np.int64)


def test_the_difference_is_of_shares_weighted_by_the_sizes_of_moments():
    found = Differences([3], [True])
    found.add(counts(1, 1, 2), counts(10, 5, 5))  # 0.25 and 0.5, 0.5 and 0.75
    found.add(counts(8, 0, 0), counts(2, 6, 0))  # 1 and 0.25, 1 and 1
    first, second = 4 * 20 / 24, 8 * 8 / 16
    at_first_edge = (first * -0.25 + second * 0.75) / (first + second)
    at_second = (first * -0.25 + second * 0.0) / (first + second)
    (one,) = found.found(0.01, ONES)
    assert one is not None
    assert one.found == pytest.approx(max(abs(at_first_edge), abs(at_second)))


def test_classes_are_held_against_each_other_one_by_one():
    found = Differences([3], [False])
    found.add(counts(5, 5, 0), counts(5, 0, 5))
    (one,) = found.found(0.01, ONES)
    assert one is not None
    assert one.found == pytest.approx(0.5)


def test_where_one_of_both_has_nothing_nothing_is_learnt():
    found = Differences([2, 1], [True, True])
    found.add(np.array([[3, 4], [7, 0]]), np.zeros((2, 2), np.int64))
    assert found.found(0.01, np.ones(2)) == [None, None]


def drawn(rng, sizes, shares):
    return rng.multinomial(sizes, shares)[None, :].astype(np.int64)


def test_the_true_difference_is_never_outside_in_all_but_alpha_of_runs():
    rng = np.random.default_rng(1)
    candidate, baseline = np.array([0.2, 0.3, 0.5]), np.array([0.35, 0.35, 0.3])
    wrong = 0
    for _ in range(300):
        found = Differences([3], [True])
        out = False
        for _ in range(100):
            found.add(drawn(rng, 5, candidate), drawn(rng, 20, baseline))
            (one,) = found.found(0.1, ONES)
            assert one is not None
            out |= not one.least <= 0.2 <= one.most
        wrong += out
    assert wrong <= 30


def test_of_a_rare_class_as_much_is_known_after_fewer_rows():
    def surely(shares, others):
        some = Differences([2], [False])
        for _ in range(40):
            some.add(*(counts(*(1000.0 * np.array(one)).astype(int)) for one in (shares, others)))
        (found,) = some.found(0.01, np.ones(1))
        return found

    rare, common = surely([0.08, 0.92], [0.03, 0.97]), surely([0.53, 0.47], [0.48, 0.52])
    assert rare.found == pytest.approx(common.found) == pytest.approx(0.05)
    assert rare.most - rare.found < 0.6 * (common.most - common.found)


def test_traffic_that_changes_while_weights_do_is_no_difference():
    """What Simpson's paradox would make of the sums alone."""
    rng = np.random.default_rng(2)
    found = Differences([2], [True])
    for candidates, shares in ((5, [0.1, 0.9]), (95, [0.9, 0.1])):
        for _ in range(100):
            found.add(drawn(rng, candidates, shares), drawn(rng, 100 - candidates, shares))
    (one,) = found.found(0.01, ONES)
    assert one is not None
    assert one.least == 0.0
    assert one.most < 0.15


def test_dependent_values_widen_it_by_the_root_of_the_design_effect():
    found = Differences([2], [True])
    for _ in range(1000):
        found.add(counts(5, 5), counts(50, 50))
    (narrow,), (wide,) = found.found(0.01, ONES), found.found(0.01, 4.0 * ONES)
    assert narrow is not None
    assert wide is not None
    assert 1.9 < wide.most / narrow.most < 2.3


def test_nothing_is_sure_as_long_as_nobody_knows_how_much_values_depend_on_each_other():
    found = Differences([2], [True])
    for _ in range(1000):
        found.add(counts(9, 1), counts(1, 9))
    (one,) = found.found(0.01, np.array([np.nan]))
    assert one is not None
    assert (one.least, one.most) == (0.0, 1.0)
    assert one.found == pytest.approx(0.8)


def test_a_successor_goes_on_from_what_was_remembered():
    rng = np.random.default_rng(3)
    moments = [(drawn(rng, 9, [0.4, 0.6]), drawn(rng, 90, [0.5, 0.5])) for _ in range(20)]
    whole, half = Differences([2], [True]), Differences([2], [True])
    for one in moments:
        whole.add(*one)
    for one in moments[:10]:
        half.add(*one)
    successor = Differences([2], [True], json.loads(json.dumps(half.memory())))
    for one in moments[10:]:
        successor.add(*one)
    assert successor.found(0.01, ONES) == whole.found(0.01, ONES)
