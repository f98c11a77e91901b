"""Files of outcomes are read row by row, and what is wrong with one is told by its place."""

from __future__ import annotations

import pytest

from gateway.cli.outcomes import _rows
from gateway.errors import InvalidRequest


def read(path, text):
    path.write_text(text)
    with path.open("rb") as file:
        return list(_rows(path, file))


def test_cells_of_a_table_are_numbers_where_they_look_like_it(tmp_path):
    text = "id,outcome,row,at\nh-1-0-1-a,1,,\nh-1-0-1-b,good,3,2026-01-01T00:00:00Z\n,0.5,x,12\n"
    assert read(tmp_path / "o.csv", text) == [
        {"id": "h-1-0-1-a", "outcome": 1},
        {"id": "h-1-0-1-b", "outcome": "good", "row": 3, "at": "2026-01-01T00:00:00Z"},
        {"outcome": 0.5, "row": "x", "at": 12},
    ]


def test_lines_of_json_are_taken_as_they_are(tmp_path):
    assert read(tmp_path / "o.ndjson", '{"id": "a"}\n\n{"id": "b"}\n') == [{"id": "a"}, {"id": "b"}]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("o.csv", "id,label\na,1\n", "expected the columns id and outcome.*got id, label"),
        ("o.csv", "", "got none"),
        ("o.ndjson", '{"id": "a"}\n{', "line 2: expected JSON"),
        ("o.ndjson", "5\n", "line 1: expected an object"),
    ],
)
def test_a_file_that_is_none_is_told_of(tmp_path, name, text, told):
    with pytest.raises(InvalidRequest, match=told):
        read(tmp_path / name, text)
