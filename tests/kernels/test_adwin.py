"""ADWIN's window is that of the slow twin, is bounded, and is cut where the mean has changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import adwin
from tests import reference

SETTINGS = (adwin.DELTA, adwin.CLOCK, adwin.LEAST_PART, adwin.PER_LEVEL)


def fed(losses):
    """The state after some losses, and at which of them a rise was found."""
    state = np.zeros(adwin.WORDS)
    return state, [n for n, loss in enumerate(losses, 1) if adwin.update(state, loss)]


def stream(rng, *parts):
    """Errors: how many, and at which rate."""
    return np.concatenate([rng.random(n) < rate for n, rate in parts]).astype(float)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([(700, 0.2)], id="one-rate"),
        pytest.param([(400, 0.05), (300, 0.5)], id="a-rise"),
        pytest.param([(400, 0.6), (300, 0.1)], id="a-fall"),
        pytest.param([(300, 0.0), (200, 1.0), (200, 0.0)], id="there-and-back"),
    ],
)
def test_the_window_is_that_of_the_slow_twin(parts):
    losses = stream(np.random.default_rng(7), *parts)
    state, rises = fed(losses)
    wanted, falls, left = reference.adwin(losses.tolist(), *SETTINGS)
    assert (rises, state[adwin.FALLS], state[adwin.ROWS]) == (wanted, falls, len(left))
    assert state[adwin.TOTAL] == pytest.approx(sum(left))
    assert state[adwin.SQUARES] == pytest.approx(np.var(left) * len(left), abs=1e-9)
    assert (state[adwin.RISES], state[adwin.LAST]) == (len(rises), max(rises, default=0))


@given(st.lists(st.floats(0.0, 1.0), max_size=300))
def test_whatever_comes_the_window_is_a_tail_of_it(losses):
    state, _ = fed(losses)
    rows = int(state[adwin.ROWS])
    left = losses[len(losses) - rows :]
    assert state[adwin.TOTAL] == pytest.approx(sum(left), abs=1e-6)
    assert 0.0 <= state[adwin.SQUARES] <= np.var(left or [0.0]) * rows + 1e-6


def test_a_rise_is_found_and_the_means_on_both_sides_are_told():
    for seed in range(20):
        losses = stream(np.random.default_rng(seed), (4000, 0.05), (500, 0.3))
        state, rises = fed(losses)
        # What is left of the old losses may go in several looks.
        assert 4000 < rises[0] <= rises[-1] <= 4000 + 300
        assert state[adwin.BEFORE] < 0.1 < state[adwin.AFTER]


def test_a_fall_shortens_the_window_and_is_no_rise():
    state, rises = fed(stream(np.random.default_rng(1), (2000, 0.4), (1000, 0.05)))
    assert (rises, state[adwin.FALLS] > 0, state[adwin.ROWS] < 1500) == ([], True, True)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.5, 1.0])
def test_without_a_change_rises_are_rare(rate):
    """None in 200,000: ten million gave one at most."""
    state = np.zeros(adwin.WORDS)
    for loss in stream(np.random.default_rng(3), (200_000, rate)):
        adwin.update(state, loss)
    assert (state[adwin.RISES], state[adwin.ROWS]) == (0.0, 200_000.0)
