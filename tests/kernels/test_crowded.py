"""What is counted of a JSON text is what reading it finds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.crowded import count_nested, count_openings
from tests.reference import nested_in

VALUES = st.recursive(
    st.none() | st.integers(0, 9) | st.text(st.sampled_from('a"\\{[,é')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('"\\[{,')), inner),
    max_leaves=20,
)


@given(VALUES)
def test_it_is_what_the_slow_twin_says_of_what_was_read(values: Any) -> None:
    assert count_nested(orjson.dumps(values)) == nested_in(values)


@given(st.lists(st.sampled_from([b"{", b"[", b"}", b"|", b"x" * 100, b"[" * 127])).map(b"".join))
def test_openings_are_all_that_stand_there(text: bytes) -> None:
    assert count_openings(text) == text.count(b"{") + text.count(b"[")


@given(VALUES)
def test_no_value_has_more_parts_than_its_text_has_openings(values: Any) -> None:
    text = orjson.dumps(values)
    assert count_nested(text)[0] <= count_openings(text)


@given(st.binary())
def test_no_text_is_read_beyond_its_end(text: bytes) -> None:
    nested, commas = count_nested(text)
    assert 0 <= nested + commas <= len(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"", (0, 0)), (b'"\\', (0, 0)), (b'"[,', (0, 0)), (b'[1,{"a":"]\\",["},[]', (3, 2))],
)
def test_what_is_cut_off_is_counted_as_far_as_it_goes(text, expected) -> None:
    assert count_nested(text) == expected
