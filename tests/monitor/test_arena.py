"""The arena: rows, blocks, and what stays when a process goes."""

from __future__ import annotations

import mmap
import os

import pytest

from gateway.errors import ArenaFull, GatewayError
from gateway.monitor import arena as rows
from gateway.monitor import layout
from gateway.monitor.arena import Arena, size_for
from gateway.monitor.directory import MAX_NAME_BYTES, Block

CUSTOM = 77  # a kind of block that no layout describes


@pytest.fixture
def arena():
    made = Arena.create(3)
    yield made
    made.close()


def held_bytes(arena):
    return os.fstat(arena.fd).st_blocks * 512


def test_reserving_a_gigabyte_takes_next_to_none(arena):
    assert os.fstat(arena.fd).st_size == 1 << 30
    assert held_bytes(arena) < 200_000


def test_another_process_that_maps_the_file_sees_the_same(arena):
    offset = arena.allocate(layout.MODEL, "m/1")
    arena.slot(offset, 2)[layout.OK] += 5
    other = Arena(arena.fd)
    assert other.find(layout.MODEL, "m/1") == offset
    assert other.array(offset, 2)[layout.OK] == 5
    assert (other.boot_id, other.workers) == (arena.boot_id, 3)


def test_a_file_that_is_no_arena_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    with path.open("r+b") as file, pytest.raises(GatewayError, match="magic, layout and bytes"):
        Arena(file.fileno())


def test_an_arena_too_small_for_its_directory_is_refused():
    with pytest.raises(GatewayError, match=r"at least one worker and \d+ bytes, got 2 and 4096"):
        Arena.create(2, 4096)


def slots(arena, offset):
    return arena.slots(next(block for block in arena.blocks() if block.offset == offset))


# -- blocks --------------------------------------------------------------------------------------


def test_slot_array_and_slots_are_the_same_words(arena):
    offset = arena.allocate(CUSTOM, "block", words=600)
    arena.slot(offset, 1)[599] = 4
    arena.array(offset, 1)[0] = 3
    assert slots(arena, offset)[:, [0, 599]].tolist() == [[0, 0], [3, 4], [0, 0]]
    assert slots(arena, offset).shape == (3, 600)


def test_allocating_a_name_twice_gives_the_same_block(arena):
    first = arena.allocate(layout.MODEL, "m/1")
    arena.slot(first, 0)[layout.OK] = 7
    assert arena.allocate(layout.MODEL, "m/1") == first
    assert arena.slot(first, 0)[layout.OK] == 7


def test_the_same_name_of_another_kind_is_another_block(arena):
    assert arena.allocate(layout.MODEL, "m/1") != arena.allocate(CUSTOM, "m/1", words=8)


def test_blocks_do_not_overlap(arena):
    offsets = [arena.allocate(CUSTOM, str(n), words=n) for n in (1, 512, 513, 2000)]
    for value, offset in enumerate(offsets, 1):
        slots(arena, offset)[:] = value
    assert [set(slots(arena, offset).ravel().tolist()) for offset in offsets] == [
        {1},
        {2},
        {3},
        {4},
    ]


def test_blocks_are_listed_with_names_in_any_script(arena):
    offset = arena.allocate(layout.MODEL, "模型/é/3")
    assert list(arena.blocks(layout.MODEL)) == [
        Block(layout.MODEL, "模型/é/3", offset, layout.MODEL_WORDS)
    ]
    assert [block.kind for block in arena.blocks()] == [
        layout.WORKER,
        layout.KEYS,
        layout.MODEL,
    ]


def test_a_freed_block_gives_its_memory_back_and_is_gone(arena):
    offset = arena.allocate(CUSTOM, "big", words=100_000)
    slots(arena, offset)[:] = 1
    before = held_bytes(arena)
    arena.free(offset)
    assert before - held_bytes(arena) >= 3 * 100_000 * 8
    assert arena.find(CUSTOM, "big") is None
    with pytest.raises(ValueError, match="offset of a block"):
        arena.slot(offset, 0)


def test_a_reader_that_still_holds_a_freed_block_reads_zeros_instead_of_failing(arena):
    offset = arena.allocate(layout.MODEL, "m/1")
    (block,) = arena.blocks(layout.MODEL)
    arena.slot(offset, 0)[layout.OK] = 3
    arena.free(offset)
    assert not arena.slots(block).any()


def test_a_freed_place_is_taken_again_and_zero_even_after_a_late_writer(arena):
    offset = arena.allocate(layout.MODEL, "old/1")
    late = arena.slot(offset, 0)
    arena.free(offset)
    late[layout.OK] += 1
    assert arena.allocate(layout.MODEL, "new/1") == offset
    assert not slots(arena, offset).any()


