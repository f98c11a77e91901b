"""What is captured is told of, exported and erased from the terminal, with or without pyarrow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.access.secret import server_secret
from gateway.cli import main
from gateway.cli.findings import Case
from gateway.cli.monitoring import check_capture
from gateway.config import parse
from gateway.control.store import Store
from tests.capture.captured import frame, write

WANTED = "models: {m: {capture: {mode: full}}}\n"
# As where it was never installed.
WITHOUT = """
import sys
sys.modules["pyarrow"] = None
from gateway.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def kept(tmp_path) -> Path:
    """A home with three captured rows."""
    Store.open(tmp_path).close()
    server_secret(tmp_path)
    write(tmp_path / "capture", frame([1, 2, 3], [0.5, 0.6, 0.7]))
    return tmp_path


def without_pyarrow(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_configuration_is_told_that_nothing_is_captured_without_pyarrow(tmp_path):
    file = tmp_path / "penstock.yaml"
    file.write_text(WANTED)
    done = without_pyarrow("config", "check", file)
    assert done.returncode == 0, done.stderr
    assert "warning: models.m.capture: nothing is captured: pip install" in done.stdout


def test_an_export_without_pyarrow_says_what_is_missing(kept):
    done = without_pyarrow("export", "m", "--home", kept, "--out", kept / "o.csv")
    assert (done.returncode, "pip install 'penstock[parquet]'" in done.stderr) == (1, True)


def test_the_doctor_tells_how_far_captured_rows_reach_back(kept):
    (found,) = check_capture(Case(parse(WANTED), kept))
    assert (found.state, found.found[:7]) == ("ok", "3 rows ")
    assert list(check_capture(Case(parse(""), kept / "nowhere"))) == []


def test_an_export_says_what_there_is_and_replaces_nothing_by_itself(kept, capsys):
    out = kept / "rows.csv"
    words = ["export", "m", "--home", str(kept), "--out", str(out)]
    assert main(words) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{out}: 3 rows of version 1, 2 features"
    assert told[1] == "3 rows were captured; the outcome of 0 is known"
    assert main(words) == 1
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--force", "--labelled"]) == 0
    assert len(out.read_text().splitlines()) == 1


def test_a_window_that_is_none_is_told(kept, capsys):
    words = ["export", "m", "--home", str(kept), "--out", str(kept / "o.csv")]
    assert main([*words, "--window", "1x"]) == 1
    assert "--window: expected a duration" in capsys.readouterr().err


def test_a_request_is_erased_from_a_home_without_a_server(kept, capsys):
    words = ["erase", "--request-id", "host-3-0-1-2", "--home", str(kept), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 0
    assert main([*words[:1], *words[3:5]]) == 1
    assert "expected --request-id or --subject" in capsys.readouterr().err


def test_the_status_is_a_running_servers(kept, capsys):
    assert main(["capture", "status", "--home", str(kept)]) == 1
    assert "no server runs" in capsys.readouterr().err
