"""Rows of an experiment's arms are found, each with its number, chance and cluster."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import arms
from kernels.lots import UNITS, lot
from kernels.performance import BINARY, VALUE
from tests import reference
from tests.outcomes.records import NOON_MS, records

NAN = float("nan")
LOTS = st.one_of(st.just(0), st.builds(lot, st.floats(1e-4, 1.0), st.integers(0, UNITS)))
ROW = st.tuples(
    st.integers(0, 5000),  # sequence
    st.integers(0, 2),  # row
    st.floats(0, 1),  # score
    st.sampled_from([BINARY, VALUE, 0, 2]),  # top
    st.integers(0, 20),  # seconds
    st.integers(0, 5),  # series
    st.sampled_from([NAN, 0.0, 1.0, 2.0]),  # outcome
    LOTS,
    st.sampled_from([NAN, 0.0, 3.5]),  # number
)
ARMS = np.array([arms.NOBODY, 0, 1, arms.NOBODY, 0])


@given(
    st.lists(ROW, max_size=30),
    st.sampled_from(range(6)),
    st.booleans(),
    st.integers(0, 20),
    st.integers(0, 20),
    st.booleans(),
)
def test_it_finds_what_its_slow_twin_does(some, which, absent_is_zero, until, waited, has_numbers):
    columns = [list(column) for column in zip(*some, strict=True)] or [[] for _ in range(9)]
    at_ms = [NOON_MS + 1000 * second for second in columns[4]]
    words = records(
        columns[0],
        rows=columns[1] or 0,
        scores=columns[2],
        tops=columns[3] or 0,
        at_ms=at_ms,
        series=columns[5] or 0,
        outcomes=columns[6],
        lots=columns[7] or 0,
    )
    numbers = np.array(columns[8] if has_numbers else [], float)
    until_ms = NOON_MS + 1000 * until
    asked = NOON_MS + 3000, until_ms, which, int(absent_is_zero), until_ms + 1000 * waited
    found = arms.rows(words, numbers, ARMS, np.array(asked, np.int64), 0.5)
    told = [
        (*line[:5], pytest.approx(line[5], nan_ok=True))
        for line in reference.rows_of_arms(words, numbers, ARMS, asked, 0.5)
    ]
    assert list(zip(*(column.tolist() for column in found), strict=True)) == told


def test_rows_of_one_key_are_of_one_cluster_and_so_are_those_of_one_request():
    words = records([1, 2, 3, 3], rows=[0, 0, 0, 1], lots=[lot(0.5, 9)] * 2 + [lot(0.5)] * 2)
    asked = np.array((0, NOON_MS, arms.ITS_OUTCOME, 0, NOON_MS), np.int64)
    found = arms.rows(words, np.empty(0), ARMS, asked, 0.5)
    assert found.clusters.tolist() == [9, 9, 3, 3]
    assert found.firsts.tolist() == [1, 1, 1, 0]
