"""What was broken of a contract is known of any window, over restarts too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.control.contract_history import ContractHistory
from gateway.control.panes import PaneStore
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import Block

NOON = 1_800_000_000.0
WORDS = layout.CONTRACT_FIRST + 2 * layout.CONTRACT_RULES
KEY = layout.contract_key("m", 1, "c")


class World:
    """Two workers that count, and what control makes of it."""

    def __init__(self, home: Path) -> None:
        self.arena = Arena.create(2)
        self.store = PaneStore(home)
        self.now = NOON
        self.block = self.allocated()
        self.history = ContractHistory(self.arena, self.store)

    def allocated(self) -> Block:
        return Block(layout.CONTRACT, KEY, self.arena.allocate(layout.CONTRACT, KEY, WORDS), WORDS)

    def count(self, rows: int, breaches: int, worker: int = 0) -> None:
        slot = self.arena.array(self.block.offset, worker)
        slot[layout.CONTRACT_ROWS] += rows
        slot[layout.CONTRACT_FIRST + 3] += breaches
        slot[layout.SKETCH_HELD] = 1

    def look(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.history.look(self.now)

    def seen(self, length_s: float) -> tuple[int, int]:
        words = self.history.window(self.block, length_s)
        return int(words[layout.CONTRACT_ROWS]), int(words[layout.CONTRACT_FIRST + 3])

    def successor(self) -> None:
        """Another control process, of the same server."""
        panes, bases = self.history.due(everything=True)
        self.store.save(panes, bases, self.now)
        self.history = ContractHistory(self.arena, self.store)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()
    made.arena.close()


def test_a_window_has_what_came_in_it_of_all_workers(world: World) -> None:
    world.count(100, 7)
    world.look()
    world.look(1000.0)
    world.count(50, 2)
    world.count(10, 1, worker=1)
    world.look()
    assert world.seen(60.0) == (60, 3)
    assert world.seen(3600.0) == (160, 10)
    # Whether somebody counts now is no count.
    assert not np.any(world.history.window(world.block, 3600.0)[layout.SKETCH_HELD])


def test_windows_go_on_after_a_restart_and_count_nothing_twice(world: World) -> None:
    world.count(100, 7)
    world.look()
    world.successor()
    world.count(20, 1)
    world.look()
    assert world.seen(600.0) == (120, 8)


def test_a_version_that_left_and_came_back_counts_on(world: World) -> None:
    world.count(100, 7)
    world.look()
    world.arena.free(world.block.offset)
    world.block = world.allocated()
    world.count(5, 1)
    world.look()
    assert world.seen(600.0) == (105, 8)


def test_of_what_was_never_looked_at_there_is_nothing(world: World) -> None:
    assert world.seen(600.0) == (0, 0)
    world.arena.free(world.block.offset)
    world.look()
    assert world.seen(5.0) == (0, 0)
