"""Numbers of a metric add up to what their definitions say, and of parts to those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import metrics as m
from kernels.ledger import ACCEPTED, CORRECTED, DUPLICATE
from kernels.marks import grouped
from tests import reference
from tests.outcomes.records import NOON_MS, records

EVERYTHING = (1, 0, 2 * NOON_MS)
NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=40)


def sums_of(values, words=None):
    found = m.no_sums()
    column = np.array(values, np.float64)
    m.add(found, records(range(len(column))) if words is None else words, column, *EVERYTHING)
    return found


@given(NUMBERS)
def test_sums_are_those_of_their_definitions(values):
    known = [*values, np.nan]
    assert sums_of(known) == pytest.approx(reference.number_sums(values), rel=1e-9, abs=1e-6)


@given(NUMBERS, NUMBERS)
def test_sums_of_parts_merge_into_those_of_the_whole(some, others):
    merged = sums_of(some)
    m.merge(merged, sums_of(others))
    assert merged == pytest.approx(sums_of([*some, *others]), rel=1e-9, abs=1e-6)


def test_only_records_count_that_are_asked_for():
    mask, third = grouped(1, 3)
    words = records(
        range(4), series=[1, 2, 1, 1], at_ms=[5, 5, 9, 5], marks=[third, third, third, 0]
    )
    values, found = np.array([1.0, 2.0, 4.0, 8.0]), m.no_sums()
    m.add(found, words, values, 1, 0, 9, mask, third)
    assert (found[m.N], found[m.SUM]) == (1, 1.0)


def test_of_several_numbers_the_last_stands_and_the_same_again_changes_nothing():
    stood, became = np.array([np.nan, 2.0]), np.empty(4, np.int64)
    m.write_numbers(stood, np.array([0, 0, 1, 0]), np.array([1.0, 1.0, 3.0, 0.0]), became)
    assert became.tolist() == [ACCEPTED, DUPLICATE, CORRECTED, CORRECTED]
    assert stood.tolist() == [0.0, 3.0]
