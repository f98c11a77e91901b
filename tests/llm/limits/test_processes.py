"""Real processes reserve of the same rows at the same time, and some are killed in between."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.llm.limits.hammering import BUDGET, RACED

NOTHING = [[0, 0, 0], [0, 0, 0]]


def run(what):
    done = subprocess.run(
        [sys.executable, "-m", "tests.llm.limits.hammering", what],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


def test_processes_that_race_for_a_budget_spend_all_of_it_and_no_more():
    found = run("race")
    assert found["statuses"] == [0, 0, 0]  # nobody was refused while there was something left
    assert found["spent"] == [[RACED, 0, RACED]] * 2
    assert found["held"] == NOTHING


def test_a_worker_killed_at_any_moment_leaves_nothing_reserved_and_nothing_half_settled():
    found = run("kill")
    assert found["held_by_killed"] > 0
    key, team = found["spent"]
    assert key == team
    assert key[0] == key[1] > 0
    assert found["held"] == NOTHING
    assert found["refused_at_the_end"]


def test_many_callers_on_one_key_overrun_nothing_and_use_what_there_is():
    found = run("callers")
    assert found["statuses"] == [0, 0]
    spent = found["spent"][0][0]
    assert 0.99 * BUDGET <= spent <= BUDGET
    assert found["spent"][0] == found["spent"][1]
    assert found["held"] == NOTHING
