"""Where two versions disagree, outcomes say which is right, and how sure that is at any time."""

from __future__ import annotations

import numpy as np

from gateway.rollouts.discordance import Discordance, discordance


def test_rows_of_one_mind_and_rows_without_outcome_say_nothing():
    rows = [(1, 1, 1.0), (1, 0, None), (1, 0, 1.0), (1, 0, 0.0), (2, 1, 0.0)]
    found = discordance(rows)
    assert (found.answered, found.shadow, found.neither) == (1, 1, 1)
    assert Discordance().log10_e == 0.0


def test_a_shadow_that_is_right_more_often_is_found_and_a_fair_coin_seldom_is():
    assert Discordance(answered=10, shadow=40).log10_e > 3
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(400):
        right = (rng.random(200) < 0.5).cumsum().tolist()
        looks = (Discordance(n - hits, hits) for n, hits in enumerate(right, 1))
        wrong += any(one.log10_e > np.log10(20) for one in looks)
    assert wrong <= 0.05 * 400 + 8
