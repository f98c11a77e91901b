"""Profiles as control reads them: what cannot be one leaves its model unwatched, whatever it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.control.references import References
from gateway.profiles import beside
from tests.profiles.builders import small


def test_a_profile_is_read_again_where_its_file_has_changed(tmp_path: Path) -> None:
    references, file = References(), tmp_path / "profile.json"
    assert references.read(file) is None
    beside.save(small(), file)
    found = references.read(file)
    assert found is not None
    assert references.read(file) is found
    file.write_text("{")
    assert references.read(file) is None


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_keeps_nobody_waiting(tmp_path: Path, make, caplog) -> None:
    place = tmp_path / "profile.json"
    make(place)
    assert References().read(place) is None
    assert "its model is not watched" in caplog.text
