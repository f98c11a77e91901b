"""A plan of a rollout says what it means, and every fault of it with its path."""

from __future__ import annotations

import pytest

from gateway.config.rollout import RolloutPlan, parse_plan
from gateway.errors import ConfigInvalid

BLUE_GREEN = """
steps: [{percent: 100, bake_s: 60, min_rows: 1000}]
guards: [{kind: errors, max: 0.01}]
watch_s: 3600
"""


def test_without_a_word_it_is_a_canary_of_five_steps():
    plan = RolloutPlan()
    assert [step.percent for step in plan.steps] == [1, 5, 25, 50, 100]
    assert {guard.kind for guard in plan.guards} >= {"errors", "latency"}
    assert parse_plan("", "plan") == plan


def test_blue_green_is_a_plan_of_one_step_and_a_watch():
    plan = parse_plan(BLUE_GREEN, "plan")
    assert [step.percent for step in plan.steps] == [100]
    assert plan.watch_s == 3600


def test_a_plan_that_was_written_out_is_read_as_it_was():
    for plan in (RolloutPlan(), parse_plan(BLUE_GREEN, "plan")):
        assert RolloutPlan.model_validate(plan.model_dump(mode="json")) == plan


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("steps: []", "steps: ", id="no-step"),
        pytest.param("steps: [{bake_s: 5}]", "steps[0]: expected either percent", id="neither"),
        pytest.param(
            "steps: [{percent: 5, shadow_percent: 5}]", "steps[0]: expected either", id="both"
        ),
        pytest.param("steps: [{percent: 0}]", "steps[0].percent: ", id="nothing"),
        pytest.param("steps: [{percent: 101}]", "steps[0].percent: ", id="more-than-all"),
        pytest.param(
            "steps: [{percent: 5}, {percent: 5}]",
            "steps: expected ascending percents, got 5 after 5",
            id="not-ascending",
        ),
        pytest.param(
            "steps: [{percent: 5}, {shadow_percent: 5}]", "steps: expected shadow", id="shadow-last"
        ),
        pytest.param("steps: [{percent: 5, until: x}]", "steps[0].until: no such", id="unknown"),
        pytest.param(
            "guards: [{kind: luck}]",
            "guards[0]: expected 'kind' to be one of 'errors', 'non_finite', 'refused',",
            id="unknown-guard",
        ),
        pytest.param("guards: [{kind: luck}]", "'drift', got 'luck'", id="which-guard"),
        pytest.param("guards: [{max: 1}]", "guards[0]: expected 'kind' in it", id="no-kind"),
        pytest.param(
            "max_duration_s: 10", "expected max_duration_s of at least", id="cannot-be-done"
        ),
        pytest.param("watch_s: .inf", "watch_s", id="for-ever"),
        pytest.param("failure_limit: 0", "failure_limit: ", id="no-limit"),
        pytest.param("[]", "(document): expected a mapping, got a list", id="no-mapping"),
        pytest.param("steps: [", "not YAML", id="no-yaml"),
    ],
)
def test_a_fault_is_told_with_its_path(text, fault):
    with pytest.raises(ConfigInvalid) as caught:
        parse_plan(text, "plan.yaml")
    assert fault in str(caught.value)
