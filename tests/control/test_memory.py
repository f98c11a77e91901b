"""What control remembers of models, and leaves behind for its successor."""

from __future__ import annotations

import pytest

from gateway.control import memory
from gateway.control.memory import Memory
from gateway.keepsake import Keepsake
from gateway.plan import Plan
from tests.plans import held, plan


@pytest.fixture
def keepsake():
    kept = Keepsake()
    yield kept
    kept.close()


def test_a_successor_finds_everything(keepsake):
    left = Memory(plan(3, held("a")), {"x": 1}, {"y": "no"}, {"z"}, {"a": 2})
    memory.write(keepsake, left)
    assert memory.read(keepsake) == left


def test_the_first_control_process_of_a_server_finds_nothing(keepsake):
    assert memory.read(keepsake) is None


def test_of_what_counts_in_one_place_the_one_that_is_being_loaded_is_blamed():
    old, new = held("a", digest="old"), held("a", digest="new")
    left = Memory(Plan(1, (old, new), plan(1, old).routes))
    left.crashed([old.block])
    assert left.crashes == {new.id: 1}


def test_of_two_that_ran_the_one_that_was_there_before_is_blamed():
    a, b, c = (held(name, n) for n, name in enumerate("abc", 1))
    left = Memory(plan(1, a, b, c))
    left.crashed([a.block, b.block])
    left.crashed([b.block, c.block])
    assert (left.crashes, list(left.refused)) == ({a.id: 1, b.id: 2}, [b.id])
