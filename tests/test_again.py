"""Only what chance may explain is run again."""

from __future__ import annotations

import json

import pytest

from tests import again


@pytest.mark.parametrize(
    ("failed", "status"),
    [(0, 1), (1, 0), (again.MOST, 0), (again.MOST + 1, 1)],
)
def test_few_that_failed_are_named_and_none_or_many_are_not(tmp_path, capsys, failed, status):
    notes = tmp_path / "lastfailed"
    names = [f"tests/test_x.py::test_{n}" for n in range(failed)]
    notes.write_text(json.dumps(dict.fromkeys(names, True)))
    assert again.main(notes) == status
    assert capsys.readouterr().out.split() == (names if status == 0 else [])


@pytest.mark.parametrize("notes", [None, "", "{"], ids=["missing", "empty", "cut"])
def test_a_run_that_left_no_notes_is_not_run_again(tmp_path, notes):
    file = tmp_path / "lastfailed"
    if notes is not None:
        file.write_text(notes)
    assert again.main(file) == 1
