"""`penstock profile` of language models: of features, which are what they said already."""

from __future__ import annotations

import json
import math
import os
import random

import pytest

from gateway.cli import main
from gateway.control.self_references import SelfReferences
from gateway.control.store import Store
from gateway.llm.features import ASKED, NAMED, SAID, SIGNATURE
from gateway.profiles import document
from gateway.profiles.fit import check_fit
from gateway.profiles.live import counted

DOCUMENT = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models:
    m:
      versions:
        1: {upstreams: [{provider: one, model: first}]}
        2: {upstreams: [{provider: one, model: second}]}
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What a command sets for its own process ends with the test."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.environ.get("NUMBA_CACHE_DIR", ""))
    for name in ("ORT_DISABLE_TELEMETRY", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture
def penstock(tmp_path, capsys):
    """Runs one command on a home with two versions of a language model."""

    def run(*words):
        status = main([*map(str, words), "--home", str(tmp_path / "home")])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    file = tmp_path / "penstock.yaml"
    file.write_text(DOCUMENT)
    assert run("config", "apply", file)[0] == 0
    return run


@pytest.fixture
def rows(tmp_path):
    """300 answers, beside what an export says of each."""
    draw = random.Random(3)

    def row(number):
        numbers: dict[str, float | None] = {
            name: round(draw.lognormvariate(3, 1), 3) for name in (*ASKED, *SAID)
        }
        numbers["json_valid"] = None if number % 2 else 1.0
        words = {"finish": draw.choice(["stop", "length"]), "script": "latin"}
        return {"request_id": f"a-{number}", "at": "2026-11-26", **numbers, **words}

    path = tmp_path / "features.ndjson"
    path.write_text("\n".join(json.dumps(row(number)) for number in range(300)))
    return path


def columns(profile):
    return {frame.tensor: frame.columns[0] for frame in profile.frames if frame.summary is None}


def test_features_of_answers_make_the_reference_of_a_version(penstock, rows):
    status, out, err = penstock("profile", "m", "--data", rows)
    assert (status, err) == (0, "")
    assert "attached to model 'm' version 2" in out
    found = document.read(penstock("profile", "show", "m", "--json")[1])
    assert not found.self_referenced
    assert found.rows == 300
    check_fit(found, SIGNATURE)
    assert counted(found, SIGNATURE)
    assert set(columns(found)) == {*ASKED, *SAID, *NAMED}
    assert columns(found)["json_valid"].missing == 150
    assert sorted(columns(found)["finish"].categories) == ["length", "stop"]
    assert {frame.tensor for frame in found.frames if frame.role == "feature"} == set(ASKED)


def test_a_version_is_named_and_rows_that_came_before_are_no_reference_of_it_any_more(
    penstock, rows, tmp_path
):
    assert penstock("profile", "m", "1", "--data", rows)[0] == 0
    with Store.open(tmp_path / "home") as store:
        own = SelfReferences(store, tmp_path / "home")
        known = own.find("m", 1)
        assert known is not None
        assert own.find("m", 2) is None
        assert known.resets == 1
    assert '"profile attach"' in penstock("audit", "list", "--json")[1]
    assert penstock("profile", "reset", "m", "1")[0] == 0
    assert penstock("profile", "show", "m", "1")[0] != 0


def test_some_features_are_enough_where_that_is_said(penstock, rows, tmp_path):
    out = tmp_path / "profile.json"
    words = ("--data", rows, "--columns", "prompt_chars,refused,finish", "--out", out)
    assert penstock("profile", "m", *words)[0] == 0
    assert set(columns(document.read(out.read_text()))) == {"prompt_chars", "refused", "finish"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["m", "7"], "model 'm' has no version 7", id="version"),
        pytest.param(["m", "x"], "model 'm' has no version x", id="no-number"),
        pytest.param(["m", "--label", "at"], "no scores", id="label"),
    ],
)
def test_what_it_is_not_for_is_refused(penstock, rows, words, said):
    status, _, err = penstock("profile", *words, "--data", rows)
    assert status != 0
    assert said in err


def test_a_file_without_features_says_which_are_wanted(penstock, tmp_path):
    path = tmp_path / "rows.ndjson"
    path.write_text(json.dumps({"prompt_chars": 1, "thumbs": math.pi}))
    status, _, err = penstock("profile", "m", "--data", path)
    assert status != 0
    assert "expected columns prompt_chars, messages" in err
