"""What workers count of each upstream of a language model, and what a reader sees of it."""

from __future__ import annotations

import math

import pytest

from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.upstreams import (
    Called,
    Health,
    UpstreamCounter,
    model_key_of,
    read_key,
    read_upstreams,
)
from kernels import generations

WELL = Health("closed", 0.0, 3, 0.25, 5, 2, "")
EAST = Called("assistant", 2, "east/gpt-4o", "east", "openai", "gpt-4o", "10.0.0.5", 8000)
CHAT, EMBEDDINGS = (layout.OPERATIONS.index(name) for name in ("chat", "embeddings"))


@pytest.fixture
def arena():
    made = Arena.create(2)
    yield made
    made.close()


@pytest.fixture
def counters(arena):
    """Of one upstream, in both workers."""
    offset = arena.allocate(layout.UPSTREAM, EAST.key)
    return [UpstreamCounter(arena, offset, worker) for worker in range(2)]


def about(result=0, read=10.0, written=5.0, paid=1000.0, streamed=0.0):
    return (result, 0, 0, read, written, 0, 0, 0, paid, 0, streamed, 1.0, 1.0, 2.0, 4.0, 4.0)


def only(arena):
    (found,) = read_upstreams(arena)
    return found


@pytest.mark.parametrize(
    "called",
    [EAST, Called("m", 1), Called('odd "name"\n/7', 3, 'a\\"b/,c', "模型")],
    ids=["usual", "nobody", "odd"],
)
def test_the_name_of_a_block_says_whose_it_is(called):
    assert read_key(called.key) == called
    assert model_key_of(called.key) == layout.model_key(called.model, called.version)


def test_what_workers_count_is_added_by_operation(arena, counters):
    for counter in counters:
        counter.observe(CHAT, about(), ())
    counters[0].observe(CHAT, about(result=1), ())
    counters[1].observe(EMBEDDINGS, about(read=700.0, written=0.0), ())
    chat, embeddings = only(arena).generations
    assert (chat.operation, embeddings.operation) == ("chat", "embeddings")
    assert chat.results == dict.fromkeys(generations.RESULTS, 0) | {"ok": 2, "left": 1}
    assert (chat.sums["input"], chat.sums["cost"], embeddings.sums["input"]) == (30, 3000, 700)
    assert chat.time_ns["duration"] == 2 * 3 * 10**9
    assert chat.histograms["duration"].sum() == 2


def test_streams_longer_than_any_before_are_counted_whole(arena, counters):
    stamps = [2.0 + piece / 64 for piece in range(1000)]
    assert counters[0].observe(CHAT, about(streamed=1.0), stamps) == 1 / 64
    assert math.isnan(counters[0].observe(CHAT, about(streamed=1.0), stamps[:1]))
    (chat,) = only(arena).generations
    assert chat.sums["pieces"] == 1001
    assert chat.histograms["gap"].sum() == 999


def test_how_an_upstream_is_stands_with_each_worker_that_asks_it(arena, counters):
    worse = Health("open", 12.5, 0, None, 1, 0, "503 overloaded_error, and " + "x" * 99)
    counters[0].stands(WELL)
    counters[1].stands(worse)
    found = only(arena).workers
    assert found[0] == WELL
    assert found[1].breaker == "open"
    assert found[1].ready_in_s == 12.5
    assert found[1].trouble == worse.trouble[: 8 * layout.TROUBLE_WORDS]


def test_attempts_go_on_through_deployments_and_workers(arena, counters):
    counters[0].sent(5, 2, 1)
    counters[0].sent(7, 2, 1)
    later = UpstreamCounter(arena, arena.find(layout.UPSTREAM, EAST.key), 0)
    later.sent(1, 1, 0)
    found = only(arena)
    assert (found.sent, found.failed, found.limited) == (8, 3, 1)


def test_one_that_nobody_asks_any_more_keeps_its_counts_and_has_no_health(arena, counters):
    counters[0].stands(WELL)
    counters[0].sent(5, 0, 0)
    for counter in counters:
        counter.leave()
    found = only(arena)
    assert found.workers == {}
    assert found.sent == 5


def test_a_worker_that_is_gone_takes_its_health_along_and_leaves_its_counts(arena, counters):
    counters[1].stands(WELL)
    counters[1].sent(5, 0, 0)
    arena.bury(1, 0)
    found = only(arena)
    assert list(found.workers) == [0]
    assert found.sent == 5


def test_requests_that_another_model_was_asked_for_are_those_that_end_so(arena, counters):
    for result in range(len(generations.RESULTS)):
        counters[0].observe(CHAT, about(result=result), ())
    (chat,) = only(arena).generations
    assert chat.sums["fallbacks"] == 2