def test_a_thousand_updates_take_no_more_room_than_one(arena):
    offsets = set()
    for version in range(1000):
        offset = arena.allocate(layout.MODEL, f"m/{version}")
        offsets.add(offset)
        arena.free(offset)
    assert len(offsets) == 1


def test_a_new_control_process_goes_on_where_the_old_one_stopped(arena):
    kept = arena.allocate(layout.MODEL, "kept/1")
    freed = arena.allocate(layout.MODEL, "freed/1")
    arena.free(freed)
    heir = Arena(arena.fd)
    assert heir.allocate(layout.MODEL, "kept/1") == kept
    assert heir.allocate(layout.MODEL, "a/1") == freed
    assert heir.allocate(layout.MODEL, "b/1") not in (kept, freed)


def test_an_entry_that_is_not_whole_is_not_believed(arena):
    arena.allocate(layout.MODEL, "half-written/1")
    with mmap.mmap(arena.fd, 0) as memory:
        memory[memory.find(b"half-written/1")] ^= 1
    assert list(arena.blocks(layout.MODEL)) == []
    assert arena.find(layout.MODEL, "half-written/1") is None


def test_a_full_arena_says_what_it_lacks():
    arena = Arena.create(1, 14 << 20)
    with pytest.raises(ArenaFull, match=r"block 'big': needs 8003584 bytes, \d+ are left"):
        arena.allocate(CUSTOM, "big", words=1_000_000)
    arena.allocate(CUSTOM, "small", words=10)
    arena.close()


def test_a_name_that_is_too_long_is_refused(arena):
    with pytest.raises(GatewayError, match=f"at most {MAX_NAME_BYTES} bytes, got 897"):
        arena.allocate(layout.MODEL, "x" * 897)
    assert list(arena.blocks(layout.MODEL)) == []


def test_the_suggested_size_holds_every_model_twice():
    arena = Arena.create(16, size_for(16, 200))
    for number in range(400):
        arena.allocate(layout.MODEL, f"m{number}/1")
    assert held_bytes(arena) < 1 << 20
    arena.close()


# -- slots and their processes -------------------------------------------------------------------


def test_a_claimed_slot_keeps_its_counts_and_loses_its_gauges(arena):
    offset = arena.allocate(layout.MODEL, "m/1")
    slot, worker = arena.slot(offset, 1), arena.slot(arena.worker_block, 1)
    slot[layout.OK] = slot[layout.QUEUED_ROWS] = slot[layout.IN_FLIGHT] = 4
    worker[layout.ACCEPTED] = worker[layout.OPEN_CONNECTIONS] = 5
    arena.claim(1, pid=123, epoch=2, now_ns=99)
    assert [slot[layout.OK], slot[layout.QUEUED_ROWS], slot[layout.IN_FLIGHT]] == [4, 0, 0]
    assert [worker[layout.ACCEPTED], worker[layout.OPEN_CONNECTIONS]] == [5, 0]
    row = arena.row(1)
    assert [row[rows.PID], row[rows.EPOCH], row[rows.STATE]] == [123, 2, rows.STARTING]


def test_a_neighbour_s_gauges_stay(arena):
    offset = arena.allocate(layout.MODEL, "m/1")
    arena.slot(offset, 0)[layout.QUEUED_ROWS] = 4
    arena.claim(1, pid=123, epoch=2, now_ns=99)
    assert arena.slot(offset, 0)[layout.QUEUED_ROWS] == 4


def test_a_buried_worker_leaves_its_exit_status_and_no_gauges(arena):
    arena.claim(0, pid=123, epoch=1, now_ns=5)
    row = arena.row(0)
    row[rows.STATE], row[rows.CONNECTIONS], row[rows.RESTARTS] = rows.READY, 9, 3
    arena.bury(0, 9)
    assert [row[rows.PID], row[rows.STATE], row[rows.CONNECTIONS]] == [0, rows.DEAD, 0]
    assert [row[rows.EXIT_STATUS], row[rows.RESTARTS], row[rows.EPOCH]] == [9, 3, 1]


def test_what_a_dead_worker_was_running_can_be_asked(arena):
    row = arena.row(2)
    row[rows.RUNNING], row[rows.RUNNING + 3] = 8192, 4096
    assert arena.running(2) == [4096, 8192]
    assert arena.running(0) == []


def test_control_has_a_row_of_its_own(arena):
    arena.control_row[rows.RESTARTS] = 2
    assert [arena.row(worker)[rows.RESTARTS] for worker in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("worker", [-1, 3])
def test_a_slot_that_does_not_exist_is_refused(arena, worker):
    with pytest.raises(ValueError, match="worker of 0 to 2"):
        arena.row(worker)
    with pytest.raises(ValueError, match="worker of 0 to 2"):
        arena.slot(arena.worker_block, worker)
