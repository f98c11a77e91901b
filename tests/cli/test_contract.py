"""`penstock contract` and `penstock monitoring` on a home without a server."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from gateway.cli import main
from gateway.contracts import document
from tests.models import builders


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What a command sets for its own process ends with the test."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.environ.get("NUMBA_CACHE_DIR", ""))
    for name in ("ORT_DISABLE_TELEMETRY", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture
def penstock(tmp_path, capsys):
    """Runs one command on the home; gives exit status, stdout and stderr."""

    def run(*words):
        status = main([*map(str, words), "--home", str(tmp_path / "home")])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def rows(tmp_path):
    """200 rows of four columns, as CSV."""
    array = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)
    np.savetxt(tmp_path / "rows.csv", array, delimiter=",", header="a,b,c,d", comments="")
    return tmp_path / "rows.csv"


@pytest.fixture
def registered(penstock, rows, tmp_path):
    """A model of four columns, with a profile of 200 rows."""
    path = builders.save(tmp_path / "in", builders.linear(), "m.onnx")
    assert penstock("register", path, "--reference", rows)[0] == 0
    return penstock


def contract_of(penstock):
    return json.loads(penstock("contract", "m", "--json")[1])


def test_the_contract_of_a_profile_is_shown_before_any_server_ran(registered):
    status, out, _ = registered("contract", "m")
    assert status == 0
    assert "(inferred, not in force yet)" in out
    found = document.read(json.dumps(contract_of(registered)))
    assert [column.name for column in found.tensors[0].columns] == ["a", "b", "c", "d"]
    assert registered("monitoring", "history", "m")[1] == "no releases yet\n"


def test_an_edited_contract_is_a_release_and_can_be_taken_back(registered, tmp_path):
    edited = contract_of(registered)
    edited["tensors"][0]["columns"][0]["max"] = 0.5
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(edited))
    status, out, _ = registered("contract", "m", "--set", file, "--note", "by law")
    assert (status, "release 2, after 1: by law" in out) == (0, True)
    assert contract_of(registered) == edited
    assert "(edited, release 2)" in registered("contract", "m")[1]
    status, out, _ = registered("monitoring", "rollback", "m", "--json")
    assert (status, json.loads(out)["number"], json.loads(out)["note"]) == (0, 3, "as release 1")
    assert contract_of(registered) != edited
    assert registered("contract", "m", "--set", file)[0] == 0
    assert "release 5" in registered("contract", "m", "--reset")[1]
    lines = registered("monitoring", "history", "m")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["RELEASE", "5", "4", "3", "2", "1"]
    shown = json.loads(registered("monitoring", "show", "m", "--release", "2", "--json")[1])
    assert shown["contract_document"] == edited
    rules = [
        line for line in registered("monitoring", "show", "m")[1].splitlines() if "rule" in line
    ]
    assert [line.split(maxsplit=1)[1] for line in rules] == [
        "drift: verdict >= drift",
        "skipped_rows: skipped_ratio >= 0.01, 3 of 5 panes",
        "concept_drift: error_rate_verdict >= drift",
        "calibration_drift: calibration_verdict >= drift",
    ]


def test_what_is_wrong_is_said_and_changes_nothing(registered, tmp_path):
    file = tmp_path / "wrong.json"
    for text, said in (
        ("{", "contract: not JSON"),
        ('{"schema": 2, "tensors": []}', "written by a newer release"),
        (
            '{"schema": 1, "tensors": [{"name": "z", "datatype": "FP32", "columns": []}]}',
            "input 'z'",
        ),
    ):
        file.write_text(text)
        status, _, err = registered("contract", "m", "--set", file)
        assert (status, said in err) == (1, True)
    assert registered("contract", "m", "--set", tmp_path / "nothing.json")[0] == 1
    assert registered("contract", "other")[0] == 1
    status, _, err = registered("monitoring", "rollback", "m", "--release", "9")
    assert (status, "no monitoring release 9" in err) == (1, True)


def test_a_model_without_a_profile_has_no_contract(penstock, tmp_path):
    path = builders.save(tmp_path / "in", builders.linear(), "m.onnx")
    assert penstock("register", path)[0] == 0
    status, _, err = penstock("contract", "m")
    assert (status, "has no profile" in err) == (1, True)
    assert penstock("monitoring", "show", "m")[0] == 1
