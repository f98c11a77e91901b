"""Where scores decide who is labelled, figures are wrong but for those who were held out."""

from __future__ import annotations

from loadtest.selective_labels import simulate


def test_intervals_of_those_held_out_hold_the_truth_and_those_of_the_rest_miss_it():
    found = simulate(runs=100, seed=3)
    assert min(found.held_out.values()) >= 0.95
    assert found.all_labelled["accuracy"] == found.all_labelled["recall"] == 0.0
