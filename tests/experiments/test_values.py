"""The number of a row: a figure of its outcome, or a metric's."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.config.experiments import Measure
from gateway.experiments.values import values_of
from kernels.performance import BINARY, VALUE
from tests.outcomes.records import records

NAN = np.nan


def of(measure, **fields):
    n = len(fields.get("outcomes", [0]))
    numbers = fields.pop("numbers", None)
    return values_of(records(range(n), **fields), measure, numbers, 0.5).tolist()


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("outcome", [1.0, 0.0, 1.0]),
        ("accuracy", [1.0, 0.0, 0.0]),
        ("error_rate", [0.0, 1.0, 1.0]),
        ("squared_error", [0.04, 0.36, 0.81]),
    ],
)
def test_figures_of_probabilities(figure, expected):
    found = of(
        Measure(figure=figure), scores=[0.8, 0.6, 0.1, 0.3], outcomes=[1, 0, 1, NAN], tops=BINARY
    )
    assert found[:3] == pytest.approx(expected)
    assert np.isnan(found[3])


def test_of_classes_the_top_one_is_right_or_wrong():
    assert of(Measure(figure="accuracy"), outcomes=[2, 0], tops=[2, 1]) == [1.0, 0.0]


def test_values_have_errors_and_are_neither_right_nor_wrong():
    told = {"scores": [3.0], "outcomes": [5.0], "tops": VALUE}
    assert of(Measure(figure="absolute_error"), **told) == [2.0]
    assert np.isnan(of(Measure(figure="accuracy"), **told)).all()


def test_a_number_that_did_not_come_is_unknown_or_a_zero():
    numbers = np.array([4.0, NAN])
    assert np.isnan(of(Measure(metric="sale"), outcomes=[NAN] * 2, numbers=numbers)[1])
    zero = Measure(metric="sale", absent="zero")
    assert of(zero, outcomes=[NAN] * 2, numbers=numbers) == [4.0, 0.0]
    assert of(zero, outcomes=[NAN] * 2) == [0.0, 0.0]
