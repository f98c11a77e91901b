"""What `/metrics` says of outcomes: bounded, linted, and nothing where there is no ledger."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.config import PERFORMANCE_FIGURES
from gateway.control import outcome_metrics
from gateway.outcomes.results import RESULTS
from kernels.performance import VALUE
from tests.control.standing import WINDOW_S, standing

LEDGER = {
    "records": 7,
    "bytes": 448,
    "oldest": 1.7e9,
    "forgotten_records": 3,
    "waiting": 2,
    "lost_records": 1,
    "skipped_rows": 5,
    "refused_numbers": 6,
    "outcomes": dict.fromkeys(RESULTS, 4),
}
STANDINGS = {
    ("fraud", 2): standing((800, 0.05), (300, 0.5)),
    ("price", 1): standing((800, 0.05), tops=VALUE),
}


class Told(Collector):
    def collect(self):
        yield from outcome_metrics.families(LEDGER, STANDINGS, WINDOW_S)


def text() -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Told())
    return generate_latest(registry).decode()


@pytest.fixture(scope="module")
def samples():
    """By name and the values of labels, in the order in which labels are declared."""
    order = ["model", "version", "figure", "bound", "verdict", "test", "loss", "result"]
    return {
        (sample.name, *(sample.labels[one] for one in order if one in sample.labels)): sample.value
        for family in text_string_to_metric_families(text())
        for sample in family.samples
    }


def test_a_server_without_a_ledger_says_nothing():
    assert list(outcome_metrics.families(None, {}, WINDOW_S)) == []


def test_the_ledger_is_told_of(samples):
    assert samples["penstock_ledger_records",] == 7
    assert samples["penstock_ledger_oldest_timestamp_seconds",] == 1.7e9
    assert samples["penstock_ledger_lost_records_total",] == 1
    assert [samples["penstock_outcomes_total", result] for result in RESULTS] == [4] * len(RESULTS)


def test_figures_are_those_of_the_window_with_their_bounds(samples):
    fraud = ("fraud", "2")
    window = STANDINGS["fraud", 2].windows[WINDOW_S]
    accuracy = window.found.figures["accuracy"]
    assert samples["penstock_performance_accuracy", *fraud] == accuracy
    assert samples["penstock_performance_outcomes", *fraud] == window.found.labelled
    assert samples["penstock_performance_delay_mean_seconds", *fraud] == 5.0
    low, high = (
        samples["penstock_performance_bound", *fraud, "accuracy", end] for end in ("low", "high")
    )
    assert low < accuracy < high


def test_what_does_not_exist_has_no_sample(samples):
    assert ("penstock_performance_accuracy", "price", "1") not in samples
    assert ("penstock_performance_mae", "price", "1") in samples
    assert ("penstock_concept_verdict", "price", "1", "calibration", "ok") not in samples


def test_concept_drift_is_told_by_verdict_and_in_numbers(samples):
    fraud = ("fraud", "2")
    verdicts = {
        verdict: samples["penstock_concept_verdict", *fraud, "error_rate", verdict]
        for verdict in ("ok", "drift", "too_few_rows")
    }
    assert verdicts == {"ok": 0.0, "drift": 1.0, "too_few_rows": 0.0}
    assert samples["penstock_concept_alarms_total", *fraud, "error_rate"] == 1
    assert samples["penstock_concept_rises_total", *fraud, "page_hinkley", "error"] == 1
    assert samples["penstock_concept_outcomes_total", *fraud] == 1100
    limit = samples["penstock_concept_error_rate_limit", *fraud]
    assert samples["penstock_concept_baseline_error_rate", *fraud] < limit


def test_series_of_a_version_are_few(samples):
    assert sum("fraud" in key for key in samples) <= 70


def test_every_figure_of_metrics_is_one_that_rules_know():
    assert {name for name, _ in outcome_metrics._FIGURES} <= {*PERFORMANCE_FIGURES}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_finds_nothing_to_say():
    run = subprocess.run(
        ["promtool", "check", "metrics"], input=text(), capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
