"""How alike two texts are is what their pieces say, whatever language they are in."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.likeness import MAX_CHARS, SHINGLE, TABLE_WORDS, likeness, points_of
from tests.reference import text_likeness

TEXTS = st.text(st.sampled_from("ab \né好𝄞\ud800"), max_size=60)


def alike(first: str, second: str) -> float:
    table = np.ones(TABLE_WORDS, np.uint64)  # whatever was left in it
    with np.errstate(over="ignore"):  # plain Python warns of what wraps around
        return likeness(points_of(first), points_of(second), table)


@given(TEXTS, TEXTS)
def test_it_is_what_the_slow_twin_says_and_the_same_from_either_side(first, second):
    # Half a pair of surrogates is what no encoding has.
    was, now = first.replace("\ud800", "?"), second.replace("\ud800", "?")
    expected = text_likeness(was, now, SHINGLE)
    assert alike(first, second) == pytest.approx(expected, nan_ok=True)
    assert alike(second, first) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("the same", "the same", 1.0),
        ("yes", "yes", 1.0),
        ("yes", "no", 0.0),
        ("something", "", 0.0),
        ("", "", math.nan),
        ("abcdef", "abcdeg", 1 / 3),
    ],
)
def test_likeness_of_short_texts(first, second, expected):
    assert alike(first, second) == pytest.approx(expected, nan_ok=True)


def test_a_sentence_that_moved_changes_little():
    words = [f"word{n} is one of many. " for n in range(200)]
    assert alike("".join(words), "".join(words[100:] + words[:100])) > 0.95


def test_only_the_beginning_of_a_long_text_is_looked_at():
    draw = random.Random(5)
    long = "".join(draw.choices("abcdefghij", k=2 * MAX_CHARS))
    assert alike(long, long[:MAX_CHARS]) == 1.0
    other = "".join(draw.choices("klmnopqrst", k=2 * MAX_CHARS))
    assert alike(long, other) == 0.0  # the table has room for the pieces of both
