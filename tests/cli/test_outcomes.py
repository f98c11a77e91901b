"""Files of outcomes are read row by row, and sent until somebody has taken them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import parquet

from gateway.cli import outcome_files
from gateway.cli.outcome_files import outcomes
from gateway.cli.outcomes import PAUSES_S, Sender
from gateway.client.errors import ConnectionLost, TimedOut, Unreachable
from gateway.errors import BodyTooLarge, Forbidden, InvalidRequest, Unavailable


def read(path, text=None):
    if text is not None:
        path.write_text(text)
    told = []
    found = list(outcomes(path, lambda done, total: told.append((done, total))))
    size = path.stat().st_size
    assert told == sorted(told)
    assert told[-1:] in ([], [(size, size)])
    return found


def test_cells_of_a_table_are_numbers_where_they_look_like_it(tmp_path):
    text = (
        "id,outcome,row,at,reward,metric\nh-1-0-1-a,1,,,2.5,revenue\n"
        "h-1-0-1-b,good,3,2026-01-01T00:00:00Z,,\n,0.5,x,12,nan,\n"
    )
    assert read(tmp_path / "o.csv", text) == [
        {"id": "h-1-0-1-a", "outcome": 1, "reward": 2.5, "metric": "revenue"},
        {"id": "h-1-0-1-b", "outcome": "good", "row": 3, "at": "2026-01-01T00:00:00Z"},
        {"outcome": 0.5, "row": "x", "at": 12, "reward": "nan"},
    ]


def test_lines_of_json_are_taken_as_they_are(tmp_path):
    assert read(tmp_path / "o.ndjson", '{"id": "a"}\n\n{"id": "b"}\n') == [{"id": "a"}, {"id": "b"}]


def test_rows_of_parquet_are_taken_as_json_has_them(tmp_path):
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    table = pa.table(
        {
            "client_id": pa.array(["a", "b", "c"]).dictionary_encode(),
            "outcome": pa.array([True, None, False]),
            "row": pa.array([0, 1, None], pa.int32()),
            "reward": pa.array([1.5, float("nan"), -2.0], pa.float32()),
            "metric": pa.array([b"clicks", None, b"clicks"]),
            "at": pa.array([noon, None, noon], pa.timestamp("us", "UTC")),
        }
    )
    parquet.write_table(table, tmp_path / "o.parquet", row_group_size=2)
    at = {"metric": "clicks", "at": "2026-01-01T12:00:00+00:00"}
    assert read(tmp_path / "o.parquet") == [
        {"client_id": "a", "outcome": True, "row": 0, "reward": 1.5, **at},
        {"client_id": "b", "row": 1},
        {"client_id": "c", "outcome": False, "reward": -2.0, **at},
    ]
    cents = pa.table({"id": ["x"], "reward": [Decimal("1.25")], "outcome": [[1, 2]]})
    parquet.write_table(cents, tmp_path / "odd.parquet")
    assert read(tmp_path / "odd.parquet") == [{"id": "x", "reward": 1.25, "outcome": "[1, 2]"}]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("o.csv", "id,label\na,1\n", "outcome or reward.*got id, label"),
        ("o.csv", "id,outcome,id\x00\na,1\n", "expected the columns"),
        ("o.csv", "", "got none"),
        ("o.csv", "id,outcome\n" + "x" * 200_000 + ",1\n", "field larger"),
        ("o.ndjson", '{"id": "a"}\n{', "line 2: expected JSON"),
        ("o.ndjson", '{"id": "a", "outcome": NaN}', "line 1: expected JSON"),
        ("o.ndjson", "[" * 5000, "line 1: expected JSON"),
        ("o.ndjson", "5\n", "line 1: expected an object"),
        ("o.ndjson", "x" * (outcome_files.MAX_LINE_BYTES + 1), "line 1: longer than"),
        ("o.parquet", "no parquet", "not Parquet, or damaged"),
        ("missing/o.csv", None, "No such file"),
        ("missing/o.parquet", None, "No such file"),
    ],
)
def test_a_file_that_is_none_is_told_of(tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidRequest, match=told):
        list(outcomes(tmp_path / name, lambda *_: None))


def test_parquet_with_other_columns_is_told_of(tmp_path):
    parquet.write_table(pa.table({"id": ["a"], "label": [1]}), tmp_path / "o.parquet")
    with pytest.raises(InvalidRequest, match=r"outcome or reward.*got id, label"):
        read(tmp_path / "o.parquet")


class Server:
    """Fails as it is told to, then counts what it takes."""

    def __init__(self, *failures, room=10):
        self.failures, self.room = list(failures), room
        self.connections = self.closed = 0
        self.taken = []

    def connect(self):
        self.connections += 1
        return self

    def close(self):
        self.closed += 1

    def ask(self, method, path, document):
        assert (method, path) == ("POST", "/api/outcomes")
        if self.failures:
            raise self.failures.pop(0)
        if len(document["outcomes"]) > self.room:
            raise BodyTooLarge("too large")
        self.taken += document["outcomes"]
        return {"counts": {"accepted": len(document["outcomes"])}, "faults": ["x"]}


class Clock:
    def __init__(self):
        self.now, self.pauses = 100.0, []

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self):
        return self.now


def test_what_nobody_took_is_sent_again_to_whoever_is_there_then():
    server = Server(ConnectionLost("x"), Unreachable("x"), Unavailable("no server"), TimedOut("x"))
    clock = Clock()
    with Sender(server.connect, clock.pause, clock) as sender:
        assert sender.send([1, 2])["counts"] == {"accepted": 2}
        assert (sender.again, clock.pauses) == (4, list(PAUSES_S[:4]))
        assert server.connections == 5
    assert (server.closed, server.taken) == (5, [1, 2])


def test_whoever_is_away_for_good_is_told_of():
    server, clock = Server(*[Unreachable("away")] * 100), Clock()
    with Sender(server.connect, clock.pause, clock) as sender, pytest.raises(Unreachable):
        sender.send([1])
    assert clock.pauses == list(PAUSES_S)


def test_what_is_refused_is_not_sent_again():
    server, clock = Server(Forbidden("no")), Clock()
    with Sender(server.connect, clock.pause, clock) as sender, pytest.raises(Forbidden):
        sender.send([1])
    assert clock.pauses == []


def test_what_is_too_large_goes_in_parts():
    server, clock = Server(room=3), Clock()
    with Sender(server.connect, clock.pause, clock) as sender:
        assert sender.send([*range(10)])["counts"] == {"accepted": 10}
    assert server.taken == [*range(10)]
    with Sender(Server(room=0).connect, clock.pause, clock) as sender, pytest.raises(BodyTooLarge):
        sender.send([1])


def test_a_long_import_shows_anew_who_it_is():
    server, clock = Server(), Clock()
    with Sender(server.connect, clock.pause, clock) as sender:
        for _ in range(10):
            sender.send([1])
            clock.now += 10.0
    assert server.connections == 4
