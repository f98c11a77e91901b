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


ALIKE = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=40)


class State:
    """One column of three groups, with an order or without."""

    def __init__(self, ordered=True):
        self.ordered = ordered
        shape = (dependence.SCALES, 1)
        self.filling = np.zeros((*shape, 3), np.int64)
        self.previous = np.zeros((*shape, 3), np.int64)
        self.sums = np.zeros((*shape, dependence.READINGS))
        self.pairs = np.zeros(shape, np.int64)
        self.matrices = np.zeros((*shape, 3, 3))
        self.ticks = 0

    def tick(self, counts):
        self.ticks += 1
        dependence.tick(
            self.ticks,
            np.array([counts]),
            np.array([3]),
            np.array([SHARES]),
            np.array([[SCORES, SPREAD]]) * self.ordered,
            np.array([-1 if self.ordered else 0]),
            self.filling,
            self.previous,
            self.sums,
            self.pairs,
            self.matrices,
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


@given(ALIKE)
def test_without_order_every_scale_reads_the_scatter_that_its_slow_twin_reads(panes):
    state = State(ordered=False)
    for pane in panes:
        state.tick(pane)
    for scale in range(4):
        least, most = (
            reference.widest_scatter(panes, scale, SHARES, too_large) for too_large in (1.0, 1.04)
        )
        assert least - 1e-6 <= state.sums[scale, 0, 2] <= most + 1e-6
        assert not state.sums[scale, 0, :2].any()


@given(ALIKE)
def test_what_has_an_order_reads_no_matrix(panes):
    state = State()
    for pane in panes:
        state.tick(pane)
    assert not state.matrices.any()


@given(st.integers(1, 10), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_the_largest_eigenvalue_is_at_most_4_percent_too_large(size, rank, seed):
    factor = np.random.default_rng(seed).normal(size=(size, rank))
    matrix = factor @ factor.T
    true = np.linalg.eigvalsh(matrix)[-1]
    assert true * (1 - 1e-9) <= dependence.largest_eigenvalue(matrix, size) <= 1.04 * true


def test_a_constant_that_is_another_one_at_times_scatters_as_much_as_its_own_share():
    matrix, shares = np.diag([6.0, 0.0]), np.array([1.0, 0.0])
    assert dependence.along_the_widest(matrix, 2, shares, 16) == pytest.approx(6.0)


def test_the_largest_eigenvalue_of_nothing_is_0():
    assert dependence.largest_eigenvalue(np.zeros((3, 3)), 3) == 0.0


def fed(rng, panes, rows, persistence, drawn=None, ordered=True):
    """A column whose rows repeat the row before with a probability, else are drawn anew."""
    state, group = State(ordered), 0
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


@pytest.mark.parametrize("ordered", [True, False])
def test_independent_rows_have_an_effect_near_1(ordered):
    got = fed(np.random.default_rng(1), 400, 50, 0.0, ordered=ordered).estimate()
    assert 1.0 <= got < 1.4


@pytest.mark.parametrize("ordered", [True, False])
def test_persistent_rows_have_the_effect_that_theory_gives(ordered):
    true = (1 + 0.8) / (1 - 0.8)
    got = fed(np.random.default_rng(2), 1500, 40, 0.8, ordered=ordered).estimate()
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
