"""What was captured and what came of it, in one file, and what there was not."""

from __future__ import annotations

import csv

import numpy as np
import orjson
import pytest

from gateway.capture import files
from gateway.capture.export import FEATURES, export
from gateway.errors import InvalidParameter, NotFound
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.view import LedgerView
from kernels.ledger import OUTCOME, SEQUENCE
from tests.capture.captured import NOON_MS, STREAM, frame, write
from tests.outcomes.records import Memory, records


@pytest.fixture
def home(tmp_path):
    """Five captured rows of two times, and outcomes of two of them and of one that is not there."""
    write(tmp_path / "capture", frame([1, 2], [0.2, 0.9]))
    write(tmp_path / "capture", frame([3, 4, 5], [0.6, 0.4, 0.7], NOON_MS + 5000))
    ledger = Ledger(tmp_path / "ledger", Memory(), capacity=4)
    outcomes = [np.nan, 1.0, 0.0, np.nan, np.nan, 1.0]
    known = [NOON_MS + 9] * 6
    ledger.append(STREAM, records(range(1, 7), outcomes=outcomes, outcome_ms=known))
    return tmp_path


def exported(home, out, labelled=False, first_ms=0, **options):
    view = LedgerView(home / "ledger")
    found = export(home / "capture", view, "m", None, first_ms, labelled, out, **options)
    return found, view


def test_each_row_has_its_features_prediction_score_and_outcome(home, tmp_path):
    out = tmp_path / "out.parquet"
    found, view = exported(home, out)
    assert (found.rows, found.captured, found.labelled, found.versions) == (5, 5, 2, [1])
    assert view.count([1], 0) == 3
    table = files.read(out)
    assert table.column_names == [
        *("request_id", "row", "at", "version", "why", "prediction", "score"),
        *("outcome", "outcome_at", "age", "pay"),
    ]
    assert orjson.loads(table.schema.metadata[FEATURES]) == found.features == ["age", "pay"]
    assert table["outcome"].to_pylist() == [None, 1.0, 0.0, None, None]
    assert table["prediction"].to_pylist() == [0.0, 1.0, 1.0, 0.0, 1.0]
    assert table["outcome_at"].cast("int64").to_pylist()[1] == NOON_MS + 9


def test_only_labelled_rows_of_a_window_where_that_is_asked_for(home, tmp_path):
    out = tmp_path / "out.parquet"
    found, _ = exported(home, out, labelled=True, first_ms=NOON_MS + 1)
    assert (found.rows, found.captured) == (1, 3)
    assert files.read(out)["request_id"].to_pylist() == [f"{STREAM}-3"]


def test_of_a_file_that_a_window_cuts_only_rows_within_are_exported(home, tmp_path):
    write(tmp_path / "cut", frame([8], [0.5]), frame([9], [0.5], NOON_MS + 5000))
    out, view = tmp_path / "out.parquet", LedgerView(home / "ledger")
    found = export(tmp_path / "cut", view, "m", None, NOON_MS + 1, labelled=False, out=out)
    assert (found.rows, found.captured) == (1, 1)
    assert files.read(out)["request_id"].to_pylist() == [f"{STREAM}-9"]


def test_csv_has_the_same_lines(home, tmp_path):
    out = tmp_path / "out.csv"
    exported(home, out, labelled=True, outputs=True)
    with out.open() as file:
        lines = list(csv.DictReader(file))
    assert [(one["request_id"], one["outcome"], one["age"], one["p[1]"]) for one in lines] == [
        (f"{STREAM}-2", "1", "1", "0.9"),
        (f"{STREAM}-3", "0", "1", "0.6"),
    ]


def test_ndjson_has_the_same_lines(home, tmp_path):
    out = tmp_path / "out.ndjson"
    exported(home, out)
    rows = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert [row["outcome"] for row in rows] == [None, 1.0, 0.0, None, None]
    assert rows[1]["at"] == "2027-01-15T08:00:00+00:00"
    assert list(rows[0])[-2:] == ["age", "pay"]


def test_a_server_that_seals_a_file_meanwhile_is_minded(home):
    view = LedgerView(home / "ledger")
    ledger = Ledger(home / "ledger", Memory(), capacity=4)
    ledger.tidy(1 << 30, 0, [], NOON_MS)
    known = view.outcomes(STREAM, np.array([5, 6]), np.array([0, 0]))
    np.testing.assert_array_equal(known.outcomes, [np.nan, 1.0])


def test_without_a_ledger_no_outcome_is_known(home, tmp_path):
    view = LedgerView(tmp_path / "nowhere")
    found = export(home / "capture", view, "m", 1, 0, False, tmp_path / "out.csv")
    assert (found.rows, found.labelled) == (5, 0)


@pytest.mark.parametrize(
    ("model", "version", "name", "error", "told"),
    [
        pytest.param("n", None, "o.csv", NotFound, "model 'n': no rows", id="model"),
        pytest.param("m", 7, "o.csv", NotFound, "no rows", id="version"),
        pytest.param("m", 1, "o.txt", InvalidParameter, ".parquet or .csv", id="form"),
        pytest.param("m", 1, "no/o.csv", InvalidParameter, "No such file", id="folder"),
    ],
)
def test_what_cannot_be_exported_is_told_and_leaves_no_file(
    home, tmp_path, model, version, name, error, told
):
    with pytest.raises(error, match=told):
        export(
            *(home / "capture", LedgerView(home / "ledger"), model, version, 0, False),
            tmp_path / name,
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["capture", "ledger"]


def test_columns_that_differ_between_versions_are_refused(home, tmp_path):
    write(home / "capture", frame([9], [0.5]), hashes=["age"])
    with pytest.raises(InvalidParameter, match=r"column 'age': .* export one version"):
        exported(home, tmp_path / "out.csv")


def test_an_erased_record_is_found_by_its_address_and_holds_nothing(home):
    ledger = Ledger(home / "ledger", Memory(), capacity=4)
    assert ledger.erase(STREAM, np.array([2, 3, 99])) == [1, 1]
    assert ledger.erase(STREAM, np.array([2, 3, 99])) == []
    view = LedgerView(home / "ledger")
    assert view.count([1], 0) == 1
    (segment, *_) = ledger._streams[STREAM]
    words = segment.records()
    its = words[np.isin(words[:, SEQUENCE], [2, 3])]
    assert len(its) == 2
    assert not np.delete(its, [SEQUENCE, OUTCOME], axis=1).any()
