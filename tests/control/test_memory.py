"""What control remembers of models, and leaves behind for its successor and nobody else."""

from __future__ import annotations

import pytest

from gateway.control import memory
from gateway.control.memory import Memory
from gateway.plan import Plan
from tests.plans import held, plan

BOOT = 7


@pytest.fixture
def file(home):
    return home / "plan.json"


def test_a_successor_finds_everything(file):
    left = Memory(plan(3, held("a")), {"x": 1}, {"y": "no"}, {"z"}, {"a": 2})
    memory.write(file, BOOT, left)
    assert memory.read(file, BOOT) == left


def test_the_memory_of_another_server_names_counters_that_are_gone(file):
    memory.write(file, BOOT, Memory(plan(3, held("a"))))
    assert memory.read(file, BOOT + 1) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b'{"boot": 7}', b'{"boot": 7, "parts": 1}']
)
def test_a_file_that_makes_no_sense_is_not_believed(file, content):
    file.write_bytes(content)
    assert memory.read(file, BOOT) is None


def test_without_a_file_there_is_no_memory(file):
    assert memory.read(file, BOOT) is None


def test_a_disk_that_takes_no_more_is_told_and_does_not_stop_the_plan(home, caplog):
    memory.write(home / "nowhere" / "plan.json", BOOT, Memory())
    assert "the plan cannot be stored" in caplog.text


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
