"""Requests by key and version, and when keys were last used, in shared memory."""

from __future__ import annotations

import os

import pytest

from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.keys import OTHER, SWEEP_S, KeyCounts, LastSeen, Use, read_keys

MANY = layout.MAX_KEY_SERIES
NOW = 1_700_000_000.0


@pytest.fixture
def arena():
    made = Arena.create(2)
    for name in ("m/1", "m/2"):
        made.allocate(layout.MODEL, name)
    return made


class Worker:
    """The counts of one worker, with clocks and liveness in a test's hands."""

    def __init__(self, arena, slot=0):
        self.arena = arena
        self.keys = set(range(1, 200_000))
        self.versions = {("", 0), ("m", 1), ("m", 2)}
        self.now, self.wall = 0.0, NOW
        self.counts = KeyCounts(
            arena,
            slot,
            lambda key: key in self.keys,
            lambda: self.versions,
            lambda: self.now,
            lambda: self.wall,
        )

    def use(self, key, model="m", version=1, times=1):
        self.counts.series(key, model, version)[0] += times

    def come(self, version):
        self.versions.add(("m", version))
        return self.arena.allocate(layout.MODEL, f"m/{version}")

    def leave(self, version):
        self.versions.remove(("m", version))
        offset = self.arena.find(layout.MODEL, f"m/{version}")
        assert offset is not None
        self.arena.free(offset)


def requests(arena):
    return {series: use.requests for series, use in read_keys(arena).items()}


def test_workers_counts_add_up(arena):
    for slot in (0, 1):
        worker = Worker(arena, slot)
        worker.use(7)
        worker.use(7, version=2, times=10)
        worker.use(8, times=100)
    assert requests(arena) == {(7, "m", "1"): 2, (7, "m", "2"): 20, (8, "m", "1"): 200}


def test_a_series_is_one_word_however_often_it_is_asked_for(arena):
    worker = Worker(arena)
    for _ in range(3):
        worker.use(7)
    assert requests(arena) == {(7, "m", "1"): 3}


def test_a_successor_in_the_slot_goes_on_counting(arena):
    worker = Worker(arena)
    for key in range(1, MANY + 3):  # into both tables
        worker.use(key)
    arena.claim(0, 1, 2, 3)
    successor = Worker(arena)
    for key in (7, MANY + 2):
        successor.use(key)
    found = requests(arena)
    assert (found[7, "m", "1"], found[OTHER]) == (2, 3)


def test_what_asks_for_no_inference_is_a_series_without_a_model(arena):
    Worker(arena).use(7, "", 0)
    assert requests(arena) == {(7, "", ""): 1}


def test_what_finds_no_room_is_counted_together(arena):
    worker = Worker(arena)
    for key in range(1, MANY + 11):
        worker.use(key)
    found = requests(arena)
    assert (found[OTHER], len(found), found[MANY, "m", "1"]) == (10, MANY + 1, 1)


def test_who_names_a_version_is_counted_apart_and_among_all(arena):
    worker = Worker(arena)
    worker.use(7)
    worker.counts.series(7, "m", 1, True)[0] += 2
    worker.use(7, model="", version=0)
    assert requests(arena) == {(7, "m", "1"): 3, (7, "", ""): 1}
    assert {one: use.requests for one, use in read_keys(arena, named_alone=True).items()} == {
        (7, "m", "1"): 2
    }


def test_versions_that_left_are_not_told(arena):
    worker = Worker(arena)
    worker.use(7)
    worker.leave(1)
    assert read_keys(arena) == {}


def test_a_key_that_outlives_many_versions_keeps_being_told(arena):
    worker = Worker(arena)
    for version in range(10, MANY + 110):
        worker.come(version)
        worker.use(1, version=version)
        worker.now += 1.0
        if version < MANY + 109:
            worker.leave(version)
    assert requests(arena) == {(1, "m", str(MANY + 109)): 1}


def test_entries_of_keys_that_left_are_given_to_others(arena):
    worker = Worker(arena)
    for key in range(1, MANY + 1):
        worker.use(key, times=5)
    worker.counts.mark()
    worker.keys -= set(range(1, 11))
    for key in range(MANY + 1, MANY + 12):
        worker.use(key)
    found = requests(arena)
    assert found[OTHER] == 1
    assert [found[MANY + n, "m", "1"] for n in range(1, 11)] == [1] * 10
    assert (1, "m", "1") not in found
    assert read_keys(arena)[MANY + 1, "m", "1"].seen == 0.0  # not its predecessor's


def test_room_is_looked_for_no_more_often_than_it_may_cost(arena):
    worker = Worker(arena)
    for key in range(1, MANY + 2):  # the last looks for room, and finds none
        worker.use(key)
    worker.keys.remove(1)
    worker.use(MANY + 1)
    assert requests(arena)[OTHER] == 2
    worker.now += SWEEP_S
    worker.use(MANY + 1)
    found = requests(arena)
    assert (found[OTHER], found[MANY + 1, "m", "1"]) == (2, 1)


def test_counts_that_are_told_together_only_grow(arena):
    worker = Worker(arena)
    everybody = MANY + layout.MAX_KEYS
    for key in range(1, everybody + 11):
        worker.use(key)
    assert requests(arena)[OTHER] == layout.MAX_KEYS + 10
    worker.keys -= set(range(MANY + 1, everybody + 1))
    worker.now += SWEEP_S
    worker.use(everybody + 1)
    assert requests(arena)[OTHER] == layout.MAX_KEYS + 11
    # It has an entry now, so that it is known when it was used.
    worker.counts.mark()
    assert everybody + 1 in LastSeen(arena).news()


def test_every_series_says_when_it_was_last_used(arena):
    worker = Worker(arena)
    worker.use(7)
    worker.use(7, version=2)
    assert read_keys(arena)[7, "m", "1"] == Use(1)
    worker.counts.mark()
    worker.wall += 5.0
    worker.use(7, version=2)
    worker.counts.mark()
    worker.wall += 5.0
    worker.counts.mark()
    assert read_keys(arena) == {(7, "m", "1"): Use(1, NOW), (7, "m", "2"): Use(2, NOW + 5.0)}


def test_of_a_hundred_thousand_keys_in_every_worker_it_is_known_which_were_used(arena):
    workers = [Worker(arena, slot) for slot in (0, 1)]
    for worker in workers:
        for key in range(1, 100_001):
            worker.use(key)
        worker.counts.mark()
    seen = LastSeen(arena)
    assert seen.news() == dict.fromkeys(range(1, 100_001), NOW)
    assert seen.news() == {}
    workers[1].wall += 60.0
    for key in (1, 50_000, 100_000):
        workers[1].use(key)
    workers[1].counts.mark()
    assert seen.news() == dict.fromkeys((1, 50_000, 100_000), NOW + 60.0)


def test_a_successor_does_not_take_old_counts_for_new_use(arena):
    worker = Worker(arena)
    worker.use(7)
    worker.counts.mark()
    successor = Worker(arena)
    successor.wall += 60.0
    successor.counts.mark()
    assert LastSeen(arena).news() == {7: NOW}


def test_what_nobody_uses_takes_no_memory(arena):
    before = _resident(arena)
    worker = Worker(arena)
    worker.use(7)
    worker.counts.mark()
    read_keys(arena)
    LastSeen(arena).news()
    assert _resident(arena) - before <= 64 << 10


def _resident(arena):
    return os.fstat(arena.fd).st_blocks * 512
