"""Page and Hinkley's test finds what the slow twin finds, and begins anew."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import page_hinkley as ph
from tests import reference

SETTINGS = (ph.DELTA, ph.LIMIT, ph.LEAST_ROWS, ph.LEAST_DEVIATION)


def fed(losses):
    state = np.zeros(ph.WORDS)
    return state, [n for n, loss in enumerate(losses, 1) if ph.update(state, loss)]


def stream(seed, *parts):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random(n) < rate for n, rate in parts]).astype(float)


@pytest.mark.parametrize(
    "parts",
    [[(150, 0.1), (100, 0.9)], [(300, 0.3)], [(200, 0.0), (90, 1.0)], [(130, 0.5), (130, 0.0)]],
)
def test_rises_are_those_of_the_slow_twin(parts):
    losses = stream(2, *parts)
    assert fed(losses)[1] == reference.page_hinkley(losses.tolist(), *SETTINGS)


def test_a_rise_by_one_deviation_is_found_soon_and_only_once():
    for seed in range(20):
        _, rises = fed(stream(seed, (3000, 0.1), (1000, 0.4)))
        assert len(rises) == 1
        assert 3000 < rises[0] < 3000 + 3 * ph.LIMIT


def test_after_a_rise_the_new_level_is_the_usual_one():
    state, rises = fed(stream(5, (1000, 0.05), (3000, 0.5)))
    assert (len(rises), state[ph.RISES], state[ph.LAST]) == (1, 1.0, rises[0])
    assert state[ph.ROWS] == 4000 - rises[0]
    assert state[ph.MEAN] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.5, 1.0])
def test_without_a_change_rises_are_rare(rate):
    """None in 200,000: ten million gave five at most."""
    assert fed(stream(6, (200_000, rate)))[1] == []


def test_a_fall_is_no_rise():
    assert fed(stream(8, (1000, 0.6), (2000, 0.1)))[1] == []
