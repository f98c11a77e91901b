"""What another policy would have come to, from rows that another one answered."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.experiments.replay import SMALL, Replay
from gateway.experiments.sums import CLUSTERS
from loadtest import simulate_experiments


def replay_of(rewards, chances, wanted):
    replay = Replay()
    given, had, share = (np.asarray(some, float) for some in (rewards, chances, wanted))
    replay.add(given, had, share, np.arange(len(given)) % CLUSTERS)
    return replay.found(0.05)


def test_rows_stand_for_as_many_as_the_other_policy_would_have_had():
    # a got a quarter and pays 1 each, b the rest and pays nothing.
    rewards, chances = [1] * 100 + [0] * 300, [0.25] * 100 + [0.75] * 300
    always_a = replay_of(rewards, chances, [1] * 100 + [0] * 300)
    assert (always_a.mean.mean, always_a.ips.mean, always_a.snips.mean) == (0.25, 1.0, 1.0)
    assert always_a.effective_rows == pytest.approx(100.0)
    halves = replay_of(rewards, chances, [0.5] * 400)
    assert halves.ips.mean == pytest.approx(0.5)
    assert halves.rows == 400


def test_the_policy_that_answered_is_worth_what_it_was():
    found = replay_of([1, 0] * 200, [0.3] * 400, [0.3] * 400)
    assert found.ips == found.mean
    assert found.snips.mean == found.mean.mean
    assert found.effective_rows == 400
    assert found.warnings == ()


def test_rewards_that_are_not_known_count_nowhere():
    found = replay_of([1, np.nan, 0], [0.5] * 3, [0.5] * 3)
    assert (found.rows, found.ips.mean) == (2, 0.5)


def test_small_chances_and_few_rows_are_told():
    few = replay_of([1] * 5 + [0] * 500, [SMALL / 2] * 5 + [0.995] * 500, [1] * 5 + [0] * 500)
    assert few.least_chance == SMALL / 2
    assert few.ips.mean == pytest.approx(5 / (SMALL / 2) / 505)  # as rare as it is, it counts whole
    assert [text.split(":")[0].split(" had")[0] for text in few.warnings] == [
        "some rows",
        "all rows say as much as 5 that weigh alike",
    ]
    assert few.snips.low is None
    none = replay_of([1, 0], [0.5, 0.5], [0, 0])
    assert none.snips.mean is none.least_chance is None
    assert none.warnings[0].startswith("no row was answered by an arm")
    unknown = replay_of([np.nan, np.nan], [0.5, 0.5], [1, 0])
    assert unknown.warnings == ("no row that was left to chance has a number of this",)


def test_its_intervals_hold_the_truth(capsys):
    simulate_experiments.main(["replay", "--trials", "60", "--rows", "6000"])
    told = capsys.readouterr().out
    missed = [float(part.split(" %")[0]) for part in told.replace("snips", "ips").split("ips ")[1:]]
    assert len(missed) == 2
    assert max(missed) <= 5.0
