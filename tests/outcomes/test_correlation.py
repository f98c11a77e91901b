"""The correlation of several classes is scikit-learn's, and lies where its interval says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from gateway.outcomes.correlation import mcc
from kernels.performance import CLASS_SUMS, MAX_CLASSES

RUNS, LOOKS = 40, np.array([5, 60, 700, 8000])
# 2 of 40 are to be expected at most; three standard deviations more would be chance.
MAX_MISSED = 2 + 3 * math.sqrt(1.9)


def mostly_right(classes, right):
    table = np.full((classes, classes), (1.0 - right) / (classes - 1) / classes)
    np.fill_diagonal(table, right / classes)
    return table


# How often each class (down) is taken for each (across).
TABLES = {
    "three-classes": mostly_right(3, 0.8),
    "two-hundred": mostly_right(200, 0.9),
    "by-chance": np.outer([0.7, 0.2, 0.1], [0.3, 0.3, 0.4]),
    "always-wrong": np.roll(np.eye(4), 1, axis=1) / 4.0,
    "rare": np.array([[0.985, 0.002, 0.001], [0.001, 0.006, 0.0], [0.002, 0.0, 0.003]]),
}


def counts_of(table):
    found = np.zeros((MAX_CLASSES, CLASS_SUMS))
    found[: len(table)] = np.stack((table.sum(axis=0), table.sum(axis=1), table.diagonal()), axis=1)
    return found


def ends(figure):
    assert figure.interval is not None
    assert figure.interval[0] <= figure.value <= figure.interval[1]
    return figure.interval


@pytest.mark.parametrize("name", TABLES)
def test_the_correlation_is_covered_at_all_times_at_once(name):
    table = TABLES[name]
    truth = mcc(counts_of(table * 1e9)).value
    rng, missed = np.random.default_rng(23), 0
    for _ in range(RUNS):
        seen, outside = np.zeros(table.size), False
        for rows in np.diff(LOOKS, prepend=0):
            seen += rng.multinomial(rows, table.ravel() / table.sum())
            found = mcc(counts_of(seen.reshape(table.shape)))
            if found.value is not None:
                low, high = ends(found)
                outside |= not low <= truth <= high
        missed += outside
    assert missed <= MAX_MISSED


def test_it_is_scikit_learns():
    rng = np.random.default_rng(24)
    actual, predicted = rng.integers(0, 5, 500), rng.integers(0, 5, 500)
    predicted = np.where(rng.random(500) < 0.7, actual, predicted)
    table = np.zeros((5, 5))
    np.add.at(table, (actual, predicted), 1.0)
    found = mcc(counts_of(table))
    assert found.value == pytest.approx(matthews_corrcoef(actual, predicted), abs=1e-12)
    assert found.n == 500


def test_its_interval_closes_in_and_says_nothing_of_a_few():
    table = TABLES["three-classes"]
    widths = []
    for rows in (1e2, 1e4, 1e6, 1e8):
        low, high = ends(mcc(counts_of(table * rows)))
        widths.append(high - low)
    assert widths[0] == 2.0
    assert np.all(np.diff(widths) < 0.0)
    assert widths[-1] < 0.002


def test_of_one_class_alone_there_is_none():
    assert mcc(counts_of(np.diag([7.0, 0.0]))).value is None
