"""What a plan may say of guards, and what it is told where it is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.config.guards import DEFAULT_GUARDS, Guard, Guards

READ: TypeAdapter[list[Guard]] = TypeAdapter(Guards)


def faults(*guards: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        READ.validate_python(list(guards))
    return [str(fault["msg"]) for fault in caught.value.errors()]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"kind": "errors"}, id="errors"),
        pytest.param({"kind": "refused", "max": 0.05}, id="refused"),
        pytest.param({"kind": "contract", "ratio": 2.0, "floor": 0.01}, id="contract"),
        pytest.param({"kind": "latency", "quantile": 0.99, "ratio": 1.5}, id="latency"),
        pytest.param({"kind": "latency", "max_ms": 50}, id="latency-bound"),
        pytest.param({"kind": "prediction_drift", "outputs": ["score"]}, id="prediction-drift"),
        pytest.param({"kind": "disagreement", "max": 0.02}, id="disagreement"),
        pytest.param({"kind": "calibration", "figure": "mce"}, id="calibration"),
        pytest.param({"kind": "performance", "figure": "roc_auc", "min": 0.8}, id="performance"),
        pytest.param({"kind": "performance", "slice": "country:DE"}, id="slice"),
        pytest.param({"kind": "metric", "metric": "revenue", "tolerance": 0.5}, id="metric"),
        pytest.param({"kind": "drift", "of": "features", "level": "watch"}, id="drift"),
    ],
)
def test_every_kind_of_guard_can_be_said_and_said_again(given: dict[str, Any]) -> None:
    (guard,) = READ.validate_python([given])
    assert guard.kind == given["kind"]
    assert READ.validate_json(READ.dump_json([guard])) == [guard]


def test_the_default_plan_guards_what_every_model_has_figures_for() -> None:
    called = [one.called for one in DEFAULT_GUARDS]
    assert called == ["errors", "non_finite", "latency", "cost", "prediction_drift"]


def test_a_guard_is_known_by_what_it_is_of_unless_it_is_named() -> None:
    guards = READ.validate_python(
        [
            {"kind": "performance", "figure": "recall", "slice": "country:DE"},
            {"kind": "metric", "metric": "revenue", "min": 2.0},
            {"kind": "errors", "name": "no-crashes"},
        ]
    )
    assert [one.called for one in guards] == ["recall country:DE", "revenue", "no-crashes"]


@pytest.mark.parametrize(
    ("guards", "said"),
    [
        pytest.param([{"kind": "speed"}], "does not match any of the expected tags", id="kind"),
        pytest.param(
            [{"kind": "errors", "ratio": 2.0, "max": 0.1}],
            "expected either a bound or a comparison with the baseline, got max and ratio",
            id="both",
        ),
        pytest.param(
            [{"kind": "calibration", "tolerance": 0.1, "max": 0.1}], "got max and tolerance",
            id="both-of-outcomes",
        ),
        pytest.param(
            [{"kind": "latency"}, {"kind": "latency", "quantile": 0.99}],
            "expected each name once, got 'latency' again",
            id="twice",
        ),
        pytest.param(
            [{"kind": "performance", "figure": "speed"}], "figure: expected one of", id="figure"
        ),
        pytest.param(
            [{"kind": "performance", "figure": "mae"}],
            "expected a tolerance or a bound of mae, got neither",
            id="in-units",
        ),
        pytest.param(
            [{"kind": "metric", "metric": "revenue"}], "in the metric's unit, got neither",
            id="metric",
        ),
        pytest.param(
            [{"kind": "performance", "min": 0.9, "max": 0.1}], "expected min below max", id="ends"
        ),
        pytest.param([{"kind": "errors", "alpha": 0.0}], "greater than 0", id="alpha"),
        pytest.param([{"kind": "drift", "alpha": 0.1}], "Extra inputs", id="no-test-of-its-own"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_guard_is_said(guards: list[dict[str, Any]], said: str) -> None:
    assert any(said in fault for fault in faults(*guards))
