"""Requests by key and version, in shared memory."""

from __future__ import annotations

import pytest

from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.keys import OTHER, KeyCounts, read_keys


@pytest.fixture
def arena():
    made = Arena.create(2)
    for name in ("m/1", "m/2"):
        made.allocate(layout.MODEL, name)
    return made


def test_workers_counts_add_up(arena):
    for worker in (0, 1):
        counts = KeyCounts(arena, worker)
        counts.series(7, "m", 1)[0] += 1
        counts.series(7, "m", 2)[0] += 10
        counts.series(8, "m", 1)[0] += 100
    assert read_keys(arena) == {(7, "m", "1"): 2, (7, "m", "2"): 20, (8, "m", "1"): 200}


def test_a_series_is_one_word_however_often_it_is_asked_for(arena):
    counts = KeyCounts(arena, 0)
    for _ in range(3):
        counts.series(7, "m", 1)[0] += 1
    assert read_keys(arena) == {(7, "m", "1"): 3}


def test_a_successor_in_the_slot_goes_on_counting(arena):
    KeyCounts(arena, 0).series(7, "m", 1)[0] += 1
    arena.claim(0, 1, 2, 3)
    KeyCounts(arena, 0).series(7, "m", 1)[0] += 1
    assert read_keys(arena) == {(7, "m", "1"): 2}


def test_what_finds_no_room_is_counted_together(arena):
    counts = KeyCounts(arena, 0)
    for key in range(1, layout.MAX_KEY_SERIES + 11):
        counts.series(key, "m", 1)[0] += 1
    found = read_keys(arena)
    assert found[OTHER] == 10
    assert len(found) == layout.MAX_KEY_SERIES + 1
    assert found[layout.MAX_KEY_SERIES, "m", "1"] == 1


def test_versions_that_left_are_not_told(arena):
    KeyCounts(arena, 0).series(7, "m", 1)[0] += 1
    offset = arena.find(layout.MODEL, "m/1")
    assert offset is not None
    arena.free(offset)
    assert read_keys(arena) == {}
