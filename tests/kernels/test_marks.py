"""A word holds what is said of a row: its groups, and how it was chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import marks

GROUPS = st.lists(
    st.integers(0, marks.MAX_GROUPS), min_size=marks.GROUPINGS, max_size=marks.GROUPINGS
)
CHANCES = st.floats(1e-6, 1.0 - 1e-6)


def word(groups, chance=None, held_out=False):
    found = sum(marks.grouped(place, group)[1] for place, group in enumerate(groups))
    return found | (0 if chance is None else marks.chosen(chance, held_out))


@given(GROUPS, CHANCES, st.booleans(), st.data())
def test_a_row_is_found_by_its_group_whatever_else_is_said_of_it(groups, chance, held, data):
    place = data.draw(st.integers(0, marks.GROUPINGS - 1))
    other = data.draw(st.integers(0, marks.MAX_GROUPS))
    mask, value = marks.grouped(place, other)
    assert (word(groups, chance, held) & mask == value) == (groups[place] == other)


@given(GROUPS, CHANCES, st.booleans())
def test_a_chance_comes_back_and_fits_a_signed_word(groups, chance, held):
    found = word(groups, chance, held)
    assert 0 <= found < 2**63
    assert bool(found & marks.HELD_OUT) == held
    assert marks.chance(found) == pytest.approx(chance, rel=1e-3, abs=2**-31)


def test_what_nobody_left_to_chance_says_none():
    assert marks.chance(word([1] * marks.GROUPINGS)) is None


def test_a_chance_so_small_that_it_has_no_unit_is_a_chance_still():
    assert marks.chance(marks.chosen(1e-12, False)) == 2**-31
