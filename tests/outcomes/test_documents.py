"""Outcomes are read as they are written, and one that cannot be read harms no other."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidParameter, MalformedJson
from gateway.outcomes.arrivals import Arrival
from gateway.outcomes.documents import MAX_OUTCOMES, read_body, read_time, read_values

ID = "host-1-0-1-a"


def read(*values):
    found = read_values(values)
    assert found.faults == []
    return [found.arrivals.one(place) for place in range(len(found.arrivals))]


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
    assert read({"id": ID, "outcome": True, "row": 3, "at": "1970-01-01T01:00:00+01:00"}) == [
        Arrival(ID, 3, 1.0, 0)
    ]


def test_numbers_of_metrics_come_beside_outcomes_or_alone():
    assert read(
        {"id": ID, "reward": 0.5},
        {"id": ID, "reward": -12, "metric": "revenue"},
        {"id": ID, "outcome": "good", "reward": True, "metric": "conversion", "row": 1},
    ) == [
        Arrival(ID, 0, 0.5, None, "reward"),
        Arrival(ID, 0, -12.0, None, "revenue"),
        Arrival(ID, 1, "good"),
        Arrival(ID, 1, 1.0, None, "conversion"),
    ]


def test_a_client_names_a_request_by_its_own_id_where_it_says_so_or_the_id_is_none_of_ours():
    assert read({"id": "order-7", "outcome": 1}, {"client_id": ID, "outcome": 1}) == [
        Arrival("order-7", 0, 1.0, client=True),
        Arrival(ID, 0, 1.0, client=True),
    ]


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
        ({"at": "0001-01-01T00:00:00Z"}, "at: expected a time since 1970"),
        ({"at": "1970-01-01T00:00:00+01:00"}, "at: expected a time since 1970"),
        ({"at": -1}, "at: expected"),
        ({"at": 1e15}, "at: expected"),
        ({"prize": 1}, "unknown field 'prize'"),
        ({"reward": "much"}, "reward: expected"),
        ({"reward": 1e101}, "reward: expected"),
        ({"metric": "revenue"}, "reward: expected"),
        ({"reward": 1, "metric": "Revenue"}, "metric: expected"),
        ({"reward": 1, "metric": 5}, "metric: expected"),
        ({"reward": 1, "outcome": [1]}, "outcome: expected"),
        ({"client_id": "x"}, "either id or client_id"),
        ({"id": None, "client_id": 5}, "client_id: expected"),
        ({"id": None, "client_id": "x" * 1001}, "client_id: expected"),
    ],
)
def test_what_cannot_be_read_is_told_of_and_leaves_the_others_alone(fields, told):
    good = {"id": ID, "outcome": 1}
    found = read_values([good, good | fields, 5, good])
    assert len(found.arrivals) == 2
    assert told in found.faults[0]
    assert found.faults[0].startswith("outcome 2: ")
    assert "expected an object" in found.faults[1]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"{", b'{"id": "x"}\n{', b"\xff\xfe"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"id": "\\ud800", "outcome": 1}', id="half-a-character"),
    ],
)
def test_a_body_that_is_no_json_is_refused_whole(body):
    with pytest.raises(MalformedJson):
        read_body(body)


@pytest.mark.parametrize("count", [0, MAX_OUTCOMES + 1])
def test_none_and_too_many_are_refused(count):
    with pytest.raises(InvalidParameter):
        read_values([{"id": ID, "outcome": 1}] * count)


def test_the_earliest_and_latest_times_are_read():
    assert read_time("1970-01-01T00:00:00Z") == 0
    assert read_time("9999-12-31T23:59:59-23:59") > 0
