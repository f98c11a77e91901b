"""`penstock experiment`: plans without a server, and tables that a person can read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.cli import experiment, experiment_tables, main

ESTIMATE = {"n": 500, "mean": 0.1, "low": 0.08, "high": 0.13, "effect": 1.0}
BETTER = {
    "difference": 0.05,
    "low": 0.01,
    "high": 0.09,
    "lift": 0.5,
    "lift_low": 0.1,
    "lift_high": 1.0,
}
LINE: dict[str, Any] = {
    "number": 3,
    "model": "m",
    "kind": "ab",
    "state": "decided",
    "why": "'b' is better",
    "winner": "b",
    "takes": None,
    "measure": "sale",
    "better": "higher",
    "control": "a",
    "versions": {"a": 1, "b": 2},
    "shares": {"a": 0.5, "b": 0.5},
    "who": "ann",
    "started_at": 0.0,
    "ended_at": 60.0,
    "warnings": [],
    "events": [{"at": 0.0, "says": "ann started it"}],
    "experiment": {"guardrails": [{"metric": "harm", "on_harm": "tell"}]},
    "report": {
        "measure": {
            "name": "sale",
            "better": "higher",
            "arms": [
                {"name": "a", "estimate": ESTIMATE, "vs_control": None},
                {"name": "b", "estimate": ESTIMATE, "vs_control": BETTER},
            ],
        },
        "guardrails": [
            {
                "name": "harm",
                "better": "lower",
                "arms": [
                    {"name": "a", "estimate": ESTIMATE | {"mean": None}, "vs_control": None},
                    {"name": "b", "estimate": ESTIMATE | {"low": None}, "vs_control": None},
                ],
            }
        ],
        "mismatch": {
            "requests": [500, 900],
            "expected": [0.5, 0.5],
            "effect": 1.0,
            "log10_e": 9.0,
            "alarm": True,
        },
        "others": 7,
    },
}


def planned(capsys: Any, *words: str) -> Any:
    assert main(["experiment", "plan", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_plan_tells_rows_and_what_each_stretch_of_days_shows(capsys):
    found = planned(capsys, "--base", "0.1", "--effect", "0.02", "--rows-per-day", "5000")
    assert found["rows_looking_once"] < found["typical_rows"] < found["rows"]
    effects = [one["effect"] for one in found["smallest"]]
    assert effects == sorted(effects, reverse=True)


def test_several_arms_and_rows_that_are_alike_take_longer(capsys):
    told = ["--base", "30", "--std", "45", "--effect", "3"]
    rows = planned(capsys, *told)["rows"]
    assert planned(capsys, *told, "--weights", "1,1,1")["rows"] > 1.5 * rows
    assert planned(capsys, *told, "--rows-alike", "4")["rows"] == pytest.approx(4 * rows, abs=4)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "expected --effect, --rows-per-day or both"),
        (["--effect", "0.95"], "inside of 0 to 1"),
        (["--effect", "0"], "an effect other than 0"),
        (["--effect", "0.1", "--alpha", "2"], "alpha and power"),
        (["--effect", "0.1", "--weights", "1"], "two weights"),
        (["--effect", "0.1", "--weights", "1,x"], "two weights"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(capsys, words, told):
    assert main(["experiment", "plan", "--base", "0.1", *words]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("text", ["metric", "metric:", "gauge:x", "metric:x:up"])
def test_a_measure_is_a_figure_or_a_metric(capsys, text):
    assert main(["experiment", "start", "m", "--measure", text]) == 2
    assert "expected figure:NAME" in capsys.readouterr().err


def test_a_measure_may_say_which_way_is_better():
    assert experiment._measure("metric:x:lower") == {"metric": "x", "better": "lower"}
    assert experiment._measure("figure:accuracy") == {"figure": "accuracy"}


def test_a_test_is_told_with_what_it_was_decided_on():
    told = experiment_tables.experiment(LINE)
    assert told.startswith("experiment 3, A/B test on route m: decided: 'b' is better\n")
    for part in (
        "+0.05 (+0.01 to +0.09)",
        "+50.0% (+10.0% to +100.0%)",
        "guardrail, margin 0, on harm tell:",
        "500 : 900 for 0.5 : 0.5: MISMATCH",
        "7 rows of these versions were not assigned by it",
        "ann started it",
    ):
        assert part in told


def test_one_that_nobody_has_looked_at_is_told_by_its_shares():
    for kind in ("ab", "bandit"):
        told = experiment_tables.experiment({**LINE, "kind": kind, "report": None})
        assert "arms: a 0.5, b 0.5" in told


def test_a_list_has_a_line_each():
    assert experiment_tables.listed([]) == "no experiments"
    lines = experiment_tables.listed([LINE]).splitlines()
    assert lines[1].split() == ["3", "m", "ab", "sale", "decided", "'b'", "is", "better"]


def test_a_file_that_is_not_there_is_named(capsys, tmp_path):
    path = tmp_path / "no.yaml"
    asked = ["experiment", "start", "offers", "--file", str(path), "--home", str(tmp_path)]
    assert main(asked) == 1
    told = capsys.readouterr().err
    assert told == f"penstock: {path}: cannot be read: No such file or directory\n"
