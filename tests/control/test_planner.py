"""The order of a change: tried out, held beside the old, routed once loaded, the old dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.control.desired import Candidate, Desired
from gateway.control.planner import Memory, Planner
from gateway.plan import Absent, Plan

pytestmark = pytest.mark.anyio


def candidate(name: str, version: int = 1, digest: str = "d") -> Candidate:
    return Candidate(name, version, Path("/models"), "model.onnx", digest, {}, {}, "test")


class World:
    """What a planner touches: sources, trials, and workers that load or refuse."""

    def __init__(self) -> None:
        self.wanted: list[Candidate] = []
        self.champions: dict[str, int] = {}
        self.published: list[Plan] = []
        self.tried: list[str] = []
        self.bad_trials: dict[str, str] = {}
        self.bad_loads: dict[str, str] = {}
        self.planner = Planner(
            Memory(),
            self,
            lambda name, version: 4096 * version,
            self.trial,
            self.gather,
            lambda memory: None,
            1.0,
        )

    def gather(self, memory: Memory) -> Desired:
        good = [c for c in self.wanted if c.name not in memory.unloaded]
        faults = [Absent(n, 0, "UNAVAILABLE", "unloaded") for n in sorted(memory.unloaded)]
        return Desired(good, faults, self.champions)

    async def trial(self, held) -> dict[str, object]:
        self.tried.append(held["name"])
        reason = self.bad_trials.get(held["digest"])
        return {"ok": reason is None, "reason": reason}

    def publish(self, plan: Plan) -> None:
        self.published.append(plan)

    async def settled(self, number: int, deadline_s: float) -> dict[str, str]:
        held = self.published[-1].held
        return {h.id: self.bad_loads[h.digest] for h in held if h.digest in self.bad_loads}

    def routes(self) -> dict[str, int]:
        return {route.name: route.version for route in self.published[-1].routes}


@pytest.fixture
def world() -> World:
    return World()


async def test_routes_move_only_after_the_new_version_was_held_beside_the_old(world):
    world.wanted = [candidate("m", 1)]
    await world.planner.apply()
    world.published.clear()
    world.wanted = [candidate("m", 2)]
    await world.planner.apply()
    held = [sorted(h.version for h in plan.held) for plan in world.published]
    routed = [[r.version for r in plan.routes] for plan in world.published]
    assert held[-2:] == [[1, 2], [2]]
    assert routed[-2:] == [[1], [2]]


async def test_the_champion_answers_else_the_highest_version(world):
    world.wanted = [candidate("m", 1), candidate("m", 2), candidate("n", 3), candidate("n", 9)]
    world.champions = {"m": 1}
    await world.planner.apply()
    assert world.routes() == {"m": 1, "n": 9}


async def test_a_model_that_fails_its_trial_is_absent_with_the_reason_and_the_rest_serves(world):
    world.wanted = [candidate("good"), candidate("bad", digest="corrupt")]
    world.bad_trials = {"corrupt": "killed by SIGSEGV"}
    absent = await world.planner.apply()
    assert absent == (Absent("bad", 1, "UNAVAILABLE", "killed by SIGSEGV"),)
    assert world.routes() == {"good": 1}


async def test_a_refused_model_is_not_tried_again_until_it_is_asked_for(world):
    world.wanted = [candidate("bad", digest="corrupt")]
    world.bad_trials = {"corrupt": "no"}
    await world.planner.apply()
    await world.planner.apply()
    assert world.tried == ["bad"]
    world.planner.forget_refusals()
    await world.planner.apply()
    assert world.tried == ["bad", "bad"]


async def test_new_content_that_is_refused_leaves_the_old_content_serving(world):
    world.wanted = [candidate("m", digest="old")]
    await world.planner.apply()
    world.wanted = [candidate("m", digest="new")]
    world.bad_loads = {"new": "out of memory"}
    absent = await world.planner.apply()
    assert [h.digest for h in world.published[-1].held] == ["old"]
    assert world.routes() == {"m": 1}
    assert [a.reason for a in absent] == ["out of memory"]


async def test_two_native_crashes_in_the_same_model_quarantine_it_and_one_does_not(world):
    world.wanted = [candidate("m", 1), candidate("n", 2)]
    await world.planner.apply()
    block = world.published[-1].held[0].block
    await world.planner.crashed([block])
    assert world.routes() == {"m": 1, "n": 2}
    await world.planner.crashed([block])
    assert world.routes() == {"n": 2}
    assert "quarantined" in world.published[-1].absent[0].reason


async def test_a_reload_loads_anew_what_has_not_changed(world):
    world.wanted = [candidate("m")]
    await world.planner.apply()
    before = world.published[-1].held[0].id
    world.planner.reload("m")
    await world.planner.apply()
    assert world.published[-1].held[0].id != before


async def test_unloaded_stays_unloaded_until_loaded(world):
    world.wanted = [candidate("m")]
    await world.planner.apply()
    world.planner.memory.unloaded.add("m")
    await world.planner.apply()
    assert world.routes() == {}
    world.planner.reload("m")
    await world.planner.apply()
    assert world.routes() == {"m": 1}


async def test_changes_are_applied_one_after_the_other(world):
    world.wanted = [candidate("m")]
    await asyncio.gather(*(world.planner.apply() for _ in range(5)))
    assert [p.number for p in world.published] == sorted({p.number for p in world.published})
    assert world.tried == ["m"]


async def test_a_successor_publishes_what_its_predecessor_left(world):
    world.wanted = [candidate("m")]
    await world.planner.apply()
    left = world.published[-1]
    world.published.clear()
    world.planner.resume()
    assert world.published == [left]
