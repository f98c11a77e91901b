"""What is told of a metric is what its numbers say, and its interval holds at all times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.outcomes.intervals import MIN_ASYMPTOTIC, rate_interval
from gateway.outcomes.metrics import metric
from kernels.metrics import add, no_sums
from tests.outcomes.records import NOON_MS, records


def told(sums, answered=1) -> Any:
    return metric("revenue", sums, answered)


def of(values, answered=None):
    column = np.asarray(values, np.float64)
    sums = no_sums()
    add(sums, records(range(len(column))), column, 1, 0, 2 * NOON_MS)
    return told(sums, len(column) if answered is None else answered)


def test_figures_are_numpys():
    values = np.random.default_rng(5).lognormal(3.0, 1.0, 500)
    found = of([*values, np.nan], answered=1000)
    assert (found.n, found.coverage) == (500, 0.5)
    told = (found.mean, found.sum, found.min, found.max, found.std)
    wanted = (values.mean(), values.sum(), values.min(), values.max(), values.std(ddof=1))
    assert told == pytest.approx(wanted, rel=1e-12)
    assert found.low < found.mean < found.high


def test_of_no_numbers_nothing_is_told_and_of_few_no_interval():
    assert of([np.nan]) is None
    assert (of([2.0]).std, of([2.0]).low) == (None, None)
    few = np.arange(2.0, MIN_ASYMPTOTIC + 1)
    assert of(few).low is None
    assert of([*few, 1.5]).low is not None
    assert of([7.0] * 100).low is None


def test_numbers_that_are_0_or_1_are_a_rate():
    found = of([1.0] * 7 + [0.0] * 40)
    assert (found.low, found.high) == rate_interval(7, 47)


@pytest.mark.parametrize("draw", ["lognormal", "normal", "sold"])
def test_an_interval_that_is_looked_at_all_the_time_is_rarely_ever_wrong(draw):
    rng = np.random.default_rng(11)
    draws: dict[str, Any] = {
        "lognormal": (lambda n: rng.lognormal(0.0, 0.7, n), np.exp(0.245)),
        "normal": (lambda n: rng.normal(-5.0, 3.0, n), -5.0),
        "sold": (lambda n: (rng.random(n) < 0.2) * rng.uniform(5.0, 50.0, n), 0.2 * 27.5),
    }
    make, mean = draws[draw]
    runs, looks, ever = 300, 40, 0
    for _ in range(runs):
        sums, wrong = no_sums(), False
        for _ in range(looks):
            column = make(MIN_ASYMPTOTIC)
            add(sums, records(range(MIN_ASYMPTOTIC)), column, 1, 0, 2 * NOON_MS)
            found = told(sums)
            wrong |= not found.low <= mean <= found.high
        ever += wrong
    # 5 % is allowed; fixed-size intervals are wrong in a third of such runs.
    assert ever / runs <= 0.05
