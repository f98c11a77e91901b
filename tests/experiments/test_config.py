"""An experiment as people write it: what may be said, and every fault with its path."""

from __future__ import annotations

import pytest

from gateway.config.experiments import AbTest, Bandit, Measure, parse_experiment
from gateway.errors import ConfigInvalid


def test_little_has_to_be_said():
    found = parse_experiment("kind: ab\nmeasure: {metric: sale}", "x.yaml")
    assert isinstance(found, AbTest)
    assert (found.arms, found.alpha, found.at_end) == ({}, 0.05, "restore")
    bandit = parse_experiment('{"kind": "bandit", "measure": {"figure": "accuracy"}}', "x.json")
    assert isinstance(bandit, Bandit)
    assert (bandit.policy, bandit.floor) == ("thompson", 0.05)


@pytest.mark.parametrize(
    ("measure", "sign"),
    [
        ({"figure": "error_rate"}, -1.0),
        ({"figure": "accuracy"}, 1.0),
        ({"metric": "error_rate"}, 1.0),  # somebody's own, of which nobody knows what it means
        ({"metric": "complaint", "better": "lower"}, -1.0),
        ({"figure": "error_rate", "better": "higher"}, 1.0),
    ],
)
def test_less_is_better_of_errors_unless_it_is_said_otherwise(measure, sign):
    assert Measure(**measure).sign == sign


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: ab", r"measure: expected measure, got nothing"),
        ("kind: abc\nmeasure: {metric: m}", r"kind"),
        ("kind: ab\nmeasure: {}", r"measure\.metric: expected a figure or a metric, got neither"),
        ("kind: ab\nmeasure: {metric: a, figure: outcome}", r"got both"),
        ("kind: ab\nmeasure: {metric: a}\narms: {a: 1}", r"arms: expected two arms or more"),
        ("kind: ab\nmeasure: {metric: a}\narms: {a: 1, b: 0}", r"arms\.b"),
        ("kind: bandit\nmeasure: {metric: a}\narms: [a, a]", r"each once"),
        ("kind: ab\nmeasure: {metric: a}\nfloor: 0.1", r"floor: no such setting"),
        ("kind: bandit\nmeasure: {metric: a}\nhalf_life_s: 0", r"half_life_s"),
    ],
)
def test_faults_are_told_with_their_path(text, told):
    with pytest.raises(ConfigInvalid, match=told):
        parse_experiment(text, "x.yaml")
