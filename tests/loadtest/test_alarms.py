"""Kept runs of the simulation add up to lines of the page."""

from __future__ import annotations

import pytest

from loadtest.scenarios.alarms import of_runs

QUIET = {
    "correlation": 0.0, "rate": 1, "shift": 0.0, "seconds": 86_400, "columns": 30,
    "reference": 5000, "days": 1000, "alarmed": 0, "commit": "abc", "dirty": False,
}  # fmt: skip


def test_runs_of_a_kind_are_one_line_with_an_exact_interval():
    dependent = {**QUIET, "correlation": 0.9, "alarmed": 2}
    lines = of_runs([QUIET, dependent, {**QUIET, "alarmed": 1}])
    assert [line.title[:27] for line in lines] == [
        "2,000 simulated days withou",
        "1,000 simulated days withou",
    ]
    # Clopper and Pearson's upper ends of 1 in 2,000 and 2 in 1,000, in percent.
    assert [line.measures[0].median for line in lines] == pytest.approx([0.2783, 0.7206], abs=1e-4)
    assert [line.measures[0].limit for line in lines] == [1.0, 3.0]
    assert [line.detail["alarmed"] for line in lines] == [1, 2]


def test_columns_of_categories_are_a_line_of_their_own():
    numbers, categories = of_runs([QUIET, {**QUIET, "categories": 8}])
    assert (numbers.name, categories.name) == (
        "alarms-independent",
        "alarms-categories-independent",
    )
    assert categories.title.endswith("columns of 8 categories")


def test_a_share_that_rises_is_a_line_of_its_own():
    share = {"points": 0.1, "categories": 8, "rows_to_alarm": [660, 820, 1275], "others_named": 0}
    shifted = {"shift": 0.25, "rows_to_alarm": [800, 1200, 1900], "others_named": 0}
    lines = of_runs([{**QUIET, **shifted}, {**QUIET, **share}])
    assert [line.name for line in lines] == ["alarms-shift-1", "alarms-share-1-0"]
    assert lines[1].title.startswith("10 points more of 1 of 8 categories in 1 of 30 features")


def test_a_run_with_a_shift_is_held_to_its_median():
    run = {**QUIET, "shift": 0.25, "rows_to_alarm": [800, 1200, 1900], "others_named": 0}
    (line,) = of_runs([run])
    assert (line.measures[0].median, line.measures[0].reached) == (1200, True)
