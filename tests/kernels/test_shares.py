"""A share of requests is chosen evenly, by their numbers alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.shares import chosen, limit

NUMBERS = st.integers(0, 2**60)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 1 / 3, 0.5, 0.9])
@pytest.mark.parametrize("first", [0, 7_777_777, 2**59])
def test_any_stretch_holds_the_share_but_for_few(share, first):
    count = sum(chosen(number, limit(share)) for number in range(first, first + 10_000))
    assert count == pytest.approx(share * 10_000, abs=6)


@given(NUMBERS, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_all_that_a_smaller_does(number, one, other):
    small, large = sorted((one, other))
    assert chosen(number, limit(large)) or not chosen(number, limit(small))


@given(NUMBERS)
def test_all_are_chosen_of_all_and_none_of_none(number):
    assert chosen(number, limit(1.0))
    assert not chosen(number, limit(0.0))
