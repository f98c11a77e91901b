"""What an experiment comes to follows from intervals alone."""

from __future__ import annotations

import pytest

from gateway.experiments.decisions import DECIDED, FUTILE, HARMFUL, RUNNING, Guard, judge
from gateway.experiments.estimates import Comparison


def within(low, high):
    return Comparison((low + high) / 2.0, low, high)


UNKNOWN = Comparison(0.1)


def judged(arms, guards=(), min_effect=0.0, doubt="", over=False, sign=1.0):
    return judge("control", sign, arms, guards, min_effect, doubt, over)


@pytest.mark.parametrize(
    ("arms", "state", "winner"),
    [
        pytest.param({"a": within(0.1, 0.3)}, DECIDED, "a", id="better"),
        pytest.param({"a": within(-0.3, -0.1)}, DECIDED, "control", id="worse"),
        pytest.param({"a": within(-0.1, 0.1)}, RUNNING, "", id="may-be-alike"),
        pytest.param({"a": UNKNOWN}, RUNNING, "", id="too-few"),
        pytest.param({"a": None}, RUNNING, "", id="none"),
        pytest.param({"a": within(0.1, 0.3), "b": within(0.2, 0.3)}, DECIDED, "b", id="the-best"),
        pytest.param({"a": within(-0.3, -0.1), "b": within(-1, 1)}, RUNNING, "", id="one-is-left"),
    ],
)
def test_an_arm_wins_once_its_interval_leaves_zero(arms, state, winner):
    found = judged(arms)
    assert (found.state, found.winner) == (state, winner)


def test_where_lower_is_better_the_lower_one_wins():
    assert judged({"a": within(-0.3, -0.1)}, sign=-1.0).winner == "a"


def test_what_cannot_gain_what_is_of_use_is_futile():
    assert judged({"a": within(-0.1, 0.04)}, min_effect=0.05).state == FUTILE
    assert judged({"a": within(-0.1, 0.06)}, min_effect=0.05).state == RUNNING


def test_when_time_is_over_what_is_not_shown_is_futile():
    assert judged({"a": UNKNOWN}, over=True).state == FUTILE
    assert judged({"a": within(0.1, 0.2)}, over=True).state == DECIDED


def test_nothing_is_decided_where_arms_do_not_get_their_shares():
    found = judged({"a": within(0.1, 0.3)}, doubt="arms do not get their shares")
    assert (found.state, found.winner) == (RUNNING, "")
    assert found.why == "arms do not get their shares: nothing is decided"
    assert judged({"a": within(0.1, 0.3)}, doubt="x", over=True).state == FUTILE


@pytest.mark.parametrize(
    ("interval", "harmed"),
    [(within(0.02, 0.05), True), (within(0.005, 0.05), False), (UNKNOWN, False)],
)
def test_a_guardrail_stops_once_harm_beyond_its_margin_is_shown(interval, harmed):
    guard = Guard("error_rate", -1.0, 0.01, stops=True, arms={"a": interval})
    found = judged({"a": within(0.1, 0.3)}, [guard])
    assert (found.state == HARMFUL) == harmed
    assert [harm.arm for harm in found.harms] == (["a"] if harmed else [])


def test_a_guardrail_that_only_tells_stops_nothing():
    guard = Guard("error_rate", -1.0, 0.0, stops=False, arms={"a": within(0.02, 0.05)})
    found = judged({"a": within(-0.1, 0.1)}, [guard])
    assert (found.state, len(found.harms)) == (RUNNING, 1)
    assert found.harms[0].told() == "'a' harms error_rate by 0.02 at least"
