"""What the inference room's calls leave in the counters."""

from __future__ import annotations

import os

import pytest

from gateway.errors import (
    CODES,
    GatewayError,
    InvalidTensor,
    ModelFailed,
    QueueFull,
    UpstreamsExhausted,
)
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.observe import BatchObserver, WorkerObserver
from gateway.monitor.report import find_model, read_model, read_models, read_workers
from gateway.monitor.statistics import statistics
from kernels import histogram


@pytest.fixture
def arena():
    made = Arena.create(2)
    yield made
    made.close()


@pytest.fixture
def offset(arena):
    return arena.allocate(layout.MODEL, layout.model_key("fraud", 3))


@pytest.fixture
def observer(arena, offset):
    return BatchObserver(arena, offset, 0, wall=lambda: 1700.5)


def run(observer, riders=1, rows=1, at=100.0, **more):
    """A batch: decoded in 1 s, queued for 2, put together in 3, run in 4, encoded in 5."""
    observer.counted("idle", rows, riders, rows)
    observer.observed(
        [at] * riders, [at + 1] * riders, at + 3, at + 6, at + 10, at + 15, rows, **more
    )


def model(arena):
    return find_model(arena, "fraud", 3)


def test_a_batch_is_counted_by_result_rows_and_release_reason(arena, observer):
    observer.counted("full", executed_rows=12, ok=3, rows=10, left=1)
    observer.counted("delay", executed_rows=4, ok=1, rows=4)
    counters = model(arena)
    assert counters.results == {"ok": 4, "failed": 0, "refused": 0, "left": 1}
    assert (counters.rows, counters.executions, counters.executed_rows) == (14, 2, 16)
    assert counters.released == {"full": 1, "preferred": 0, "delay": 1, "idle": 0, "drain": 0}


@pytest.mark.parametrize("riders", [1, 32, 256, 257, 3000])
def test_a_batch_of_any_size_is_timed(arena, observer, riders):
    run(observer, riders, rows=riders)
    counters = model(arena)
    second = 10**9 * riders
    assert counters.phase_ns == {
        "decode": second,
        "queue": 2 * second,
        "infer": 7 * second,
        "encode": 5 * second,
        "total": 15 * second,
    }
    assert {name: counts.sum() for name, counts in counters.histograms.items()} == dict.fromkeys(
        counters.phase_ns, riders
    )
    assert counters.riders == riders


def test_workers_are_added_up(arena, offset, observer):
    other = BatchObserver(arena, offset, 1)
    run(observer, rows=2)
    run(other, rows=3)
    run(other, rows=2)
    counters = model(arena)
    assert counters.results["ok"] == 3
    assert [(size.rows, size.batches) for size in counters.sizes] == [(2, 2), (3, 1)]
    assert histogram.quantile(counters.histograms["total"], 0.5) == pytest.approx(15e9, rel=0.01)


def test_a_batch_much_larger_than_the_table_is_found_behind_it(arena, observer):
    run(observer, rows=5000)
    assert [(size.rows, size.batches) for size in model(arena).sizes] == [(1025, 1)]
    assert model(arena).batch_rows == 5000


def test_cost_padding_and_place_are_kept(arena, observer):
    run(observer, cpu_s=0.5, on_loop=True, padded_cells=2, cells=10)
    run(observer, cpu_s=0.25)
    counters = model(arena)
    assert (counters.cpu_ns, counters.loop_runs, counters.thread_runs) == (750_000_000, 1, 1)
    assert (counters.padded_cells, counters.cells, counters.last_ms) == (2, 10, 1_700_500)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        pytest.param(QueueFull("full"), "refused", id="not-now"),
        pytest.param(InvalidTensor("wrong"), "refused", id="not-like-this"),
        pytest.param(ModelFailed("raised"), "failed", id="the-model-raised"),
        pytest.param(GatewayError("bug"), "failed", id="our-fault"),
        pytest.param(UpstreamsExhausted("full"), "refused", id="upstreams-have-all-they-may"),
        pytest.param(
            UpstreamsExhausted("broken", failing=True), "failed", id="upstreams-that-fail"
        ),
    ],
)
def test_an_error_is_counted_under_its_code_and_result(arena, observer, error, result):
    observer.erred(error, seconds=0.5, requests=2)
    counters = model(arena)
    assert counters.results == {"ok": 0, "failed": 0, "refused": 0, "left": 0} | {result: 2}
    assert counters.errors == {error.code: 2}
    assert (counters.fail_ns, counters.fail_timed) == (500_000_000, 2)


def test_every_code_of_the_tree_has_a_place(arena, observer):
    for code in CODES:
        error = GatewayError("x")
        error.code = code
        observer.erred(error)
    assert model(arena).errors == dict.fromkeys(CODES, 1)


def test_a_code_that_is_not_in_the_tree_counts_as_internal(arena, observer):
    class Stranger(GatewayError):
        code = "stranger"

    observer.erred(Stranger("x"))
    assert model(arena).errors == {"internal": 1}


