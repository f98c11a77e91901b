"""Rates by group are those of their definitions, and disparities lie within what they say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gateway.outcomes.fairness import DISPARITIES, MIN_ROWS, RATES, fairness
from gateway.outcomes.intervals import rate_interval
from kernels.groups import add_cells, no_cells
from kernels.marks import grouped
from tests import reference
from tests.outcomes.records import NOON_MS, records

NAMES = ("a", "b", "c")
# (positive and predicted so, positive, negative and predicted positive, negative) of each group:
# the 18 rows of Fairlearn's guide to assessment.
FAIRLEARN = {"a": (1, 2, 2, 2), "b": (3, 5, 0, 1), "c": (2, 5, 2, 3)}


def rows_of(counts):
    """(group, score, outcome) of rows with these counts."""
    rows = []
    for name, (hits, positives, false_hits, negatives) in counts.items():
        rows += [(name, 0.9, 1.0)] * hits + [(name, 0.1, 1.0)] * (positives - hits)
        rows += [(name, 0.9, 0.0)] * false_hits + [(name, 0.1, 0.0)] * (negatives - false_hits)
    return rows


def cells_of(rows):
    numbers = {name: number for number, name in enumerate(NAMES, 1)}
    words = records(
        range(len(rows)),
        scores=[score for _, score, _ in rows],
        outcomes=[np.nan if outcome is None else outcome for _, _, outcome in rows],
        marks=[grouped(0, numbers.get(name, 0))[1] for name, _, _ in rows],
    )
    cells = no_cells(1)
    add_cells(cells, words, 1, 0, 2 * NOON_MS)
    return cells[0, 0].diagonal().T


def told(rows, min_rows=1):
    return fairness("s", NAMES, cells_of(rows), min_rows)


def values(found):
    return {name: one.value for name, one in found.disparities.items()}


def test_disparities_are_those_of_fairlearns_guide():
    found = told(rows_of(FAIRLEARN))
    rates = {one.name: one.rates for one in found.groups}
    selected = [rates[name]["selection_rate"].value for name in NAMES]
    true = [rates[name]["true_positive_rate"].value for name in NAMES]
    false = [rates[name]["false_positive_rate"].value for name in NAMES]
    assert selected == [0.75, 0.5, 0.5]
    assert true == [0.5, 0.6, 0.4]
    assert false == pytest.approx([1.0, 0.0, 0.666667], abs=1e-6)
    assert values(found) == pytest.approx(
        {
            "demographic_parity_difference": 0.25,
            "demographic_parity_ratio": 0.6667,
            "equal_opportunity_difference": 0.2,
            "equal_opportunity_ratio": 0.6667,
            "equalized_odds_difference": 1.0,
            "equalized_odds_ratio": 0.0,
        },
        abs=1e-4,
    )


def test_every_rate_is_that_of_its_definition_and_selection_needs_no_outcome():
    rng = np.random.default_rng(5)
    groups = rng.choice([*NAMES, "nobody's"], 400).tolist()
    outcomes = rng.choice([0.0, 1.0, np.nan], 400).tolist()
    rows = [
        (name, score, None if outcome != outcome else outcome)
        for name, score, outcome in zip(groups, rng.random(400).tolist(), outcomes, strict=True)
    ]
    wanted = reference.fairness_rates(rows)
    found = told(rows)
    assert [one.name for one in found.groups] == [*NAMES, "other"]
    for one in found.groups:
        by_hand = wanted["nobody's" if one.name == "other" else one.name]
        assert {rate: one.rates[rate].value for rate in RATES} == pytest.approx(by_hand)
        assert one.n == sum(name == one.name for name in groups) or one.name == "other"
        assert one.rates["selection_rate"].trials == one.n > one.labelled


def test_groups_of_few_rows_are_shown_and_not_compared():
    few = {"a": (30, 60, 20, 60), "b": (30, 60, 30, 60), "c": (5, 5, 0, 5)}
    found = told(rows_of(few), MIN_ROWS)
    assert [one.rates["selection_rate"].compared for one in found.groups] == [
        True,
        True,
        False,
        False,
    ]
    assert found.groups[2].rates["selection_rate"].value == 0.5
    wanted = values(told(rows_of({name: few[name] for name in "ab"})))
    assert values(found) == wanted
    assert found.disparities["demographic_parity_ratio"].groups == 2


def test_rows_in_no_group_are_compared_with_nobody():
    rows = rows_of({"a": (1, 2, 1, 2), "b": (1, 2, 1, 2)})
    assert values(told([*rows, ("nobody's", 0.9, 1.0)])) == values(told(rows))


@pytest.mark.parametrize("groups", [[], ["a"]], ids=["none", "one"])
def test_fewer_than_two_groups_have_no_disparity(groups):
    found = told(rows_of(dict.fromkeys(groups, (2, 4, 1, 4))))
    assert set(values(found).values()) == {None}


def test_a_ratio_needs_somebody_who_has_any():
    found = told([("a", 0.1, None), ("b", 0.1, None)])
    assert found.disparities["demographic_parity_ratio"].value is None
    assert found.disparities["demographic_parity_difference"].value == 0.0


def test_models_of_several_classes_have_an_accuracy_and_no_selection():
    cells = no_cells(1)
    marks = [grouped(0, number)[1] for number in (1, 1, 2)]
    words = records(range(3), scores=0.7, tops=[4, 4, 5], outcomes=[4.0, 5.0, 5.0], marks=marks)
    add_cells(cells, words, 1, 0, 2 * NOON_MS)
    first, second, _, _ = fairness("s", NAMES, cells[0, 0].diagonal().T, 1).groups
    assert (first.rates["accuracy"].value, second.rates["accuracy"].value) == (0.5, 1.0)
    assert first.rates["selection_rate"].value is None
    assert first.rates["false_positive_rate"].value is None


def test_a_disparity_lies_within_what_the_rates_of_its_groups_allow():
    counts = {"a": (50, 60, 20, 60), "b": (20, 60, 25, 60), "c": (30, 60, 20, 60)}
    found = told(rows_of(counts), MIN_ROWS).disparities["equal_opportunity_difference"]
    ends = [
        rate_interval(hits, positives, 0.05 / 3) or (0.0, 1.0)
        for hits, positives, _, _ in counts.values()
    ]
    corners = [max(some) - min(some) for some in itertools.product(*ends)]
    assert found.value == pytest.approx(30 / 60)
    assert min(corners) <= found.value <= max(corners)
    assert (found.low, found.high) == pytest.approx(
        (ends[0][0] - ends[1][1], ends[0][1] - ends[1][0])
    )
    assert found.low > 0.0


def test_intervals_hold_whenever_somebody_looks():
    """Groups that fare alike: no disparity is above 0 for sure, at any of many looks."""
    rng = np.random.default_rng(6)
    runs, wrong = 20, 0
    for _ in range(runs):
        groups, scores = rng.choice(NAMES, 2000), rng.random(2000)
        outcomes = (rng.random(2000) < 0.4).astype(float)
        rows = list(zip(groups.tolist(), scores.tolist(), outcomes.tolist(), strict=True))
        looks = [told(rows[:end], MIN_ROWS).disparities for end in range(200, 2001, 200)]
        wrong += any(
            (look[name].low or 0.0) > 0.0
            for look, name in itertools.product(looks, DISPARITIES)
            if name.endswith("difference")
        )
    assert wrong / runs <= 0.05
