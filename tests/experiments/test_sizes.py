"""How long an experiment takes is worked out of the boundary that it uses itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.experiments.estimates import critical
from gateway.experiments.sizes import Design, size, smallest

RATES = Design(base=0.1, variance=None, treatment=0.5, control=0.5, alpha=0.05, power=0.8)


def test_a_test_that_looks_once_needs_what_textbooks_say():
    found = size(Design(0.01, None, 0.5, 0.5, 0.05, 0.8), 0.01)
    assert found.looking_once / 2 == pytest.approx(2_315, rel=0.01)


def test_looking_all_the_time_costs_rows_and_half_of_tests_end_sooner():
    found = size(RATES, 0.02)
    assert found.looking_once < found.typical < found.rows < 3 * found.looking_once


def test_so_many_rows_show_that_difference():
    for design in (RATES, Design(5.0, 4.0, 0.9, 0.1, 0.01, 0.9)):
        found = smallest(design, size(design, 0.02).rows)
        assert found == pytest.approx(0.02, rel=1e-3)


def test_planned_power_is_what_tests_have():
    """Paths of differences of means, against the boundary at 300 looks."""
    rows = size(RATES, 0.03).rows
    rng = np.random.default_rng(5)
    spread = 2.0 * (0.1 * 0.9 + 0.13 * 0.87)
    looks = np.linspace(rows / 300, rows, 300)
    steps = rng.normal(0.0, 1.0, (2_000, 300)) * math.sqrt(spread * rows / 300)
    means = 0.03 + steps.cumsum(axis=1) / looks
    bounds = [critical(n, 0.05, rows) * math.sqrt(spread / n) for n in looks]
    shown = (means > np.array(bounds)).any(axis=1).mean()
    assert 0.8 <= shown <= 0.87


def test_rows_that_are_alike_and_arms_beside_the_two_make_it_longer():
    alike = size(Design(0.1, None, 0.5, 0.5, 0.05, 0.8, effect=3.0), 0.02)
    beside = size(Design(0.1, None, 0.25, 0.25, 0.05, 0.8), 0.02)
    assert alike.rows == pytest.approx(3 * size(RATES, 0.02).rows, abs=3)
    assert beside.rows == pytest.approx(2 * size(RATES, 0.02).rows, abs=2)


def test_a_rate_that_cannot_be_is_refused_and_no_rows_show_it():
    with pytest.raises(ValueError, match="inside of 0 to 1"):
        size(RATES, 0.95)
    assert smallest(RATES, 50) is None
    assert smallest(RATES, 1e6, rises=False) == pytest.approx(smallest(RATES, 1e6), rel=0.05)
