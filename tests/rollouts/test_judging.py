"""Guards: which candidates they fail and pass, what they say of it, and what they remember."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from gateway.config.guards import DEFAULT_GUARDS, Guards
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.judging import Judging
from gateway.rollouts.looks import Arm, Both, Drifting, Known, Look
from tests.rollouts.looks import seconds

FAIL, PASS, INCONCLUSIVE = Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE
READ = TypeAdapter(Guards)


def judged(looks: Any, *guards: dict[str, Any]) -> list[Judgement]:
    judging = Judging(READ.validate_python(list(guards)))
    found: list[Judgement] = []
    for number, look in enumerate(looks):
        if number % 20 == 10:  # control is replaced now and then
            remembered = json.loads(json.dumps(judging.memory()))
            judging = Judging(READ.validate_python(list(guards)), remembered)
        found = list(judging.take(look))
    return found


def verdict(looks: Any, **guard: Any) -> Verdict:
    (found,) = judged(looks, guard)
    return found.verdict


def drawn(seed: int, many: int = 150, **how: Any) -> Any:
    return seconds(np.random.default_rng(seed), many, **how)


def test_a_candidate_that_is_like_its_baseline_passes_the_default_guards():
    judging = Judging(DEFAULT_GUARDS)
    found: Any = ()
    for look in drawn(1):
        found = judging.take(look)
        assert FAIL not in [one.verdict for one in found]
    assert {one.guard: one.verdict for one in found} == {
        "errors": PASS,
        "non_finite": PASS,
        "latency": PASS,
        "cost": PASS,
        "prediction_drift": PASS,
    }


@pytest.mark.parametrize(
    ("guard", "candidate"),
    [
        pytest.param({"kind": "errors"}, {"error_rate": 0.04}, id="errors"),
        pytest.param({"kind": "non_finite"}, {"non_finite_rate": 0.04}, id="non-finite"),
        pytest.param({"kind": "refused"}, {"refused_rate": 0.04}, id="refused"),
        pytest.param({"kind": "contract"}, {"breach_rate": 0.04}, id="contract"),
        pytest.param({"kind": "errors", "max": 0.02}, {"error_rate": 0.04}, id="errors-bound"),
        pytest.param({"kind": "latency", "ratio": 1.5}, {"median_ms": 6.0}, id="latency"),
        pytest.param({"kind": "latency", "max_ms": 5.0}, {"median_ms": 4.0}, id="latency-bound"),
        pytest.param({"kind": "cost"}, {"cost_ms": 8.0}, id="cost"),
        pytest.param({"kind": "prediction_drift"}, {"shift": 0.6}, id="prediction-drift"),
    ],
)
def test_what_is_worse_than_is_tolerated_fails_and_what_is_not_passes(guard, candidate):
    rates = ("error_rate", "refused_rate", "breach_rate", "non_finite_rate")
    usual = dict.fromkeys(rates, 0.01)
    assert verdict(drawn(2, baseline=usual, **candidate), **guard) is FAIL
    # So much less that it is known soon.
    better = dict.fromkeys(rates, 0.003)
    assert verdict(drawn(3, 300, baseline=usual, **better), **guard) is PASS


def test_a_failed_guard_stays_so_whatever_comes_later():
    bad = list(drawn(4, error_rate=0.05, shift=0.6, median_ms=12.0, baseline={"error_rate": 0.01}))
    good = list(drawn(5, 300, baseline={"error_rate": 0.01}))
    for guard in ({"kind": "errors"}, {"kind": "latency"}, {"kind": "prediction_drift"}):
        # No longer than it takes to fail: evidence a hundred times as strong would stand anyway.
        enough = next(many for many in range(1, 151) if verdict(bad[:many], **guard) is FAIL)
        assert verdict([*bad[:enough], *good], **guard) is FAIL


def test_tiny_rates_are_tolerated_however_many_times_the_baselines():
    looks = [Look(Arm(1000, 1), Arm(1000, 0)) for _ in range(100)]
    assert verdict(looks, kind="errors") is PASS
    assert verdict(looks, kind="errors", floor=0.0) is FAIL


def test_without_any_error_on_either_side_it_passes_once_rows_have_come():
    few, many = [Look(Arm(50), Arm(950))] * 20, [Look(Arm(50), Arm(950))] * 100
    assert verdict(few, kind="errors") is INCONCLUSIVE
    assert verdict(many, kind="errors") is PASS


def test_latency_below_the_floor_is_nobodys_concern():
    looks = list(drawn(6, baseline={"median_ms": 0.02}, median_ms=0.08))
    assert verdict(looks, kind="latency") is PASS
    assert verdict(looks, kind="latency", floor_ms=0.0) is FAIL


def test_answers_that_are_no_numbers_fail_a_candidate_within_seconds_and_a_hundred_rows():
    rng = np.random.default_rng(9)
    broken = list(seconds(rng, 12, share=0.05, non_finite_rate=1.0))
    assert verdict(broken, kind="non_finite") is FAIL
    assert sum(one.candidate.rows for one in broken) < 400


@pytest.mark.parametrize("rate", [0.0, 0.01, 1.0], ids=["neither", "both-now-and-then", "both"])
def test_a_candidate_is_as_free_of_numbers_as_its_baseline(rate):
    looks = drawn(10, baseline={"non_finite_rate": rate})
    assert verdict(looks, kind="non_finite") is not FAIL


def test_there_is_no_verdict_before_there_are_rows_enough():
    assert verdict(drawn(7, error_rate=0.5), kind="errors", min_rows=1_000_000) is INCONCLUSIVE
    assert verdict([Look()], kind="latency") is INCONCLUSIVE


def test_disagreement_is_held_against_its_bound():
    often, rarely = [Look(pairs=50, differing=6)] * 60, [Look(pairs=50, differing=1)] * 60
    assert verdict(often, kind="disagreement", max=0.05) is FAIL
    assert verdict(rarely, kind="disagreement", max=0.05) is PASS


# ---- outcomes ------------------------------------------------------------------------------------


def of_outcomes(
    guard: str, candidate: tuple[float, float], baseline: tuple[float, float] = (0.0, 0.0)
) -> list[Look]:
    both = [Known(sum(ends) / 2, 1000, *ends) for ends in (candidate, baseline)]
    return [Look(known={guard: Both(*both)})]


@pytest.mark.parametrize(
    ("guard", "candidate", "baseline", "wanted"),
    [
        pytest.param({}, (0.2, 0.3), (0.1, 0.15), FAIL, id="worse"),
        pytest.param({}, (0.1, 0.11), (0.1, 0.12), PASS, id="no-worse"),
        pytest.param({}, (0.1, 0.2), (0.1, 0.15), INCONCLUSIVE, id="wide"),
        pytest.param({"tolerance": 0.3}, (0.2, 0.3), (0.1, 0.15), PASS, id="tolerated"),
        pytest.param({"max": 0.25}, (0.1, 0.2), (0, 0), PASS, id="below-max"),
        pytest.param({"max": 0.15}, (0.16, 0.2), (0, 0), FAIL, id="above-max"),
        pytest.param({"min": 0.3}, (0.1, 0.2), (0, 0), FAIL, id="below-min"),
        pytest.param({"min": 0.1, "max": 0.3}, (0.15, 0.2), (0, 0), PASS, id="between"),
        pytest.param({"min": 0.1, "max": 0.3}, (0.25, 0.4), (0, 0), INCONCLUSIVE, id="across"),
    ],
)
def test_a_figure_is_known_as_far_as_its_interval_says(guard, candidate, baseline, wanted):
    looks = of_outcomes("error_rate", candidate, baseline)
    assert verdict(looks, kind="performance", **guard) is wanted


def test_which_direction_is_worse_depends_on_the_figure():
    lower = of_outcomes("accuracy", (0.7, 0.75), (0.85, 0.9))
    assert verdict(lower, kind="performance", figure="accuracy") is FAIL
    moved = of_outcomes("bias", (-0.5, -0.4), (-0.05, 0.05))
    assert verdict(moved, kind="performance", figure="bias", tolerance=0.2) is FAIL
    more = of_outcomes("revenue", (4.0, 5.0), (2.0, 3.0))
    assert verdict(more, kind="metric", metric="revenue", tolerance=0.1) is PASS


def test_of_few_outcomes_or_none_nothing_is_known():
    few = [Look(known={"error_rate": Both(Known(0.5, 5, 0.4, 0.6), Known(0.1, 900, 0.08, 0.12))})]
    assert verdict(few, kind="performance") is INCONCLUSIVE
    assert verdict([Look()], kind="performance") is INCONCLUSIVE


# ---- drift ---------------------------------------------------------------------------------------


def drifting(**verdicts: str) -> Drifting:
    return Drifting(1000, {("features", name): one for name, one in verdicts.items()})


def test_drift_of_the_candidate_alone_fails_it():
    alone = [Look(drifting=(drifting(age="drift", sum="ok"), drifting(age="ok", sum="ok")))]
    both = [Look(drifting=(drifting(age="drift"), drifting(age="drift")))]
    assert verdict(alone, kind="drift") is FAIL
    assert verdict(alone, kind="drift", of="outputs") is PASS
    assert verdict(both, kind="drift") is PASS
    assert verdict(both, kind="drift", beside_baseline=False) is FAIL
    watched = [Look(drifting=(drifting(age="watch"), None))]
    assert verdict(watched, kind="drift") is PASS
    assert verdict(watched, kind="drift", level="watch") is FAIL


# ---- what is said --------------------------------------------------------------------------------


def test_a_judgement_says_what_it_rests_on_in_words_and_figures():
    (found,) = judged(drawn(8, error_rate=0.05, baseline={"error_rate": 0.01}), {"kind": "errors"})
    assert found.says.startswith("errors: ")
    for word in ("against the baseline's", "tolerated: 1.25 times its odds", "worse, with"):
        assert word in found.says
    assert found.figures["candidate"] == pytest.approx(0.05, abs=0.01)
    assert found.figures["baseline"] == pytest.approx(0.01, abs=0.005)
    assert found.figures["odds_ratio"] == pytest.approx(5.0, abs=1.5)
    assert all(value is None or np.isfinite(value) for value in found.figures.values())


def test_every_guard_says_something_before_anything_was_seen():
    guards: list[dict[str, Any]] = [
        {"kind": "errors"},
        {"kind": "non_finite"},
        {"kind": "refused", "max": 0.1},
        {"kind": "latency"},
        {"kind": "cost"},
        {"kind": "latency", "name": "slow", "max_ms": 10},
        {"kind": "prediction_drift"},
        {"kind": "disagreement"},
        {"kind": "calibration"},
        {"kind": "performance", "min": 0.1},
        {"kind": "metric", "metric": "revenue", "tolerance": 1},
        {"kind": "drift"},
    ]
    found = judged([Look()], *guards)
    assert {one.verdict for one in found} == {INCONCLUSIVE}
    assert all(one.says for one in found)
    json.dumps([dict(one.figures) for one in found])
