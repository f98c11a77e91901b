"""What control remembers of models, and leaves behind for its successor."""

from __future__ import annotations

import pytest

from gateway.control import memory
from gateway.control.memory import Memory
from gateway.control.splits import Pull, Stop
from gateway.control.unwritten import StopBy
from gateway.keepsake import Keepsake
from gateway.plan import Plan, Route, Shadow, Split, Variant
from tests.control.auditing import ANN
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


def test_what_no_disk_has_taken_yet_is_left_to_a_successor(keepsake):
    left = Memory(plan(3, held("a")))
    left.unwritten.stop("a", StopBy(Stop(1, "x", ANN.who, "why", 1000.0), ANN))
    left.unwritten.pull("a", Pull(2, "y", "it fails", 1001.0, {"failed": 10}))
    memory.write(keepsake, left)
    found = memory.read(keepsake)
    assert found is not None
    assert (found.unwritten.stops, found.unwritten.pulls) == (
        left.unwritten.stops,
        left.unwritten.pulls,
    )


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


def shadowed(*shadows: int, canary: float = 1.0) -> Memory:
    """Versions 1 to 3 of a model: 1 and 2 answer, and some run copies."""
    versions = [held("m", number) for number in (1, 2, 3)]
    split = Split(
        (Variant("a", 1, 9.0), Variant("b", 2, canary)),
        shadows=tuple(Shadow(number, 1.0) for number in shadows),
    )
    route = Route("m", 1, {one.version: one.id for one in versions}, split)
    return Memory(Plan(1, tuple(versions), (route,)))


def test_a_shadow_is_blamed_before_who_answers_and_its_first_crash_is_its_last():
    left = shadowed(3)
    first, _, third = left.plan.held
    assert left.crashed([first.block, third.block]) == {third.id: 1}
    assert list(left.refused) == [third.id]
    assert "ran as a shadow" in left.refused[third.id]
    left.forget_refusals()
    left.retry("m")
    assert list(left.refused) == [third.id]
    left.forget_refusals("m")
    assert (left.refused, left.crashes) == ({}, {})


def test_a_version_that_answers_too_is_no_mere_shadow():
    left = shadowed(2, 3)
    _, second, third = left.plan.held
    assert left.crashed([second.block]) == {second.id: 1}
    assert left.refused == {}
    assert left.crashed([second.block, third.block]) == {third.id: 1}
    without = shadowed(2, canary=0.0)
    assert without.crashed([second.block]) == {second.id: 1}
    assert list(without.refused) == [second.id]
