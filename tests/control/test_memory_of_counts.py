"""What a hundred features take: in each worker's memory, in control's, and by which formula."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gateway.control.drift import Drift
from gateway.control.sketches import Series
from gateway.drift.history import TIERS, History
from gateway.drift.panes import MOMENTS, no_moments
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.directory import PAGE
from gateway.profiles.live import ROWS, block_words, places
from gateway.profiles.values import BINS
from kernels.columns import COLUMN_HEAD, SLOT_HEAD, UNSEEN
from tests.profiles.test_builder import profile_of

FEATURES = 100
SPECIALS = UNSEEN + 1
DAY_S = 86_400
NOON = 1_800_000_000 // DAY_S * DAY_S + DAY_S // 2
LARGE = 1 << 33
"""A count that takes eight bytes wherever it stands."""


@pytest.fixture(scope="module")
def profile():
    names = [f"feature {n}" for n in range(FEATURES)]
    rows = np.random.default_rng(1).normal(size=(5000, FEATURES)).astype(np.float32)
    made = profile_of(rows, names=names)
    assert all(column.bins == BINS for _, column in made.columns())
    return made


def full_history(words: int, columns: int) -> History:
    """A month of history, none of whose panes is missing, of counts as large as can be."""
    made = History(words, columns)
    busy, nothing = np.full(words, LARGE), no_moments(columns)
    whole_s, fine_s = 33 * DAY_S, 4 * 3600
    for second in (*range(0, whole_s, 600), *range(whole_s, whole_s + fine_s, 10)):
        made.add(NOON + second, busy, nothing)
        made.closed.clear()
    for tier in TIERS:
        assert len(made.recent(tier.length_s)) >= tier.kept - 1
    return made


def watched(profile, found, history: History) -> Drift:
    """Everything that control keeps of it, once it has looked."""
    nothing = np.zeros(found.words, np.int64)
    latest = nothing.copy()
    latest[ROWS] = 1
    series = Series(layout.sketch_key("m", 1, "d"), profile, found, history, nothing, latest)
    made = Drift(lambda: (series,))
    made.look()
    return made


def test_a_hundred_features_take_64_kb_of_the_arena_for_each_worker(profile):
    slot = block_words(profile) * 8
    a_column = 8 * -(-(COLUMN_HEAD + BINS) // 8) * 8
    assert (a_column, slot) == (640, SLOT_HEAD * 8 + FEATURES * a_column)
    workers = 4
    arena = Arena.create(workers)
    first = arena.allocate(layout.SKETCH, "a", block_words(profile))
    second = arena.allocate(layout.SKETCH, "b", block_words(profile))
    arena.close()
    taken = (second - first) / workers
    assert slot <= taken <= slot + PAGE
    assert taken <= 1 << 20


def test_a_hundred_features_take_less_than_16_mb_of_controls_memory_however_large_counts_are(
    profile,
):
    found = places(profile)
    watched(profile, found, History(found.words, found.columns))  # compiles what is not kept
    tracemalloc.start()
    try:
        history = full_history(found.words, found.columns)
        drift = watched(profile, found, history)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    a_pane = 8 * (SPECIALS + BINS) + 8 * MOMENTS
    panes = sum(tier.kept for tier in TIERS) + len(TIERS) + 1
    assert history.nbytes <= panes * (FEATURES * a_pane + 8 * 3)
    assert drift.watched() == {("m", 1)}
    assert taken <= 16 << 20


def test_of_usual_counts_history_takes_a_third(profile):
    found = places(profile)
    made, nothing = History(found.words, found.columns), no_moments(found.columns)
    busy = np.random.default_rng(2).poisson(1000, found.words)
    for second in range(0, 33 * DAY_S, 600):
        made.add(NOON + second, busy, nothing)
        made.closed.clear()
    assert made.nbytes <= 6 << 20
