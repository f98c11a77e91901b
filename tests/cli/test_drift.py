"""What `penstock drift` says above its tables, where a verdict cannot be told."""

from __future__ import annotations

import pytest

from gateway.cli.drift import print_report

REPORT = {
    "model": "m",
    "version": 1,
    "verdict": "too_few_rows",
    "prediction_verdict": "too_few_rows",
    "alarm": "too_few_rows",
    "rows": 500,
    "window_s": 600.0,
    "skipped_rows": 0,
    "coarse_columns": 0,
    "self_referenced": True,
    "reference": "a" * 64,
    "features": [],
    "outputs": [],
}
MORE_TRAFFIC = "some 20 s of traffic and 200 rows are needed before anything is said"


@pytest.mark.parametrize(
    ("kind", "rows", "weeks", "said"),
    [
        pytest.param("fixed", 5000, None, MORE_TRAFFIC, id="little-traffic"),
        pytest.param(
            "rolling:604800s",
            0,
            None,
            "no rows came before this window: there is nothing to hold it against",
            id="nothing-before",
        ),
        pytest.param(
            "same-hours:4w",
            0,
            0,
            "rows came in these hours in 0 of the last 4 weeks",
            id="no-week",
        ),
        pytest.param(
            "version:2",
            0,
            None,
            "no rows came by the other version: there is nothing to hold it against",
            id="nothing-of-the-other",
        ),
    ],
)
def test_a_report_without_a_verdict_says_what_is_missing(capsys, kind, rows, weeks, said):
    its = {"reference_kind": kind, "reference_rows": rows, "reference_weeks": weeks}
    print_report({**REPORT, **its})
    assert capsys.readouterr().out.splitlines()[1:] == [said]


def test_another_version_in_the_profiles_place_is_named_and_no_alarm_is_told(capsys):
    its = {"reference_kind": "version:2", "reference_rows": 700, "reference_weeks": None}
    print_report({**REPORT, **its, "verdict": "ok", "prediction_verdict": "drift"})
    assert capsys.readouterr().out.splitlines() == [
        "m version 1: ok, predictions drift (500 rows of the last 600 s against 700 of version 2,"
        f" by profile {'a' * 12})"
    ]
