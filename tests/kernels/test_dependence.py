"""Design effects: 1 for independent rows, the known value for rows that follow each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import dependence
from tests import reference

SHARES = [0.3, 0.4, 0.3]
SCORES = [-math.sqrt(1 / 0.6), 0.0, math.sqrt(1 / 0.6)]
SPREAD = [math.sqrt(2 / 3), -1.5 * math.sqrt(2 / 3), math.sqrt(2 / 3)]
PANES = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=40)


class State:
    """One column of three groups."""

    def __init__(self):
        shape = (dependence.SCALES, 1)
        self.filling = np.zeros((*shape, 3), np.int64)
        self.previous = np.zeros((*shape, 3), np.int64)
        self.sums = np.zeros((*shape, dependence.READINGS))
        self.pairs = np.zeros(shape, np.int64)
        self.ticks = 0

    def tick(self, counts):
        self.ticks += 1
        dependence.tick(
            self.ticks,
            np.array([counts]),
            np.array([3]),
            np.array([SHARES]),
            np.array([[SCORES, SPREAD]]),
            self.filling,
            self.previous,
            self.sums,
            self.pairs,
        )

    def estimate(self, min_pairs=16, min_batch=8.0, caution=1.0):
        out = np.empty(1)
        dependence.estimate(self.sums, self.pairs, min_pairs, min_batch, caution, out)
        return out[0]


@given(PANES)
def test_every_scale_compares_the_neighbours_that_its_slow_twin_compares(panes):
    state = State()
    for pane in panes:
        state.tick(pane)
    for scale in range(4):
        total, pairs = reference.neighbours_differ(panes, scale, SCORES)
        assert state.pairs[scale, 0] == pairs
        assert state.sums[scale, 0, 0] == pytest.approx(total, abs=1e-9)


def fed(rng, panes, rows, persistence, drawn=None):
    """A column whose rows repeat the row before with a probability, else are drawn anew."""
    state, group = State(), 0
    for pane in range(panes):
        counts = [0, 0, 0]
        shares = drawn(pane) if drawn else SHARES
        for fresh, new in zip(
            rng.random(rows), rng.choice(3, rows, p=shares).tolist(), strict=True
        ):
            group = group if fresh < persistence else new
            counts[group] += 1
        state.tick(counts)
    return state


def test_independent_rows_have_an_effect_near_1():
    assert 1.0 <= fed(np.random.default_rng(1), 400, 50, 0.0).estimate() < 1.4


def test_persistent_rows_have_the_effect_that_theory_gives():
    true = (1 + 0.8) / (1 - 0.8)
    got = fed(np.random.default_rng(2), 1500, 40, 0.8).estimate()
    assert got == pytest.approx(true, rel=0.3)


def test_one_lasting_change_does_not_pass_for_dependence():
    def drawn(pane):
        return SHARES if pane < 200 else [0.2, 0.4, 0.4]

    assert fed(np.random.default_rng(3), 220, 50, 0.0, drawn).estimate() < 1.5


def test_too_few_pairs_tell_nothing():
    assert math.isnan(fed(np.random.default_rng(4), 16, 50, 0.0).estimate())
    assert not math.isnan(fed(np.random.default_rng(4), 17, 50, 0.0).estimate())


def test_batches_shorter_than_what_they_measure_tell_nothing():
    assert math.isnan(fed(np.random.default_rng(5), 20, 10, 0.9).estimate())


def test_panes_without_rows_are_no_batches():
    state = State()
    for _ in range(40):
        state.tick([0, 0, 0])
    assert state.pairs.sum() == 0
    assert math.isnan(state.estimate())


@settings(max_examples=20)
@given(st.integers(dependence.MEMORY, 3 * dependence.MEMORY))
def test_what_is_long_past_counts_less_and_numbers_stay_small(panes):
    state = State()
    for pane in range(panes):
        state.tick([3 + pane % 2, 4, 3])
    assert state.pairs.max() < dependence.MEMORY
