"""What is known of a version is printed, and what is not is left out."""

from __future__ import annotations

from gateway.cli.performance import print_report

UNKNOWN = {
    "model": "m",
    "version": 2,
    "window_s": 600.0,
    "records": 40,
    "labelled": 0,
    "coverage": 0.0,
    "metrics": [],
}
REVENUE = {
    "name": "revenue",
    "n": 10,
    "coverage": 0.25,
    "mean": 12.5,
    "sum": 125.0,
    "min": 1.0,
    "max": 30.0,
    "std": 3.25,
    "low": 9.0,
    "high": 16.0,
}
CLICKS = REVENUE | {"name": "clicks", "n": 1, "coverage": None, "low": None, "std": None}


def test_metrics_are_told_where_no_outcome_is_known(capsys):
    print_report(UNKNOWN | {"metrics": [REVENUE, CLICKS]})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "nothing is known of how right they were" in lines
    assert lines[-2:] == [
        "revenue 10 (25.0%) 12.5 9 to 16 3.25 125 1 30",
        "clicks 1 12.5 125 1 30",
    ]


def test_without_metrics_there_is_no_table(capsys):
    print_report(UNKNOWN)
    assert "METRIC" not in capsys.readouterr().out
