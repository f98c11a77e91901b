"""Shares follow what arms are worth, and no arm dies out."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.experiments.bandits import FIRST, Policy, shares
from gateway.experiments.sums import CLUSTERS, Sums
from loadtest import simulate_experiments
from tests.experiments.test_estimates import sums_of

NAMES = ["thompson", "epsilon_greedy", "ucb"]
ARM = st.tuples(st.integers(0, 300), st.floats(0, 1))


def arm(n, rate, weight=1.0):
    hits = round(n * rate)
    return sums_of([1.0] * hits + [0.0] * (n - hits), weights=np.full(n, weight)) if n else Sums()


@settings(deadline=None, max_examples=40)
@given(
    st.lists(ARM, min_size=2, max_size=5),
    st.sampled_from(NAMES),
    st.booleans(),
    st.floats(0.01, 0.2),
    st.sampled_from([1.0, -1.0]),
)
def test_shares_add_up_to_one_and_none_is_below_the_floor(arms, name, binary, floor, sign):
    found = shares(
        Policy(name, binary, floor, sign=sign), {str(n): arm(*one) for n, one in enumerate(arms)}, 1
    )
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-9)
    assert min(found.values()) >= min(floor, 1 / len(arms)) - 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_the_better_arm_gets_most_and_the_worse_one_where_less_is_better(name):
    arms = {"a": arm(400, 0.2), "b": arm(400, 0.5)}
    for sign, best in ((1.0, "b"), (-1.0, "a")):
        found = shares(Policy(name, True, 0.05, sign=sign), arms, 1)
        assert found[best] > 0.9


def test_arms_that_were_hardly_tried_are_tried_alike():
    found = shares(Policy("ucb", True, 0.05), {"a": arm(400, 0.9), "b": arm(int(FIRST) - 1, 0)}, 1)
    assert found == {"a": 0.5, "b": 0.5}


def test_a_thompson_share_is_the_chance_to_be_the_best():
    found = shares(Policy("thompson", True, 1e-9), {"a": arm(20, 0.3), "b": arm(20, 0.4)}, 1)
    rng = np.random.default_rng(9)
    better = rng.beta(9, 13, 400_000) > rng.beta(7, 15, 400_000)
    assert found["b"] == pytest.approx(better.mean(), abs=0.012)


def test_the_same_rewards_and_seed_give_the_same_shares():
    arms = {"a": arm(50, 0.3), "b": arm(50, 0.4)}
    policy = Policy("thompson", True, 0.05)
    assert shares(policy, arms, 3) == shares(policy, arms, 3) != shares(policy, arms, 4)


def test_rewards_that_faded_say_less():
    policy = Policy("thompson", True, 0.01)
    fresh = shares(policy, {"a": arm(200, 0.2), "b": arm(200, 0.3)}, 1)
    faded = shares(policy, {"a": arm(200, 0.2, 0.1), "b": arm(200, 0.3, 0.1)}, 1)
    assert fresh["b"] > faded["b"] > 0.6


def test_any_numbers_may_be_rewards():
    rng = np.random.default_rng(4)
    arms = {"a": sums_of(rng.normal(10, 3, 300)), "b": sums_of(rng.normal(12, 3, 300))}
    assert shares(Policy("thompson", False, 0.01), arms, 1)["b"] > 0.95
    assert shares(Policy("ucb", False, 0.01), arms, 1)["b"] > 0.95
    assert CLUSTERS > 0


def test_bandits_lose_less_than_half_of_what_equal_shares_do(capsys):
    simulate_experiments.main(["bandit", "--trials", "3", "--rows", "8000", "--looks", "80"])
    parts = re.findall(r"\(([0-9.]+) of that\)", capsys.readouterr().out)
    assert len(parts) == 3
    assert all(float(part) < 0.5 for part in parts)


def test_where_few_keys_make_all_requests_shares_still_follow_what_arms_are_worth(capsys):
    few = ["bandit", "--trials", "3", "--rows", "8000", "--looks", "80", "--keys", "500"]
    simulate_experiments.main(few)
    parts = re.findall(r"\(([0-9.]+) of that\)", capsys.readouterr().out)
    assert len(parts) == 3
    assert sum(float(part) for part in parts) < 3 * 0.9
