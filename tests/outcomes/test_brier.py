"""The parts of the Brier score lie where their intervals say, at all looks at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.outcomes.brier import brier_parts
from gateway.outcomes.calibration import CALIBRATION_BINS
from gateway.outcomes.intervals import SCATTERED, scatter
from kernels.performance import BIN_SUMS, SS, SY, N, S, Y

RUNS, LOOKS = 40, np.array([5, 60, 700, 6000])
# 2 of 40 are to be expected at most; three standard deviations more would be chance.
MAX_MISSED = 2 + 3 * math.sqrt(1.9)

# Scores, how often each is said, and how often it comes true.
MODELS = {
    "calibrated": (np.linspace(0.02, 0.98, 45), np.full(45, 1 / 45), np.linspace(0.02, 0.98, 45)),
    "upside-down": (np.linspace(0.02, 0.98, 45), np.full(45, 1 / 45), np.linspace(0.9, 0.1, 45)),
    "says-nothing": (np.array([0.5]), np.ones(1), np.array([0.5])),
    "sure-of-it": (np.array([0.001, 0.999]), np.array([0.9, 0.1]), np.array([0.002, 0.97])),
    # Both ends of each bin, and outcomes that follow them: all that can be within bins.
    "within-bins": (
        np.sort(np.concatenate([np.arange(15) / 15 + 1e-6, np.arange(1, 16) / 15])),
        np.full(30, 1 / 30),
        np.tile([0.0, 1.0], 15),
    ),
}


def bins_of(scores, counts, ones):
    """(CALIBRATION_BINS, BIN_SUMS) of so many rows with these scores, and outcomes of 1."""
    places = np.maximum(np.ceil(scores * CALIBRATION_BINS - 1e-9).astype(int) - 1, 0)
    found = np.zeros((CALIBRATION_BINS, BIN_SUMS))
    whats = {N: counts, Y: ones, S: scores * counts, SS: scores**2 * counts, SY: scores * ones}
    for of, what in whats.items():
        np.add.at(found[:, of], places, what)
    return found


def ends(figure):
    assert figure.interval is not None
    assert figure.interval[0] - 1e-12 <= figure.value <= figure.interval[1] + 1e-12
    return figure.interval


@pytest.mark.parametrize("model", MODELS)
def test_brier_parts_are_covered_at_all_times_at_once(model):
    scores, said, rates = MODELS[model]
    many = 1e9
    parts = brier_parts(bins_of(scores, said * many, said * rates * many))
    truth = {name: one.value for name, one in parts.items()}
    rng = np.random.default_rng(21)
    missed = dict.fromkeys(truth, 0)
    for _ in range(RUNS):
        counts, ones, wrong = np.zeros(len(scores)), np.zeros(len(scores)), set()
        for rows in np.diff(LOOKS, prepend=0):
            new = rng.multinomial(rows, said)
            counts, ones = counts + new, ones + rng.binomial(new, rates)
            for name, one in brier_parts(bins_of(scores, counts, ones)).items():
                low, high = ends(one)
                wrong |= set() if low <= truth[name] <= high else {name}
        for name in wrong:
            missed[name] += 1
    assert max(missed.values()) <= MAX_MISSED, missed


def test_intervals_close_in_on_what_they_are_of():
    scores, said, rates = MODELS["calibrated"]
    widths = []
    for rows in (1e3, 1e5, 1e7):
        found = brier_parts(bins_of(scores, said * rows, said * rates * rows))
        widths.append([high - low for low, high in map(ends, found.values())])
    assert np.all(np.diff(widths, axis=0) < 0.0)
    assert max(widths[-1]) < 0.002


def test_means_of_groups_lie_as_near_all_together_as_is_said():
    rng, each = np.random.default_rng(22), np.array([3000, 400, 40, 1, 0])
    rates, missed = np.array([0.5, 0.1, 0.9, 0.5, 0.5]), 0
    for _ in range(RUNS):
        hits, n, passed = np.zeros(5), np.zeros(5), False
        for _ in range(10):
            new = rng.binomial(each, 0.1) + (n == 0.0) * (each > 0)
            n, hits = n + new, hits + rng.binomial(new, rates)
            apart = (hits - n * rates) ** 2 / (n + 0.25)
            passed |= bool(apart.sum() > scatter(n, 1.0))
        missed += passed
    assert missed <= MAX_MISSED
    n = np.arange(1.0, 50.0)
    assert np.all(n <= SCATTERED * n**2 / (n + 0.25) + 1e-12)
