"""A model's first rows become its reference: once, audited, and of its own content alone."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.control.audit import Audit, by_itself
from gateway.control.drift import Drift
from gateway.control.freezing import RETRY_S, Freezing
from gateway.control.panes import PaneStore
from gateway.control.self_references import SelfReferences
from gateway.control.sketches import Sketches
from gateway.control.store import Store
from gateway.errors import NotFound, ProfileNotFound
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.first_rows import FirstRows
from gateway.monitor.sketch import Sketch
from gateway.monitor.slot import Slot
from gateway.plan import Held, Plan
from gateway.profiles import beside, document, first_rows
from gateway.profiles.live import block_words, counted
from gateway.taken import Kept
from tests.monitor.watching import SIGNATURE, profile_of, rows

pytestmark = pytest.mark.anyio

NAMES = {"x": ["age", "income"], "job": ["job"]}
WANTED = 400


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """Two workers that keep the first rows of model m version 1, and control's view of them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = Store.open(home)
        self.own = SelfReferences(self.store, home, by_itself())
        self.arena = Arena.create(2)
        self.clock = Clock()
        self.rng = np.random.default_rng(4)
        self.pool = ThreadPoolExecutor(1)
        words = first_rows.slot_words(SIGNATURE, NAMES, WANTED)
        key = layout.first_rows_key("m", 1, "content", 0)
        self.block = self.arena.allocate(layout.FIRST_ROWS, key, words)
        held = Held("m", 1, "/", "m.onnx", "content", {}, {}, 0)
        self.plan = Plan(1, (held,), watched={held.id: (Kept(self.block, WANTED, NAMES),)})
        self.freezing = Freezing(self.arena, self.own, lambda: self.plan, self.clock)
        self.workers = [self.worker(0), self.worker(1)]
        self.sent: list[list[np.ndarray]] = []

    def worker(self, number: int) -> FirstRows:
        slot = Slot(self.arena.array(self.block, number), self.pool)
        return FirstRows(SIGNATURE, slot, WANTED, NAMES, (), self.clock)

    def serve(self, count: int, worker: int = 0) -> None:
        inputs, outputs = rows(self.rng, count)
        self.workers[worker].count(inputs, outputs, count)
        self.sent.append([*inputs, *outputs])
        self.clock.now += 1

    def digest_of_sent(self) -> str:
        """Of the profile that `penstock profile` would make of what was sent."""
        x, job, label, score = (np.concatenate(parts) for parts in zip(*self.sent, strict=True))
        own = dataclasses.replace(profile_of([x, job], [label, score]), self_referenced=True)
        return document.digest(own)

    def audited(self) -> list[tuple[str, str]]:
        return [(entry.action, entry.subject) for entry in Audit(self.store).entries()]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.pool.shutdown()
    made.store.close()
    made.arena.close()


async def test_rows_of_all_workers_together_become_the_reference(world):
    for turn in range(8):
        world.serve(50, turn % 2)
    assert world.own.find("m", 1) is None
    await world.freezing.look()
    found = world.own.find("m", 1)
    assert found.rows == WANTED
    profile = beside.load(found.file)
    assert profile.self_referenced
    assert document.digest(profile) == found.digest == world.digest_of_sent()
    assert world.audited() == [("profile freeze", "m/1")]


async def test_nothing_is_made_before_there_are_enough(world):
    world.serve(WANTED - 1)
    await world.freezing.look()
    assert world.own.find("m", 1) is None
    progress = world.freezing.progress()["m", 1]
    assert (progress.rows, progress.wanted, progress.enough) == (WANTED - 1, WANTED, False)


async def test_it_is_made_once_though_its_rows_are_still_there(world):
    world.serve(WANTED)
    await world.freezing.look()
    world.serve(50, 1)
    await world.freezing.look()
    assert world.audited() == [("profile freeze", "m/1")]


