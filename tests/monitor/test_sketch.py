"""What workers count of live values is what a profile counts of the same ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.sketch import Sketch
from gateway.monitor.slot import Slot
from gateway.profiles.builder import Builder
from gateway.profiles.live import ROWS, Places, block_words, counted, places
from gateway.profiles.plans import plan_frames
from gateway.profiles.values import Profile
from gateway.tensors import Signature, TensorSpec
from kernels import columns
from tests.monitor.watching import JOBS, SIGNATURE, profile_of, rows


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create(2)
    yield made
    made.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


REFERENCE = profile_of(*rows(np.random.default_rng(1), 5000))


def watch(arena: Arena, pool: ThreadPoolExecutor, profile: Profile = REFERENCE, **limits: int):
    offset = arena.allocate(layout.SKETCH, "m/1//all/d", block_words(profile))
    slot = Slot(arena.array(offset, 0), pool, **limits)
    tick = arena.control_row[TICK : TICK + 1]
    return Sketch(counted(profile, SIGNATURE), slot, tick), slot


def bins_of(words: np.ndarray, found: Places, column: int) -> list[int]:
    vector = words[found.counts]
    start = found.specials[column] + 8
    return vector[start : start + found.bins[column]].tolist()


def test_live_rows_of_the_reference_are_counted_into_its_own_counts(arena, pool):
    inputs, outputs = rows(np.random.default_rng(1), 5000)
    watched, slot = watch(arena, pool)
    for start in range(0, 5000, 77):
        part = slice(start, start + 77)
        watched.count([a[part] for a in inputs], [a[part] for a in outputs], len(inputs[0][part]))
    found = places(REFERENCE)
    assert slot.words[found.counts][ROWS] == 5000
    for place, (_, column) in enumerate(REFERENCE.columns()):
        assert bins_of(slot.words, found, place) == column.counts.tolist(), column.name
    assert slot.words[layout.SKETCH_SKIPPED] == 0


def test_what_is_unusual_is_counted_as_what_it_is(arena, pool):
    watched, slot = watch(arena, pool)
    x = np.array([[np.nan, 1e9], [np.inf, -1e9], [-np.inf, 0], [0, 0]], np.float32)
    jobs = np.array([[b"clerk"], [b"pilot"], [None], ["smith"]], object)
    watched.count([x, jobs], [np.array([0, 1, 7, 0]), np.zeros((4, 1), np.float32)], 4)
    assert slot.words[layout.SKETCH_SKIPPED] == 4  # a null has no length
    found = places(REFERENCE)
    vector = slot.words[found.counts]
    names = [column.name for _, column in REFERENCE.columns()]

    def special(name: str, which: int) -> int:
        return int(vector[found.specials[names.index(name)] + which])

    assert [special("age", one) for one in (columns.NAN, columns.POS_INF, columns.NEG_INF)] == [
        1
    ] * 3
    assert (special("income", columns.ABOVE), special("income", columns.BELOW)) == (1, 1)
    assert (special("job", columns.UNSEEN), special("job", columns.NULL)) == (1, 1)
    assert special("label", columns.UNSEEN) == 1
    assert sum(bins_of(slot.words, found, names.index("job"))) == 2


def test_an_output_that_was_not_computed_is_not_counted_and_the_rest_is(arena, pool):
    inputs, outputs = rows(np.random.default_rng(2), 10)
    watched, slot = watch(arena, pool)
    watched.count(inputs, [outputs[0], None], 10)
    found = places(REFERENCE)
    names = [column.name for _, column in REFERENCE.columns()]
    assert sum(bins_of(slot.words, found, names.index("label"))) == 10
    assert sum(bins_of(slot.words, found, names.index("score"))) == 0


def test_a_batch_that_cannot_be_counted_is_skipped_told_once_and_harms_nobody(
    arena, pool, caplog: pytest.LogCaptureFixture
):
    inputs, outputs = rows(np.random.default_rng(3), 4)
    watched, slot = watch(arena, pool)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            watched.count([np.zeros((4, 5), np.float32), inputs[1]], outputs, 4)
    assert len(caplog.records) == 1
    assert slot.words[layout.SKETCH_SKIPPED] == 12
    watched.count(inputs, outputs, 4)
    assert slot.words[places(REFERENCE).counts][ROWS] == 4


async def all_done(pool: ThreadPoolExecutor, batches: int) -> None:
    """Each batch is given to the one thread once the loop has heard of the one before."""
    for _ in range(batches + 1):
        await asyncio.get_running_loop().run_in_executor(pool, int)


@pytest.fixture
def held(pool):
    """The thread is busy with something else until this is set, at the latest when a test ends."""
    busy = Event()
    pool.submit(busy.wait)
    yield busy
    busy.set()


@pytest.mark.anyio
async def test_batches_behind_a_large_one_wait_for_it_and_none_is_lost(arena, pool, held):
    rng = np.random.default_rng(4)
    watched, slot = watch(arena, pool)
    large, small = rows(rng, 40_000), rows(rng, 3)
    watched.count(*large, 40_000)
    for _ in range(50):
        watched.count(*small, 3)
    found = places(REFERENCE)
    assert slot.words[found.counts][ROWS] == 0
    held.set()
    await all_done(pool, 51)
    assert slot.words[found.counts][ROWS] == 40_150
    assert slot.words[layout.SKETCH_SKIPPED] == 0


@pytest.mark.anyio
async def test_what_finds_no_room_in_the_line_is_counted_as_skipped(arena, pool, held):
    watched, slot = watch(arena, pool, max_waiting_bytes=1 << 20)
    large = rows(np.random.default_rng(5), 40_000)
    for _ in range(3):
        watched.count(*large, 40_000)
    held.set()
    await all_done(pool, 3)
    counted_rows = slot.words[places(REFERENCE).counts][ROWS]
    assert (counted_rows, slot.words[layout.SKETCH_SKIPPED]) == (40_000, 80_000)


def test_two_deployments_share_a_slot_and_hold_it_until_both_have_left(arena, pool):
    first, slot = watch(arena, pool)
    second = Sketch(counted(REFERENCE, SIGNATURE), slot, arena.control_row[TICK : TICK + 1])
    first.close()
    assert (slot.used, slot.words[layout.SKETCH_HELD]) == (True, 1)
    second.close()
    assert (slot.used, slot.words[layout.SKETCH_HELD]) == (False, 0)


def test_strings_are_counted_by_name_whatever_they_come_as(arena, pool):
    watched, slot = watch(arena, pool)
    x = np.zeros((3, 2), np.float32)
    for jobs in (JOBS.reshape(3, 1), np.array([["clerk"], ["smith"], ["baker"]], object)):
        watched.count([x, jobs], [np.zeros(3, np.int64), np.zeros((3, 1), np.float32)], 3)
    names = [column.name for _, column in REFERENCE.columns()]
    found = places(REFERENCE)
    assert bins_of(slot.words, found, names.index("job")) == [2, 2, 2]


TABLE = Signature(
    (TensorSpec("X", "FP32", (-1, 2)),), (TensorSpec("probabilities", "FP32", (-1, 3)),), True
)


def classified(rng: np.random.Generator, many: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(many, 2)).astype(np.float32)
    return x, rng.dirichlet(np.full(3, 0.5), many).astype(np.float32)


@pytest.mark.parametrize("how", ["as-it-is", "column-major", "no-scores"])
def test_a_table_and_its_classes_are_counted_the_same_by_one_call_and_one_by_one(arena, pool, how):
    rng = np.random.default_rng(8)
    x, scores = classified(rng, 300)
    inputs, outputs = {"X": x}, {"probabilities": scores}
    with Builder(plan_frames(TABLE, inputs, outputs, {})) as builder:
        builder.add(300, inputs, outputs)
        profile = builder.build()
    offset = arena.allocate(layout.SKETCH, "t/1//all/d", block_words(profile))
    slot = Slot(arena.array(offset, 0), pool)
    tick = arena.control_row[TICK : TICK + 1]
    watched = Sketch(counted(profile, TABLE), slot, tick)
    asked = np.asfortranarray(x) if how == "column-major" else x
    watched.count([asked], [None if how == "no-scores" else scores], 300)
    found = places(profile)
    of_scores = np.array([one.tensor != "X" for one, _ in profile.columns()])
    for place, (_, column) in enumerate(profile.columns()):
        wanted = column.counts.tolist()
        if how == "no-scores" and of_scores[place]:
            wanted = [0] * len(wanted)
        assert bins_of(slot.words, found, place) == wanted, column.name
    assert slot.words[found.counts][ROWS] == 300
    assert slot.words[layout.SKETCH_SKIPPED] == 0
