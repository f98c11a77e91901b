"""The simulation of rollouts, in a short form: who is rolled back, and how it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtest import simulate_rollouts
from loadtest.scenarios.rollouts import FIXED_SAMPLE, of_runs


def told(capsys, *arguments: str):
    simulate_rollouts.main(arguments)
    return json.loads(capsys.readouterr().out)


def test_identical_candidates_are_promoted(capsys):
    found = told(capsys, "--rollouts", "12", "--bake", "20", "--watch", "5")
    assert (found["ended"], found["rolled_back"]) == (12, 0)
    assert found["looks"] > 12 * 5 * 20


def test_twice_the_errors_are_rolled_back_within_twice_the_rows_of_a_fixed_sample(capsys):
    worse = ("--candidate-errors", "0.02", "--percent", "5", "--rate", "1000")
    found = told(capsys, "--rollouts", "15", *worse)
    assert (found["ended"], found["rolled_back"]) == (15, 15)
    assert set(found["by_guard"]) == {"errors"}
    assert found["rows_to_rollback"][1] <= 2 * FIXED_SAMPLE


def test_a_rollout_is_drawn_by_its_number_alone():
    options = simulate_rollouts.parser().parse_args(["--bake", "2", "--watch", "1"])
    options.candidate_errors, options.candidate_non_finite = 0.3, 0.0
    assert simulate_rollouts.simulate(4, options) == simulate_rollouts.simulate(4, options)
    assert simulate_rollouts.simulate(4, options) != simulate_rollouts.simulate(5, options)


QUIET: dict[str, Any] = {
    "errors": 0.01, "candidate_errors": 0.01, "non_finite": 0.005, "candidate_non_finite": 0.005,
    "candidate_cost": 1.0, "burst": 1, "percent": None, "rows": 20_000, "rate": 200.0, "bake": 60.0,
    "alpha": None, "ended": 2500, "rolled_back": 0, "by_guard": {},
    "commit": "abc", "dirty": False,
}  # fmt: skip


def test_kept_runs_of_a_kind_add_up_to_a_line_of_the_page():
    bursts = {**QUIET, "burst": 8, "rolled_back": 3}
    worse = {
        **QUIET, "candidate_errors": 0.02, "percent": 5.0, "ended": 1000, "rolled_back": 999,
        "rows_to_rollback": [1700, 3400, 6200],
    }  # fmt: skip
    alike, together, twice = of_runs([QUIET, bursts, QUIET, worse])
    assert alike.title.startswith("5,000 simulated rollouts of identical candidates")
    # Clopper and Pearson's upper end of 0 in 5,000, in percent.
    assert alike.measures[0].median == pytest.approx(0.0738, abs=1e-3)
    assert [one.measures[0].op for one in (alike, together)] == ["<=", ""]
    assert [one.reached for one in twice.measures] == [True, True]
