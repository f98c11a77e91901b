"""Eight bytes of text as one word: what they spell, and how many are digits."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels._words import leading_digits, spelled, trailing_zeros, word_at

WITH_EXAMPLES = settings(max_examples=300)
EIGHT = st.binary(min_size=8, max_size=8) | st.text("0123456789./:-e", min_size=8, max_size=8).map(
    str.encode
)


@numba.njit
def compiled_word_at(text, at):
    return word_at(text, at)


@numba.njit
def compiled_trailing_zeros(word):
    return trailing_zeros(word)


def word_of(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


@WITH_EXAMPLES
@given(st.binary(min_size=8, max_size=40), st.data())
def test_a_word_is_read_from_any_place(text, data):
    at = data.draw(st.integers(0, len(text) - 8))
    expected = word_of(text[at : at + 8])
    assert compiled_word_at(text, np.uint64(at)) == expected
    assert word_at(text, np.uint64(at)) == expected


def test_the_plain_twin_refuses_to_read_past_the_end():
    with pytest.raises(IndexError, match="text of 9 bytes: expected eight from 2 on"):
        word_at(b"123456789", np.uint64(2))


@pytest.mark.parametrize("place", range(65))
def test_trailing_zeros_are_counted(place):
    for above in (0, 1 << 63, (1 << 64) - 1):
        word = np.uint64((1 << place | above << place) & ((1 << 64) - 1))
        assert compiled_trailing_zeros(word) == trailing_zeros(word) == place


@WITH_EXAMPLES
@given(EIGHT)
def test_digits_are_counted_up_to_the_first_other_byte(text):
    expected = next((n for n, code in enumerate(text) if not 48 <= code <= 57), 8)
    with np.errstate(over="ignore"):  # words wrap where nothing is compiled
        assert leading_digits(word_of(text)) == expected


@WITH_EXAMPLES
@given(st.integers(0, 8), st.integers(0, 99_999_999), EIGHT)
def test_the_first_digits_spell_a_number_whatever_follows(count, number, behind):
    digits = f"{number:08d}"[:count].encode()
    word = word_of((digits + behind)[:8])
    assert spelled(word, np.uint64(count)) == int(digits or b"0")
