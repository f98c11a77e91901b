"""`penstock performance` shows every kind of report, and says what an estimate is worth."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.cli.performance import print_report
from gateway.control.ledger_rows import Series
from gateway.control.outcome_documents import PerformanceReport
from gateway.control.outcome_operations import _report
from gateway.control.outcome_reports import HeldOut, Report
from gateway.outcomes.figures import performance
from gateway.outcomes.metrics import Metric
from kernels.performance import BINARY, VALUE, add, no_sums
from tests.outcomes.records import NOON_MS, records

RNG = np.random.default_rng(3)
SCORES = RNG.random(500)
OUTCOMES = (RNG.random(500) < SCORES).astype(float)


@pytest.fixture
def shown(capsys):
    """Prints the report of some rows, as the control port answers it."""

    def show(scores, outcomes, tops=BINARY, classes=None, metrics=(), held_out=None):
        sums = no_sums()
        words = records(range(len(scores)), scores=scores, tops=tops, outcomes=outcomes)
        add(sums, words, 1, 0, 2 * NOON_MS)
        series = Series(1, "m", 3, {})
        report = _report(
            Report(series, None, 1.0, NOON_MS, performance(sums), classes or {}, metrics, held_out)
        )
        print_report(PerformanceReport.model_validate(report | {"slice": None}).model_dump())
        return capsys.readouterr().out

    return show


def test_decisions_figures_bins_and_an_estimate_are_shown(shown):
    out = shown(SCORES, OUTCOMES)
    assert "m version 3: 500 rows answered ever, 500 with an outcome (100.0%)" in out
    assert "predicted positive, above 0.5: " in out
    assert "\naccuracy " in out
    assert "\nmae " not in out
    assert "SCORE TO" in out
    assert "not calibrated: taken for probabilities, which nobody vouched for" in out
    assert "NOT AS EXPECTED" not in out


def test_a_truth_that_scores_do_not_lead_to_expect_is_pointed_out(shown):
    assert "NOT AS EXPECTED" in shown(SCORES, 1.0 - OUTCOMES)


def test_classes_are_shown_by_their_names(shown):
    tops = RNG.integers(0, 3, 500)
    outcomes = np.where(RNG.random(500) < 0.7, tops, 0).astype(float)
    out = shown(SCORES, outcomes, tops, {0: "cat", 2: "dog"})
    lines = [line.split()[0] for line in out.split("CLASS")[1].splitlines()[1:4]]
    assert lines == ["cat", "1", "dog"]
    assert "share of outcomes that were the top class" in out


def test_errors_of_values_are_shown_and_nothing_is_estimated(shown):
    out = shown(SCORES, OUTCOMES, VALUE)
    assert "\nresidual_p95 " in out
    assert "estimate" not in out


def test_without_outcomes_there_is_an_estimate_alone(shown):
    out = shown(SCORES, np.full(500, np.nan))
    assert "nothing is known of how right they were" in out
    assert "estimated from the scores of 500 rows" in out
    assert "FIGURE" not in out


REVENUE = Metric("revenue", 10, 0.25, 12.5, 125.0, 1.0, 30.0, 3.25, 9.0, 16.0)
CLICKS = Metric("clicks", 1, None, 12.5, 125.0, 1.0, 30.0, None, None, None)


def test_metrics_are_told_where_no_outcome_is_known(shown):
    out = shown(SCORES, np.full(500, np.nan), metrics=[REVENUE, CLICKS])
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "nothing is known of how right they were" in lines
    assert lines[-2:] == [
        "revenue 10 (25.0%) 12.5 9 to 16 3.25 125 1 30",
        "clicks 1 12.5 125 1 30",
    ]


def test_those_held_out_stand_beside_all_that_are_labelled(shown):
    sums = no_sums()
    words = records(range(40), scores=SCORES[:40], outcomes=OUTCOMES[:40])
    add(sums, words, 1, 0, 2 * NOON_MS)
    out = shown(SCORES, OUTCOMES, held_out=HeldOut(0.05, "approve", performance(sums)))
    assert "held out, policy 'approve': 40 rows, 40 with an outcome (100.0%)" in out
    lines = [" ".join(line.split()) for line in out.split("OF ALL ANSWERS")[1].splitlines()]
    accuracy = next(line for line in lines if line.startswith("accuracy"))
    right = ((SCORES > 0.5) == OUTCOMES).mean()
    assert accuracy.split()[2] == "40"
    assert accuracy.endswith(f" {right:.4g}")


def test_without_metrics_there_is_no_table(shown):
    assert "METRIC" not in shown(SCORES, OUTCOMES)
