"""The rows of a group are counted as if they had come alone."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.parts import Part, Parts
from gateway.monitor.sketch import Sketch
from gateway.monitor.slices import Slicer
from gateway.monitor.slot import Slot
from gateway.profiles.live import ROWS, SKIPPED, block_words, counted, places
from tests.monitor.watching import SIGNATURE, profile_of, rows

PROFILE = profile_of(*rows(np.random.default_rng(1), 2000))
COUNTS = places(PROFILE).counts


class World:
    def __init__(self, pool):
        self.arena, self.pool = Arena.create(1), pool
        slicer = Slicer()
        slicer.by_column(0, (0, 0), SIGNATURE.inputs[0], [0.0], [])
        slicer.by_parameter(1, "tier", [["gold"]])
        self.slots = [self.slot(name) for name in ("low", "high", "gold", "alone")]
        parts = [Part(*one) for one in zip((0, 0, 1), (1, 2, 1), self.sketches, strict=False)]
        self.parts = Parts(slicer, parts)

    def slot(self, name):
        block = self.arena.allocate(layout.SKETCH, f"m/1//{name}/d", block_words(PROFILE))
        return Slot(self.arena.array(block, 0), self.pool)

    @property
    def sketches(self):
        tick = self.arena.control_row[TICK : TICK + 1]
        return [Sketch(counted(PROFILE, SIGNATURE), slot, tick, lambda: 0.0) for slot in self.slots]

    def count(self, inputs, outputs, parameters=()):
        every = len(inputs[0])
        told = [every] if not parameters else [every // len(parameters)] * len(parameters)
        marking = self.parts.marking(inputs, told, parameters or [{}])
        self.parts.count(inputs, outputs, every, marking)

    def counts(self):
        return [slot.words[COUNTS].copy() for slot in self.slots]


@pytest.fixture
def world():
    with ThreadPoolExecutor(1) as pool:
        made = World(pool)
        yield made
        made.parts.close()
        made.arena.close()


def test_each_group_has_the_counts_of_its_rows(world):
    inputs, outputs = rows(np.random.default_rng(2), 60)
    outputs[0] = None  # nobody asked for it
    world.count(inputs, outputs, [{"tier": "gold"}, {}, {"tier": "tin"}])
    low = inputs[0][:, 0] < 0
    gold = np.arange(60) < 20
    alone = world.sketches[3]
    for found, there in zip(world.counts(), (low, ~low, gold), strict=False):
        world.slots[3].words[:] = 0
        some = [[None if one is None else one[there] for one in part] for part in (inputs, outputs)]
        alone.count(*some, there.sum())
        assert found.tolist() == world.counts()[3].tolist()
        assert found[ROWS] == there.sum()


def test_a_group_without_rows_in_a_batch_costs_it_no_batch(world):
    inputs, outputs = rows(np.random.default_rng(3), 20)
    inputs[0][:, 0] = 1.0
    world.count(inputs, outputs)
    assert [one[ROWS] for one in world.counts()] == [0, 20, 0, 0]
    assert not world.counts()[0].any()


def test_what_goes_wrong_is_told_and_counted_and_reaches_nobody(world, caplog):
    inputs, outputs = rows(np.random.default_rng(4), 20)
    world.count(inputs, outputs, [{}, {}, {}])  # of 6 rows each
    assert [one[SKIPPED] for one in world.counts()] == [20, 20, 20, 0]
    assert "could not be counted" in caplog.text


@pytest.mark.anyio
async def test_large_batches_are_told_apart_and_counted_on_a_thread(world):
    inputs, outputs = rows(np.random.default_rng(5), 50_000)
    world.count(inputs, outputs)
    assert all(slot.busy for slot in world.slots[:3])
    async with asyncio.timeout(60):
        for _ in range(len(world.slots)):  # the thread does one after the other
            await asyncio.get_running_loop().run_in_executor(world.pool, int)
    low = int((inputs[0][:, 0] < 0).sum())
    assert not any(slot.busy for slot in world.slots)
    assert [one[ROWS] for one in world.counts()] == [low, 50_000 - low, 0, 0]
