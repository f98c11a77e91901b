"""What may be said of figures taken in turns."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.tally import histogram, summary_ms
from loadtest.turns import Measure, Result, interval90, ratios, take_turns


def test_the_interval_of_twenty_turns_is_the_sixth_to_the_fifteenth():
    assert interval90([float(n) for n in range(20, 0, -1)]) == (6.0, 15.0)


@pytest.mark.parametrize(("n", "wanted"), [(1, (1, 1)), (4, (1, 4)), (5, (1, 5)), (8, (2, 7))])
def test_few_values_give_a_wide_interval(n, wanted):
    assert interval90(list(range(1, n + 1))) == wanted


@pytest.mark.parametrize("n", [5, 20, 21])
def test_the_interval_holds_the_true_median_nine_times_in_ten(n):
    rng = np.random.default_rng(n)
    samples = rng.exponential(1.0, (2000, n)).tolist()
    held = sum(low <= np.log(2) <= high for low, high in map(interval90, samples))
    assert held / 2000 > 0.89


def test_no_values_have_no_interval():
    with pytest.raises(ValueError, match="expected at least one value"):
        interval90([])


def test_contestants_change_places_and_the_first_round_is_thrown_away():
    played: list[str] = []

    def play(name: str) -> int:
        played.append(name)
        return len(played)

    rows = take_turns({"a": lambda: play("a"), "b": lambda: play("b")}, 2)
    assert "".join(played) == "baabba"
    assert rows == [{"a": 3, "b": 4}, {"b": 5, "a": 6}]


def test_ratios_are_taken_within_a_round():
    rows = [{"mine": 3.0, "other": 6.0}, {"mine": 1.0, "other": 1.0}, {"mine": 1.0, "other": 0.0}]
    assert ratios(rows, "mine", "other") == [0.5, 1.0]


HIT, MISS = Measure("a", [0.5], ">=", 0.4), Measure("b", [0.5], ">=", 0.9)


@pytest.mark.parametrize(
    ("result", "reached"),
    [
        pytest.param(Result("r", "", [HIT, MISS]), False, id="all-are-needed"),
        pytest.param(Result("r", "", [HIT, MISS], "any"), True, id="one-is-enough"),
        pytest.param(Result("r", "", [HIT], faults=1), False, id="a-wrong-answer-spoils-it"),
        pytest.param(Result("r", "", [Measure("c", [1.0])]), None, id="no-target"),
        pytest.param(Result("r", "", skipped="no nginx"), None, id="skipped-is-never-reached"),
    ],
)
def test_whether_a_target_is_reached(result, reached):
    assert result.document()["reached"] is reached


def test_the_headline_is_the_measure_that_was_reached():
    document = Result("r", "", [MISS, HIT], "any").document()
    assert document["target"] == "b >= 0.9 or a >= 0.4"
    assert (document["measured"], document["interval90"]) == (0.5, [0.5, 0.5])


def test_percentiles_are_right_to_a_thousandth():
    seconds = np.arange(1, 10_001) / 1e4
    figures = summary_ms(histogram(seconds))
    assert figures["p50"] == pytest.approx(500, rel=2e-3)
    assert figures["p99"] == pytest.approx(990, rel=2e-3)
    assert figures["max"] == pytest.approx(1000, rel=2e-3)