def test_gauges_say_what_is_now(arena, offset, observer):
    other = BatchObserver(arena, offset, 1)
    observer.loaded(0.5)
    other.loaded(0.75)
    observer.waiting(queued_rows=5, queued_requests=2, in_flight=3)
    other.waiting(queued_rows=1, queued_requests=1, in_flight=1)
    counters = model(arena)
    assert (counters.queued_rows, counters.queued_requests, counters.in_flight) == (6, 3, 4)
    assert (counters.loads, counters.loaded_by, counters.load_s) == (2, 2, 0.75)
    other.unloaded()
    assert (model(arena).loaded_by, model(arena).queued_rows) == (1, 5)


def test_a_model_is_held_until_the_last_of_its_contents_is_closed(arena, offset, observer):
    draining, old, new = (BatchObserver(arena, offset, 0) for _ in range(3))
    for one in (draining, old, new):
        one.loaded(0.1)
    new.waiting(queued_rows=5, queued_requests=2, in_flight=3)
    assert model(arena).loaded_by == 1
    new.unloaded()
    old.unloaded()
    # A third content of it still drains: its block is not to be given to another model.
    assert (model(arena).loaded_by, model(arena).in_flight) == (1, 3)
    draining.unloaded()
    assert (model(arena).loaded_by, model(arena).in_flight) == (0, 0)


def test_runs_of_a_part_of_the_graph_and_what_became_of_sessions_for_them_are_counted(
    arena, observer
):
    observer.counted("idle", 1, 1, 1)
    observer.counted("idle", 1, 1, 1, pruned=True)
    for success in (True, False, False):
        observer.built(success)
    counters = model(arena)
    assert (counters.executions, counters.pruned_runs) == (2, 1)
    assert (counters.pruned_built, counters.pruned_refused) == (1, 2)


def test_clients_that_left_and_riders_run_again_are_counted(arena, observer):
    observer.left()
    observer.reran(4)
    assert (model(arena).results["left"], model(arena).reruns) == (1, 4)


def test_a_model_without_traffic_has_counters_and_no_histograms(arena, offset):
    assert model(arena).results["ok"] == 0
    assert model(arena).histograms == {}
    assert model(arena).sizes == ()


def test_reading_takes_no_memory_where_nothing_was_counted(arena, offset):
    model(arena)
    before = os.fstat(arena.fd).st_blocks
    for _ in range(3):
        list(read_models(arena))
    assert os.fstat(arena.fd).st_blocks == before
    assert before * 512 < 64_000


def test_a_model_without_a_block_is_not_found(arena, offset):
    assert find_model(arena, "fraud", 4) is None


@pytest.mark.parametrize("name", ["plain", "with/slash", "模型", "a/1"])
def test_a_name_survives_being_a_key(arena, name):
    arena.allocate(layout.MODEL, layout.model_key(name, 12))
    (block,) = arena.blocks(layout.MODEL)
    counters = read_model(arena, block)
    assert (counters.name, counters.version) == (name, "12")


def test_what_is_no_model_s_is_counted_per_worker(arena):
    first, second = WorkerObserver(arena, 0), WorkerObserver(arena, 1)
    first.slot[layout.ACCEPTED] += 2
    second.slot[layout.OPEN_CONNECTIONS] = 7
    second.refused("uri_too_long")
    first.answered(204)
    first.answered(503)
    first.lagged(0.002)
    first.lagged(0.001)
    one, two = read_workers(arena)
    assert (one.counts["accepted"], two.counts["accepted"]) == (2, 0)
    assert (two.gauges["open_connections"], two.errors) == (7, {"uri_too_long": 1})
    assert one.statuses == {"1xx": 0, "2xx": 1, "3xx": 0, "4xx": 0, "5xx": 1}
    assert (one.gauges["loop_lag_ns"], one.gauges["max_loop_lag_ns"]) == (1_000_000, 2_000_000)


def test_statistics_have_triton_s_fields(arena, observer):
    run(observer, riders=2, rows=3)
    observer.erred(QueueFull("full"), seconds=0.5)
    second = 10**9
    assert statistics(model(arena)) == {
        "name": "fraud",
        "version": "3",
        "last_inference": 1_700_500,
        "inference_count": 3,
        "execution_count": 1,
        "inference_stats": {
            "success": {"count": 2, "ns": 30 * second},
            "fail": {"count": 1, "ns": second // 2},
            "queue": {"count": 2, "ns": 4 * second},
            "compute_input": {"count": 2, "ns": 6 * second},
            "compute_infer": {"count": 2, "ns": 8 * second},
            "compute_output": {"count": 2, "ns": 10 * second},
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": 3,
                "compute_input": {"count": 1, "ns": 3 * second},
                "compute_infer": {"count": 1, "ns": 4 * second},
                "compute_output": {"count": 1, "ns": 5 * second},
            }
        ],
        "memory_usage": [],
    }


def test_what_fails_is_told_of_once_it_is_counted_and_what_is_refused_is_not(arena, offset):
    told = []

    def failing(at: int) -> None:
        told.append((at, model(arena).results["failed"]))

    observer = BatchObserver(arena, offset, 0, failing=failing)
    observer.erred(QueueFull("full"))
    observer.erred(InvalidTensor("no"))
    observer.erred(ModelFailed("broken"))
    observer.erred(GatewayError("internal error"), requests=2)
    assert told == [(offset, 1), (offset, 3)]
