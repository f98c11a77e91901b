"""How a row's variant was chosen survives being written down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import lots
from kernels.ledger import TOP_AND_CORRECTIONS
from tests.outcomes.records import records


@given(st.floats(2e-5, 1.0), st.integers(0, lots.UNITS))
def test_a_chance_is_told_within_four_parts_in_ten_thousand_and_a_unit_as_it_is(chance, unit):
    words = records([1], lots=lots.lot(chance, unit), tops=-2)
    (found,) = lots.lots_of(words)
    assert lots.chances(np.array([found]))[0] == pytest.approx(chance, rel=4e-4)
    assert lots.chances(np.array([found]))[0] == lots.told(chance)
    assert found & lots.UNITS == unit
    assert words[0, TOP_AND_CORRECTIONS] >> 32 == -2


def test_what_is_certain_is_told_so_and_what_is_hardly_ever_chosen_as_the_least():
    certain, rare = lots.chances(np.array([lots.lot(1.0), lots.lot(1e-9)]))
    assert certain == 1.0
    assert rare == pytest.approx(2.0**-16, rel=1e-2)


def test_records_of_before_there_were_lots_were_not_left_to_chance():
    assert np.isnan(lots.chances(lots.lots_of(records([1, 2])))).all()


def test_rows_of_one_key_are_of_one_cluster_and_so_are_those_of_one_request():
    words = records(
        [1, 2, 3, 3], rows=[0, 0, 0, 1], lots=[lots.lot(0.5, 9)] * 2 + [lots.lot(0.5)] * 2
    )
    found = lots.clusters(words, lots.lots_of(words))
    assert found[0] == found[1] == 9
    assert found[2] == found[3]


def test_requests_without_a_key_are_spread_over_all_clusters():
    words = records(range(20_000))
    counts = np.bincount(lots.clusters(words, lots.lots_of(words)), minlength=lots.UNITS + 1)
    assert counts.min() > 0
    assert counts.max() < 60
