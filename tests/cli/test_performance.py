"""`penstock performance` shows every kind of report, and says what an estimate is worth."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.cli.performance import print_report
from gateway.control.ledger_store import Series
from gateway.control.outcome_documents import PerformanceReport
from gateway.control.outcome_operations import _report
from gateway.control.outcomes import Report
from gateway.outcomes.figures import performance
from kernels.performance import BINARY, VALUE, add, no_sums
from tests.outcomes.records import NOON_MS, records

RNG = np.random.default_rng(3)
SCORES = RNG.random(500)
OUTCOMES = (RNG.random(500) < SCORES).astype(float)


@pytest.fixture
def shown(capsys):
    """Prints the report of some rows, as the control port answers it."""

    def show(scores, outcomes, tops=BINARY, classes=None):
        sums = no_sums()
        words = records(range(len(scores)), scores=scores, tops=tops, outcomes=outcomes)
        add(sums, words, 1, 0, 2 * NOON_MS)
        series = Series(1, "m", 3, {})
        report = _report(Report(series, None, 1.0, NOON_MS, performance(sums), classes or {}))
        print_report(PerformanceReport.model_validate(report).model_dump())
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
