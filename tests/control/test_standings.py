"""How versions stand is published for whoever reads, and goes on after a restart."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.control.ledger_store import LedgerStore
from gateway.control.standings import FORGOTTEN_S, PAUSE_S, Standings
from tests.control.standing import SETTINGS, WINDOW_S
from tests.outcomes.records import NOON_MS, records

SERVING = {("m", 1): 1}


class World:
    def __init__(self, folder):
        self.store = LedgerStore(folder)
        self.now = 100.0
        self.fed = 0
        self.standings = self.another()

    def another(self):
        return Standings(
            lambda: self.store,
            lambda: SETTINGS,
            lambda: NOON_MS + int(self.now * 1000),
            lambda: self.now,
        )

    def outcomes(self, count, rate=0.0):
        wrong = np.random.default_rng(self.fed).random(count) < rate
        told = records(
            range(self.fed, self.fed + count),
            scores=0.9,
            outcomes=1.0 - wrong,
            at_ms=NOON_MS + int(self.now * 1000),
            outcome_ms=NOON_MS + int(self.now * 1000),
        )
        self.fed += count
        self.standings.answered(told)
        self.standings.labelled(told)

    def look(self, seconds=1.0):
        self.now += seconds
        self.standings.look(SERVING)
        return self.standings.found["m", 1]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.store.close()


def test_what_a_rule_wants_is_there_after_the_next_look(world):
    assert (world.standings.found, world.standings.started) == ({}, False)
    assert world.look().windows == {}
    world.standings.want(WINDOW_S)
    assert world.look().windows[WINDOW_S].found.labelled == 0
    world.outcomes(300, 0.1)
    found = world.look(PAUSE_S)
    window = found.windows[WINDOW_S]
    assert (window.answered, window.found.labelled, window.coverage) == (300, 300, 1.0)
    assert found.concept.outcomes == 300


def test_windows_are_made_now_and_then_and_what_outcomes_say_each_second(world):
    world.standings.want(WINDOW_S)
    world.look()
    world.outcomes(300)
    soon = world.look(PAUSE_S / 2)
    assert (soon.concept.outcomes, soon.windows[WINDOW_S].found.labelled) == (300, 0)
    assert world.look(PAUSE_S / 2).windows[WINDOW_S].found.labelled == 300


def test_a_window_that_nobody_asks_for_is_forgotten(world):
    world.standings.want(WINDOW_S)
    world.look()
    world.outcomes(10)
    world.look(FORGOTTEN_S + 1)
    assert world.look(PAUSE_S).windows == {}
    assert world.standings.started


def test_all_of_it_goes_on_after_a_restart(world):
    world.standings.want(WINDOW_S)
    world.look()
    world.outcomes(800, 0.05)
    world.outcomes(300, 0.5)
    before = world.look(PAUSE_S)
    assert before.concept.verdict == "drift"
    world.standings = world.another()
    assert world.look() == before


def test_outcomes_that_come_before_the_first_look_count_in_windows_that_are_wanted(world):
    world.standings.want(WINDOW_S)
    world.outcomes(300)
    assert world.look().windows[WINDOW_S].found.labelled == 300
