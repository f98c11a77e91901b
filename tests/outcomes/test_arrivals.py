"""Columns say what the single outcomes said, also to another process."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outcomes.address import address
from gateway.outcomes.arrivals import Arrival, of_list, of_message

STREAM = "a-b-9-17-12-30"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{STREAM}-0", (0, 0)),
        (f"{STREAM}-1a4f", (0, 0x1A4F)),
        (f"{STREAM}-" + "f" * 15, (0, 16**15 - 1)),
        ("host-1-0-1-5", (1, 5)),
        ("1", None),
        ("", None),
        ("host-1-control-1-5", None),
        ("host-1-0-1-1A", None),
        ("host-1-0-1-05", None),
        ("host-1-0-1-+5", None),
        ("host-1-0-1-1_5", None),
        ("host-1-0-1- 5", None),
        ("host-1-0-1-5\n", None),
        (f"{STREAM}-05", None),
        (f"{STREAM}-" + "f" * 16, None),
        ("../../etc-1-0-1-5", None),
        ("host-१-0-1-5", None),
    ],
)
def test_an_id_of_ours_is_an_address_and_no_other_is(text, found):
    assert address(text, {STREAM: 0}) == found


ARRIVALS = st.builds(
    Arrival,
    st.sampled_from([f"{STREAM}-1", f"{STREAM}-2", "h-1-0-1-1"]),
    st.integers(0, 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["good", "bad"]),
    st.none() | st.integers(-(2**40), 2**40),
    st.none() | st.sampled_from(["revenue", "clicks"]),
    st.booleans(),
)


@given(st.lists(ARRIVALS, max_size=20))
def test_what_goes_into_columns_comes_out_of_them_in_another_process_too(some):
    message = orjson.loads(orjson.dumps(of_list(some).message()))
    found = of_message(message)
    assert [found.one(place) for place in range(len(found))] == some
