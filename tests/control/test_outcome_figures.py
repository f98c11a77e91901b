"""Rules read figures of outcomes, and say what they found."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.alerts.readings import Column
from gateway.config import CONCEPT_FIGURES, PERFORMANCE_FIGURES, AlertRule
from gateway.control import outcome_figures
from kernels.performance import VALUE
from tests.control.standing import WINDOW_S, standing

DRIFTED = standing((800, 0.05), (300, 0.5))
CALM = standing((800, 0.05))


def rule(of, figure, **more):
    window_s = WINDOW_S if of == "performance" else None
    number = {} if figure.endswith("verdict") else {"threshold": 0.5}
    return AlertRule(name="r", of=of, figure=figure, **{"window_s": window_s, **number, **more})


def value(asked, at):
    ((column, (look,)),) = outcome_figures.read(asked, at).items()
    assert column == Column(asked.of)
    return look.value


@pytest.mark.parametrize("figure", PERFORMANCE_FIGURES)
def test_every_figure_of_performance_can_be_read(figure):
    of_values = standing((800, 0.05), tops=VALUE)
    unsure = standing((800, 0.3), scores=np.random.default_rng(1).random(800))
    found = [value(rule("performance", figure), one) for one in (unsure, of_values)]
    assert [one for one in found if one is not None]


@pytest.mark.parametrize("figure", CONCEPT_FIGURES)
def test_every_figure_of_concept_drift_can_be_read(figure):
    assert value(rule("concept", figure), CALM) is not None


def test_figures_are_those_of_the_window():
    found = {name: value(rule("performance", name), CALM) for name in PERFORMANCE_FIGURES}
    accuracy = found["accuracy"]
    assert accuracy == pytest.approx(0.95, abs=0.03)
    assert found["error_rate"] == pytest.approx(1 - accuracy)
    assert found["calibration_gap"] == pytest.approx(abs(0.9 - accuracy))
    assert (found["outcomes"], found["answered"], found["coverage"]) == (800, 1000, 0.8)
    assert found["delay_mean_s"] == 5.0


@pytest.mark.parametrize(
    ("asked", "at"),
    [
        pytest.param(rule("performance", "accuracy", min_rows=801), CALM, id="few-outcomes"),
        pytest.param(rule("performance", "coverage", min_rows=1001), CALM, id="few-answers"),
        pytest.param(rule("performance", "accuracy", window_s=60), CALM, id="no-such-window"),
        pytest.param(rule("concept", "verdict"), standing((150, 0.0)), id="no-baseline"),
        pytest.param(rule("concept", "error_rate", min_rows=801), CALM, id="few-of-all"),
        pytest.param(
            rule("concept", "calibration_verdict"), standing((800, 0), tops=VALUE), id="of-values"
        ),
    ],
)
def test_too_little_tells_nothing(asked, at):
    assert value(asked, at) is None


@pytest.mark.parametrize(("figure", "told"), [("answered", 1000.0), ("coverage", 0.001)])
def test_where_hardly_an_outcome_comes_answers_are_enough(figure, told):
    """That none comes is what such a rule is for."""
    silent = standing((1, 0.0), answered=1000)
    assert value(rule("performance", figure, min_rows=1000), silent) == told
    assert value(rule("performance", "accuracy", min_rows=2), silent) is None


def test_verdicts_are_levels():
    asked = rule("concept", "error_rate_verdict")
    assert (value(asked, CALM), value(asked, DRIFTED)) == (0.0, 2.0)
    assert value(rule("concept", "adwin_verdict"), DRIFTED) == 2.0


def test_what_is_told_names_figure_value_bounds_and_n():
    about, lines = outcome_figures.told(rule("concept", "error_rate_verdict"), DRIFTED)
    line = lines[Column("concept")]
    raised = DRIFTED.concept.error_rate.raised
    assert raised is not None
    assert line == {
        "figure": "error_rate",
        "outcomes": raised.outcomes,
        "found": raised.value,
        "low": raised.low,
        "high": None,
        "limit": raised.limit,
        "baseline": DRIFTED.concept.baseline_error_rate,
    }
    assert f"error rate {raised.value:.4g}, {raised.low:.4g} at least" in about["says"]
    about, lines = outcome_figures.told(rule("performance", "error_rate"), CALM)
    line = lines[Column("performance")]
    assert line["low"] < line["found"] < line["high"]
    assert line["outcomes"] == 800
