"""The time that runs may take of one turn of the loop."""

from __future__ import annotations

from gateway.serving.turn import TurnBudget
from tests.serving.fakes import FakeClock, FakeLoop


def test_time_adds_up_within_a_turn_and_is_forgotten_in_the_next():
    loop = FakeLoop(FakeClock())
    budget = TurnBudget(loop, limit_s=500e-6)
    budget.spend(300e-6)
    assert not budget.spent
    budget.spend(200e-6)
    assert budget.spent
    loop.turn()
    assert (budget.spent, budget.used_s) == (False, 0.0)


def test_an_idle_budget_asks_nothing_of_the_loop():
    loop = FakeLoop(FakeClock())
    budget = TurnBudget(loop)
    budget.spend(1e-6)
    budget.spend(1e-6)
    assert len(loop.ready) == 1
    loop.turn()
    assert loop.ready == []
