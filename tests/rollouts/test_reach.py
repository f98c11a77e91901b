"""Guards that could never come to a verdict are told from those that can."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from gateway.config.guards import (
    EITHER_IS_WORSE,
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    CalibrationGuard,
    Guard,
    PerformanceGuard,
)
from gateway.outcomes.figures import performance
from gateway.rollouts.reach import fault_of_figure, fault_of_steps
from kernels.performance import BINARY, VALUE, add, no_sums
from tests.outcomes.records import NOON_MS, records
from tests.rollouts.machinery import plan_of

COMPARING: list[dict[str, Any]] = [
    {"kind": "errors"},
    {"kind": "refused"},
    {"kind": "latency"},
    {"kind": "contract"},
    {"kind": "prediction_drift"},
    {"kind": "calibration"},
    {"kind": "performance"},
    {"kind": "metric", "metric": "revenue", "tolerance": 1},
]
ENDS = {
    **dict.fromkeys(("errors", "refused", "contract"), ", or set max"),
    "latency": ", or set max_ms",
    "prediction_drift": "of less than 100 %",
}
STANDING_ALONE: list[dict[str, Any]] = [
    {"kind": "errors", "max": 0.1},
    {"kind": "latency", "max_ms": 5},
    {"kind": "performance", "max": 0.1},
    {"kind": "metric", "metric": "revenue", "min": 1},
    {"kind": "drift"},
]


def guard(words: dict[str, Any]) -> Guard:
    found: Guard = TypeAdapter(Guard).validate_python(words)
    return found


def kind(words: dict[str, Any]) -> str:
    return str(words["kind"])


@pytest.mark.parametrize("words", COMPARING, ids=kind)
def test_where_all_moves_at_once_there_is_no_baseline_to_compare_with(words):
    fault = fault_of_steps(plan_of({"percent": 100}), guard(words))
    assert fault.startswith("in no step do both versions answer requests")
    assert fault.endswith(ENDS.get(words["kind"], ", or set min or max"))
    assert fault_of_steps(plan_of({"percent": 99}, {"percent": 100}), guard(words)) == ""


@pytest.mark.parametrize("words", COMPARING, ids=kind)
def test_a_shadow_has_values_to_compare_and_no_requests(words):
    plan = plan_of({"shadow_percent": 10}, {"percent": 100})
    fault = fault_of_steps(plan, guard(words))
    assert bool(fault) == (words["kind"] in ("errors", "refused", "latency"))


@pytest.mark.parametrize("words", STANDING_ALONE, ids=kind)
def test_a_bound_needs_no_baseline(words):
    assert fault_of_steps(plan_of({"percent": 100}), guard(words)) == ""


@pytest.mark.parametrize(
    ("scores", "tops"), [("binary", BINARY), ("value", VALUE), ("multiclass", None)]
)
def test_a_figure_is_of_the_scores_that_give_it_an_interval(scores, tops):
    rng = np.random.default_rng(1)
    rows = 20_000
    outcomes = rng.integers(0, 2 if tops == BINARY else 3, rows).astype(float)
    sums = no_sums()
    some = rng.integers(0, 3, rows) if tops is None else tops
    words = records(range(rows), scores=rng.random(rows), tops=some, outcomes=outcomes)
    add(sums, words, 1, 0, 2 * NOON_MS)
    found = performance(sums)
    assert found.kind == scores
    there = {"error_rate" if name == "accuracy" else name for name in found.intervals}
    figures = {*HIGHER_IS_BETTER, *LOWER_IS_BETTER, *EITHER_IS_WORSE} - {"accuracy"}
    judged = {
        figure
        for figure in figures
        if not fault_of_figure(scores, PerformanceGuard(kind="performance", figure=figure, max=1))
    }
    assert judged == figures & there
    for figure in get_args(CalibrationGuard.model_fields["figure"].annotation):
        calibration = CalibrationGuard(kind="calibration", figure=figure)
        assert bool(fault_of_figure(scores, calibration)) == (figure not in there)
    assert fault_of_figure("", PerformanceGuard(kind="performance")) == ""
