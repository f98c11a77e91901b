"""Outcomes are read as they are written, and one that cannot be read harms no other."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidParameter, MalformedJson
from gateway.outcomes.address import Address, parse_id
from gateway.outcomes.arrivals import MAX_OUTCOMES, Arrival, read_body, read_time, read_values

ID = "host-1-0-1-a"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host-1-0-1-1a4f", Address("host-1-0-1", 0x1A4F)),
        ("a-b-9-17-12-30-0", Address("a-b-9-17-12-30", 0)),
        ("1", None),
        ("host-1-control-1-5", None),
        ("host-1-0-1-1A", None),
        ("../../etc-1-0-1-5", None),
        ("host-1-0-1-" + "f" * 16, None),
        ("host-1-0-1-5\n", None),
        ("host-१-0-1-5", None),
    ],
)
def test_an_id_of_ours_is_an_address_and_no_other_is(text, address):
    assert parse_id(text) == address


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b'{"id": "x", "outcome": 1}', 1),
        (b'[{"id": "x", "outcome": 1}, {"id": "y", "outcome": 0}]', 2),
        (b'{"id": "x", "outcome": 1}\n{"id": "y", "outcome": 0}\n\n', 2),
    ],
)
def test_one_a_list_and_one_a_line_are_taken(body, count):
    found = read_body(body)
    assert (len(found.arrivals), found.faults) == (count, [])


def test_an_outcome_says_all_it_can():
    (one,) = read_values(
        [{"id": ID, "outcome": True, "row": 3, "at": "1970-01-01T01:00:00+01:00"}]
    ).arrivals
    assert one == Arrival(ID, 3, 1.0, 0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"id": 7}, "id: expected"),
        ({"id": ""}, "id: expected"),
        ({"id": "x" * 101}, "id: expected"),
        ({"outcome": None}, "outcome: expected"),
        ({"outcome": float("nan")}, "outcome: expected"),
        ({"outcome": float("inf")}, "outcome: expected"),
        ({"outcome": 10**400}, "outcome: expected"),
        ({"outcome": [1]}, "outcome: expected"),
        ({"outcome": "x" * 201}, "outcome: expected"),
        ({"row": -1}, "row: expected"),
        ({"row": True}, "row: expected"),
        ({"row": 1.5}, "row: expected"),
        ({"at": "yesterday"}, "at: expected a time"),
        ({"at": "2026-01-01T00:00:00"}, "with its zone"),
        ({"at": -1}, "at: expected"),
        ({"at": 1e15}, "at: expected"),
        ({"reward": 1}, "unknown field 'reward'"),
    ],
)
def test_what_cannot_be_read_is_told_of_and_leaves_the_others_alone(fields, told):
    good = {"id": ID, "outcome": 1}
    found = read_values([good, good | fields, 5, good])
    assert len(found.arrivals) == 2
    assert told in found.faults[0]
    assert found.faults[0].startswith("outcome 2: ")
    assert "expected an object" in found.faults[1]


@pytest.mark.parametrize("body", [b"", b"x", b"{", b'{"id": "x"}\n{', b"\xff\xfe"])
def test_a_body_that_is_no_json_is_refused_whole(body):
    with pytest.raises(MalformedJson):
        read_body(body)


@pytest.mark.parametrize("count", [0, MAX_OUTCOMES + 1])
def test_none_and_too_many_are_refused(count):
    with pytest.raises(InvalidParameter):
        read_values([{"id": ID, "outcome": 1}] * count)


def test_the_earliest_and_latest_times_are_read():
    assert read_time("0001-01-01T00:00:00+23:59") < 0
    assert read_time("9999-12-31T23:59:59-23:59") > 0
