"""Counters of a version live while it is known, and long enough after it left to be scraped."""

from __future__ import annotations

import pytest

from gateway.control.blocks import ROWS_KEPT_S, Blocks
from gateway.errors import ArenaFull
from gateway.monitor import layout
from gateway.monitor.arena import Arena

KEPT_S = 600.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arena():
    made = Arena.create(2)
    yield made
    made.close()


@pytest.fixture
def blocks(arena, clock) -> Blocks:
    return Blocks(arena, clock, KEPT_S)


def names(arena: Arena) -> set[str]:
    return {block.name for block in arena.blocks(layout.MODEL)}


def test_a_version_that_left_is_forgotten_after_its_last_counts_could_be_scraped(
    arena, blocks, clock
):
    blocks.allocate("m", 1)
    blocks.allocate("m", 2)
    blocks.want({("m", 2)})
    clock.now += KEPT_S - 1
    blocks.sweep()
    assert names(arena) == {"m/1", "m/2"}
    clock.now += 1
    blocks.sweep()
    assert names(arena) == {"m/2"}


def test_a_version_that_comes_back_in_time_counts_on(arena, blocks, clock):
    offset = blocks.allocate("m", 1)
    arena.slot(offset, 0)[layout.OK] = 7
    blocks.want(set())
    clock.now += KEPT_S - 1
    assert blocks.allocate("m", 1) == offset
    blocks.want({("m", 1)})
    clock.now += 2 * KEPT_S
    blocks.sweep()
    assert arena.slot(offset, 0)[layout.OK] == 7


def test_leaving_again_starts_the_time_anew(arena, blocks, clock):
    blocks.allocate("m", 1)
    blocks.want(set())
    clock.now += KEPT_S - 1
    blocks.want({("m", 1)})
    blocks.want(set())
    clock.now += KEPT_S - 1
    blocks.sweep()
    assert names(arena) == {"m/1"}


def test_what_a_worker_still_holds_is_never_forgotten(arena, blocks, clock):
    offset = blocks.allocate("m", 1)
    arena.slot(offset, 1)[layout.LOADED] = 1
    blocks.want(set())
    clock.now += 2 * KEPT_S
    blocks.sweep()
    assert names(arena) == {"m/1"}
    arena.slot(offset, 1)[layout.LOADED] = 0
    blocks.sweep()
    assert names(arena) == set()


def test_a_successor_forgets_what_its_predecessor_left_but_not_before_it_knows_what_is_wanted(
    arena, blocks, clock
):
    blocks.allocate("m", 1)
    later = Blocks(arena, clock, KEPT_S)
    clock.now += 2 * KEPT_S
    later.sweep()
    assert names(arena) == {"m/1"}
    later.want(set())
    clock.now += KEPT_S
    later.sweep()
    assert names(arena) == set()


@pytest.fixture
def small():
    """Room for some dozens of models beside the directory."""
    made = Arena.create(1, 14 << 20)
    yield made
    made.close()


def test_endless_versions_do_not_fill_the_arena(small, clock):
    blocks = Blocks(small, clock, KEPT_S)
    for version in range(1, 1000):
        blocks.allocate("m", version)
        blocks.want({("m", version)})
    assert "m/999" in names(small)


def test_a_full_arena_refuses_a_newcomer_and_spares_what_was_just_allocated(small, clock):
    blocks = Blocks(small, clock, KEPT_S)
    blocks.want(set())
    taken = fill(blocks)
    with pytest.raises(ArenaFull):
        blocks.allocate("m", taken + 1)
    assert names(small) == {f"m/{version}" for version in range(1, taken + 1)}


def fill(blocks: Blocks) -> int:
    """Allocates until there is no room, and says how many it were."""
    for version in range(1, 1000):
        try:
            blocks.allocate("m", version)
        except ArenaFull:
            return version - 1
    raise AssertionError("the arena never filled")


def test_a_block_of_values_lives_while_a_plan_names_it_and_a_worker_counts_there(
    arena, blocks, clock
):
    offset = blocks.allocate_sketch("m/1//all/d", 4000)
    assert blocks.allocate_sketch("m/1//all/d", 4000) == offset
    blocks.want({("m", 1)}, {offset})
    clock.now += 2 * KEPT_S
    blocks.sweep()
    assert len(list(arena.blocks(layout.SKETCH))) == 1
    arena.slot(offset, 1)[layout.SKETCH_HELD] = 1
    blocks.want({("m", 1)}, set())
    clock.now += KEPT_S
    blocks.sweep()
    assert len(list(arena.blocks(layout.SKETCH))) == 1
    arena.slot(offset, 1)[layout.SKETCH_HELD] = 0
    blocks.sweep()
    assert list(arena.blocks(layout.SKETCH)) == []


def test_first_rows_go_as_soon_as_nobody_holds_them(arena, blocks, clock):
    key = layout.first_rows_key("m", 1, "content", 0)
    offset = blocks.allocate_rows(key, 4096)
    blocks.want(set(), {offset})
    slot = arena.slot(offset, 1)
    slot[layout.SKETCH_HELD] = 1
    blocks.want(set(), set())
    clock.now += ROWS_KEPT_S
    blocks.sweep()
    assert [block.name for block in arena.blocks(layout.FIRST_ROWS)] == [key]
    slot[layout.SKETCH_HELD] = 0
    blocks.sweep()
    assert list(arena.blocks(layout.FIRST_ROWS)) == []


def test_first_rows_leave_half_of_the_arena_to_what_is_counted(clock):
    arena = Arena.create(2, 64 << 20)
    blocks = Blocks(arena, clock, KEPT_S)
    words = (4 << 20) // 8
    keys = [layout.first_rows_key("m", number, "c", 0) for number in range(5)]
    made = [blocks.allocate_rows(key, words) for key in keys[:4]]
    with pytest.raises(ArenaFull):
        blocks.allocate_rows(keys[4], words)
    # What has its profile makes room for the next.
    blocks.want(set(), set(made[1:]))
    clock.now += ROWS_KEPT_S
    blocks.sweep()
    assert blocks.allocate_rows(keys[4], words) == made[0]
    blocks.allocate("m", 1)
    arena.close()
