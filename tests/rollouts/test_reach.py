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
from gateway.config.rollout import RolloutPlan
from gateway.outcomes.figures import performance
from gateway.rollouts.reach import doubts_of_plan, fault_of_figure, fault_of_steps
from kernels.performance import BINARY, VALUE, add, no_sums
from tests.outcomes.records import NOON_MS, records
from tests.rollouts.machinery import plan_of

COMPARING: list[dict[str, Any]] = [
    {"kind": "errors"},
    {"kind": "non_finite"},
    {"kind": "refused"},
    {"kind": "latency"},
    {"kind": "cost"},
    {"kind": "contract"},
    {"kind": "prediction_drift"},
    {"kind": "calibration"},
    {"kind": "performance"},
    {"kind": "metric", "metric": "revenue", "tolerance": 1},
]
ENDS = {
    **dict.fromkeys(("errors", "non_finite", "refused", "contract"), ", or set max"),
    "latency": ", or set max_ms",
    **dict.fromkeys(("cost", "prediction_drift"), "of less than 100 %"),
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
    of_requests = ("errors", "non_finite", "refused", "latency", "cost")
    assert bool(fault) == (words["kind"] in of_requests)


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


# ---- guards that a plan may not last for ---------------------------------------------------------


@pytest.mark.parametrize("words", [*COMPARING, *STANDING_ALONE], ids=kind)
def test_the_usual_steps_last_for_every_guard(words):
    assert doubts_of_plan(RolloutPlan(), guard(words)) == []


def test_a_plan_that_is_over_before_there_can_be_a_verdict_is_told():
    short = plan_of(
        {"percent": 5, "bake_s": 4, "min_rows": 200}, {"percent": 100, "bake_s": 900}, watch_s=900
    )
    (doubt,) = doubts_of_plan(short, guard({"kind": "errors"}))
    assert doubt == (
        "there is no verdict before 10 s (to fail it, as many with failures), and the steps that it"
        " judges may be over after 4 s"
    )
    for words in ({"kind": "latency"}, {"kind": "cost"}, {"kind": "prediction_drift"}):
        assert "may be over after 4 s" in doubts_of_plan(short, guard(words))[0]
    # A bound is held against what comes at 100 % and in the watch, too.
    assert doubts_of_plan(short, guard({"kind": "errors", "max": 0.1})) == []


def test_steps_that_do_not_wait_for_rows_enough_are_told():
    few = plan_of({"percent": 5, "min_rows": 10}, {"percent": 50, "min_rows": 10})
    (doubt,) = doubts_of_plan(few, guard({"kind": "errors", "min_rows": 30}))
    assert doubt.startswith("there is no verdict before 30 rows of the candidate")
    assert doubt.endswith("wait for 20")
    assert doubts_of_plan(few, guard({"kind": "errors", "min_rows": 20})) == []


def test_shadow_steps_count_for_what_is_seen_of_shadows():
    shadow = {"shadow_percent": 100, "bake_s": 60, "min_rows": 100}
    plan = plan_of(shadow, {"percent": 5, "bake_s": 0, "min_rows": 0})
    for words in ({"kind": "disagreement"}, {"kind": "prediction_drift"}):
        assert doubts_of_plan(plan, guard(words)) == []
    assert len(doubts_of_plan(plan, guard({"kind": "errors"}))) == 2


def test_a_step_that_waits_for_verdicts_is_never_too_short():
    plan = plan_of({"percent": 5, "bake_s": 1, "require": "pass"}, {"percent": 100})
    for words in ({"kind": "errors"}, {"kind": "cost"}, {"kind": "prediction_drift"}):
        assert doubts_of_plan(plan, guard(words)) == []
