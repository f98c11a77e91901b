"""Times that commands print for people are of here, and say how far that is from UTC."""

from __future__ import annotations

import json
import re
import time

import pytest

from gateway.cli import main
from tests.models import builders


@pytest.fixture
def far_east(monkeypatch):
    """A zone that no machine of ours is in by chance."""
    monkeypatch.setenv("TZ", "XXX-05:45")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def filled(home, tmp_path, far_east, capsys):
    """A home with something of everything that has a time."""
    document = tmp_path / "penstock.yaml"
    document.write_text("models: {m: {}}")
    model = builders.save(tmp_path / "in", builders.linear(), "m.onnx")
    for words in (
        ("register", model),
        ("config", "apply", document),
        ("keys", "create", "--name", "app", "--role", "client", "--expires", "30d"),
    ):
        assert main([*map(str, words), "--home", str(home)]) == 0
    capsys.readouterr()
    return home


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (("audit", "list"), 4),  # three entries, and in one of them the end of a key
        (("config", "history"), 1),
        (("keys", "list"), 1),
        (("models", "list"), 1),
        (("models", "show", "m"), 1),
        (("backup", "b.tar"), 1),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_every_time_has_its_distance_from_utc(filled, monkeypatch, capsys, tmp_path, words, times):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--home", str(filled)]) == 0
    told = capsys.readouterr().out
    dates = re.findall(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}", told)
    whole = re.findall(r"\b20[0-9-]{8} [0-9:]{8}\+05:45(?![0-9])", told)
    assert (len(dates), len(whole)) == (times, times)


def test_for_programs_the_zone_of_here_is_nothing(filled, capsys):
    assert main(["keys", "list", "--json", "--home", str(filled)]) == 0
    (key,) = json.loads(capsys.readouterr().out)
    assert re.fullmatch(r"20[0-9-]{8}T[0-9:]{8}Z", key["expires_at"])
