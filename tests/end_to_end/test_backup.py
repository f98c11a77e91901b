"""A backup is taken of a running server, and a server on what it restores answers the same."""

from __future__ import annotations

import json
from pathlib import Path

from tests.end_to_end import commands
from tests.end_to_end.test_lifecycle import BODY
from tests.end_to_end.traffic import UNHURRIED_S, Traffic
from tests.models.builders import linear, save


def penstock(home: Path, *words: object) -> dict:
    done = commands.penstock(*words, "--home", home, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_restored_home_serves_the_same_answers(start, tmp_path):
    home, fresh = tmp_path / "home0", tmp_path / "fresh"
    home.mkdir()
    for seed in (0, 1):
        penstock(home, "register", save(tmp_path / f"in{seed}", linear(seed=seed)), "--name", "m")
    penstock(home, "models", "alias", "m", "champion", "1")
    path = "/v2/models/m/infer"
    first = start("--workers", "1", home=home)
    answer = first.request("POST", path, BODY).json()
    assert answer["model_version"] == "1"
    with Traffic(first.port, path, BODY, pause_s=UNHURRIED_S) as traffic:
        told = penstock(home, "backup", tmp_path / "b.tar")
        traffic.go_on()
    assert traffic.tally.failed == 0
    assert told["model_folders"] == 2
    # What comes later is not in it.
    penstock(home, "models", "alias", "m", "champion", "2")

    penstock(fresh, "restore", tmp_path / "b.tar")
    second = start("--workers", "1", home=fresh)
    assert second.request("POST", path, BODY).json()["outputs"] == answer["outputs"]
    assert second.request("POST", path, BODY).json()["model_version"] == "1"
    assert penstock(fresh, "audit", "verify")["ok"] is True


def test_the_home_of_a_running_server_is_not_restored_into(start, tmp_path):
    home = tmp_path / "home0"
    home.mkdir()
    penstock(home, "register", save(tmp_path / "in", linear()), "--name", "m")
    penstock(home, "backup", tmp_path / "b.tar")
    start("--workers", "1", home=home)
    done = commands.penstock("restore", tmp_path / "b.tar", "--home", home)
    assert done.returncode == 1
    assert "another server runs on it" in done.stderr


def test_a_server_removes_what_a_killed_backup_left(start, tmp_path):
    home = tmp_path / "home0"
    left = home / "penstock-backup-abcdefgh"
    left.mkdir(parents=True)
    (left / "secret").write_bytes(b"s" * 32)
    start("--workers", "1", home=home)
    assert not left.exists()
