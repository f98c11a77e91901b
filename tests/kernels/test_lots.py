"""How a row's variant was chosen survives being written down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import lots


@given(st.floats(2e-5, 1.0), st.integers(0, lots.UNITS))
def test_a_chance_is_told_within_four_parts_in_ten_thousand_and_a_unit_as_it_is(chance, unit):
    found = lots.lot(chance, unit)
    assert found & ~lots.LOT_MASK == 0
    assert found & lots.UNITS == unit
    assert found >> lots.UNIT_BITS == lots.code_of(chance)
    assert lots.chances(np.array([lots.code_of(chance)]))[0] == pytest.approx(chance, rel=4e-4)


def test_what_is_certain_is_told_so_and_what_is_hardly_ever_chosen_as_the_least():
    certain, rare = lots.chances(np.array([lots.code_of(1.0), lots.code_of(1e-9)]))
    assert certain == 1.0
    assert rare == pytest.approx(2.0**-16, rel=1e-2)


def test_records_of_before_there_were_lots_were_not_left_to_chance():
    assert np.isnan(lots.chances(np.zeros(2, np.int64))).all()