async def test_a_worker_that_is_killed_takes_none_of_its_rows_along(world):
    world.serve(200)
    world.arena.bury(0, -9)
    world.workers[0] = world.worker(0)
    world.serve(200)
    await world.freezing.look()
    assert world.own.find("m", 1).digest == world.digest_of_sent()


async def test_workers_that_see_another_kind_of_values_are_not_mixed(world):
    inputs, outputs = rows(world.rng, 250)
    outputs[1] = np.hstack([outputs[1], 1 - outputs[1]])  # what the others do not see
    world.workers[1].count(inputs, outputs, 250)
    world.serve(300)
    await world.freezing.look()
    assert world.own.find("m", 1) is None
    world.serve(100)
    await world.freezing.look()
    assert world.own.find("m", 1).digest == world.digest_of_sent()


async def test_where_there_is_no_room_for_all_those_that_there_are_are_taken(world):
    world.serve(100)
    world.arena.array(world.block, 0)[first_rows.FULL] = 1
    await world.freezing.look()
    assert world.own.find("m", 1).rows == 100


async def test_what_the_disk_refuses_is_tried_again(world):
    world.serve(WANTED)
    folder = world.home / "models"
    folder.write_text("in the way of the folder")
    await world.freezing.look()
    folder.unlink()
    await world.freezing.look()
    assert world.own.find("m", 1) is None
    world.clock.now += RETRY_S
    await world.freezing.look()
    assert world.own.find("m", 1).rows == WANTED


async def test_rows_that_came_before_a_reset_make_no_reference_after_it(world):
    world.serve(WANTED)
    await world.freezing.look()
    world.own.reset("m", 1)
    again = Freezing(world.arena, world.own, lambda: world.plan, world.clock)
    await again.look()
    assert world.own.find("m", 1) is None
    assert world.own.all()["m", 1].resets == 1
    assert world.audited() == [("profile freeze", "m/1"), ("profile reset", "m/1")]


def test_what_was_never_made_cannot_be_forgotten(tmp_path):
    with Store.open(tmp_path) as store, pytest.raises(ProfileNotFound, match="model 'm' version 3"):
        SelfReferences(store, tmp_path).reset("m", 3)


async def test_a_reference_outlives_its_server(world):
    world.serve(WANTED)
    await world.freezing.look()
    made = world.own.find("m", 1)
    with Store.open(world.home) as store:
        assert SelfReferences(store, world.home).find("m", 1) == made


async def test_a_report_says_how_far_it_is_and_then_that_it_is_self_referenced(world, tmp_path):
    panes = PaneStore(tmp_path)
    sketches = Sketches(world.arena, panes, world.clock, lambda: 1.8e9)
    drift = Drift(sketches.series, world.freezing.progress)
    world.serve(100)
    with pytest.raises(NotFound, match="first 400 rows become its reference, and 100 are there"):
        drift.report("m", 1, 600, None, False)
    world.serve(WANTED)
    await world.freezing.look()
    profile = beside.load(world.own.find("m", 1).file)
    key = layout.sketch_key("m", 1, "d")
    offset = world.arena.allocate(layout.SKETCH, key, block_words(profile))
    sketches.watch(key, profile)
    slot = Slot(world.arena.array(offset, 0), world.pool)
    tick = world.arena.control_row[TICK : TICK + 1]
    counting = Sketch(counted(profile, SIGNATURE), slot, tick)
    drift.look()
    for _ in range(400):  # long enough for the scatter between panes to be believed
        inputs, outputs = rows(world.rng, 8)
        counting.count(inputs, outputs, 8)
        world.clock.now += 1
        sketches.look()
        drift.look()
    report = drift.report("m", 1, 600, None, False)
    assert report["self_referenced"]
    assert report["reference_rows"] == WANTED
    assert {line["verdict"] for line in report["features"]} <= {"self_referenced", "watch"}
    assert "self_referenced" in {line["verdict"] for line in report["features"]}
    panes.close()
