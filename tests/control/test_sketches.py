"""What workers count comes into windows, whoever dies in between."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.control.panes import PaneStore
from gateway.control.sketches import Sketches
from gateway.drift.panes import MAX, MIN, SUM, N
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.sketch import Sketch
from gateway.monitor.slot import Slot
from gateway.profiles.live import ROWS, block_words, counted
from tests.monitor.watching import SIGNATURE, profile_of, rows

NOON = 1_800_000_000.0
KEY = layout.sketch_key("m", 1, "d")
REFERENCE = profile_of(*rows(np.random.default_rng(1), 2000))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """An arena of two workers, and control's view of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.arena = Arena.create(2)
        self.clock, self.wall = Clock(), Clock()
        self.wall.now = NOON
        self.pool = ThreadPoolExecutor(1)
        self.rng = np.random.default_rng(9)
        self.start()

    def start(self) -> None:
        """A server: counts begin at zero."""
        offset = self.arena.allocate(layout.SKETCH, KEY, block_words(REFERENCE))
        tick = self.arena.control_row[TICK : TICK + 1]
        self.workers = [
            Sketch(
                counted(REFERENCE, SIGNATURE), Slot(self.arena.array(offset, n), self.pool), tick
            )
            for n in range(2)
        ]
        self.control()

    def control(self) -> None:
        """Another control process on the same arena."""
        self.store = PaneStore(self.home)
        self.sketches = Sketches(self.arena, self.store, self.clock, self.wall)
        self.sketches.watch(KEY, REFERENCE)

    def serve(self, count: int, worker: int = 0, shift: float = 0.0) -> np.ndarray:
        inputs, outputs = rows(self.rng, count, shift)
        self.workers[worker].count(inputs, outputs, count)
        return inputs[0]

    def second(self) -> None:
        self.clock.now += 1
        self.wall.now += 1
        self.sketches.look()

    def save(self, everything: bool = False) -> None:
        self.store.save(*self.sketches.due(everything), self.sketches.now)

    def restart(self) -> None:
        """Another server, after this one was told to stop."""
        self.save(everything=True)
        self.store.close()
        self.arena.close()
        self.arena = Arena.create(2)
        self.start()

    def rows(self, length: float = 3600) -> int:
        return int(self.window(length).counts[ROWS])

    def window(self, length: float = 3600):
        return self.sketches.series()[0].history.window(length)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.pool.shutdown()
    made.arena.close()


def test_counts_of_all_workers_add_up_and_none_is_taken_twice(world):
    world.serve(10, 0)
    world.serve(5, 1)
    world.second()
    world.second()
    assert world.rows() == 15
    world.serve(7, 1)
    world.second()
    assert world.rows() == 22


def test_moments_of_a_window_are_those_of_its_values(world):
    values = []
    for _ in range(25):
        values.append(world.serve(40, 0)[:, 0])
        values.append(world.serve(3, 1)[:, 0])
        world.second()
    age = np.concatenate(values).astype(np.float64)
    centre = next(column for _, column in REFERENCE.columns()).centre
    found = world.window().moments[0]
    assert found[N] == len(age)
    assert found[SUM] == pytest.approx((age - centre).sum())
    assert (found[MIN], found[MAX]) == (age.min(), age.max())


def test_one_absurd_value_spoils_the_mean_of_its_second_alone(world):
    x = np.array([[1e30, 0]], np.float32)
    inputs, outputs = rows(world.rng, 1)
    world.workers[0].count([x, inputs[1]], outputs, 1)
    world.second()
    for _ in range(100):
        world.clock.now += 1
        world.wall.now += 1
        world.sketches.look()
    world.serve(50)
    world.second()
    assert abs(world.window(60).moments[0][SUM]) < 1e3


def test_a_control_that_is_killed_loses_and_doubles_no_count(world):
    for _ in range(35):
        world.serve(10)
        world.second()
        world.save()
    world.serve(10)
    world.control()  # without a word from the one before
    world.second()
    assert world.rows() == 360


def test_a_server_that_stops_and_starts_goes_on_where_it_was(world):
    for _ in range(17):
        world.serve(10)
        world.second()
    world.restart()
    assert world.rows() == 170
    world.serve(1)
    world.second()
    assert world.rows() == 171


@pytest.mark.parametrize("jump", [86400 * 400, -86400 * 400])
def test_a_wall_clock_that_jumps_moves_no_window(world, jump):
    world.serve(10)
    world.second()
    world.wall.now += jump
    world.serve(10)
    world.second()
    assert world.rows(60) == 20


def test_a_clock_set_back_between_two_starts_loses_no_history(world):
    for _ in range(30):
        world.serve(1)
        world.second()
    world.wall.now -= 7 * 86400
    world.restart()
    world.serve(1)
    world.second()
    assert world.rows() == 31


def test_a_worker_that_is_replaced_counts_on_in_its_slot(world):
    world.serve(10, 1)
    world.second()
    world.arena.bury(1, 9)
    world.arena.claim(1, 4242, 2, 0)
    world.serve(5, 1)
    world.second()
    assert world.rows() == 15


def test_a_version_that_left_is_forgotten_and_goes_on_where_it_was_when_it_is_back(world):
    world.serve(100)
    world.second()
    world.arena.free(world.arena.find(layout.SKETCH, KEY))
    for _ in range(20):
        world.second()
        world.save()
    assert world.sketches.series() == ()
    world.start()
    world.serve(7)
    world.second()
    assert world.rows() == 107
