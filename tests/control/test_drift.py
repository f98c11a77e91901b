"""What a window is held against: the profile, or earlier traffic in the profile's bins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.control.drift import Drift
from gateway.control.panes import PaneStore
from gateway.control.sketches import Sketches
from gateway.drift.reference import Reference
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.sketch import Sketch
from gateway.monitor.slot import Slot
from gateway.profiles.live import block_words, counted, places
from tests.monitor.watching import SIGNATURE, profile_of, rows

REFERENCE = profile_of(*rows(np.random.default_rng(1), 2000))
KEY = layout.sketch_key("m", 1, "d")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """One worker that counts, and control's reports."""

    def __init__(self, home: Path) -> None:
        self.arena = Arena.create(1)
        self.clock = Clock()
        self.pool = ThreadPoolExecutor(1)
        self.rng = np.random.default_rng(2)
        self.panes = PaneStore(home)
        self.sketches = Sketches(self.arena, self.panes, self.clock, self.clock)
        self.sketches.watch(KEY, REFERENCE)
        self.drift = Drift(self.sketches.series)
        offset = self.arena.allocate(layout.SKETCH, KEY, block_words(REFERENCE))
        tick = self.arena.control_row[TICK : TICK + 1]
        slot = Slot(self.arena.array(offset, 0), self.pool)
        self.worker = Sketch(counted(REFERENCE, SIGNATURE), slot, tick)

    def serve(self, seconds: int, count: int, shift: float = 0.0) -> None:
        for _ in range(seconds):
            inputs, outputs = rows(self.rng, count, shift)
            self.worker.count(inputs, outputs, count)
            self.clock.now += 1
            self.sketches.look()
            self.drift.look()

    def age(self, **query):
        report = self.drift.report("m", 1, 60, None, True, **query)
        return report, report["features"][0]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.panes.close()
    made.pool.shutdown()
    made.arena.close()


def test_a_rolling_reference_is_what_came_before_the_window_in_the_same_bins(world):
    world.serve(300, 10, shift=1.0)
    world.serve(70, 10, shift=1.0)
    _, fixed = world.age()
    report, rolling = world.age(rolling_s=240.0)
    assert fixed["verdict"] == "drift"
    assert rolling["verdict"] in ("self_referenced", "watch")
    assert rolling["ks"] < 0.1 < fixed["ks"]
    assert (report["reference_kind"], report["self_referenced"]) == ("rolling:240s", True)
    assert [one["le"] for one in rolling["bins"]] == [one["le"] for one in fixed["bins"]]
    before = sum(one["reference"] for one in rolling["bins"])
    assert before == report["reference_rows"]
    assert 2400 <= before <= 3700 - report["rows"]


def test_a_rolling_reference_shows_what_is_new(world):
    world.serve(300, 10)
    world.serve(60, 10, shift=1.0)
    _, rolling = world.age(rolling_s=200.0)
    assert rolling["verdict"] == "drift"


def test_before_there_was_any_traffic_there_is_no_rolling_reference(world):
    world.serve(30, 10)
    report, rolling = world.age(rolling_s=600.0)
    assert (report["reference_rows"], rolling["verdict"]) == (0, "too_few_rows")


def test_rows_of_live_traffic_depend_on_each_other_in_the_reference_too():
    effect = np.full(sum(1 for _ in REFERENCE.columns()), 9.0)
    effect[0] = np.nan
    found = places(REFERENCE)
    own = Reference.of(dataclasses.replace(REFERENCE, self_referenced=True), found)
    assert own.with_effect(effect).baseline.effect.tolist() == [1.0, *[9.0] * (len(effect) - 1)]
    data = Reference.of(REFERENCE, found)
    assert data.with_effect(effect).baseline.effect.tolist() == [1.0] * len(effect)
