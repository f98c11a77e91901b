"""`/metrics` of a server with two workers: what it lists, and that its counts are the clients'."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.end_to_end import zoo
from tests.end_to_end.server import RunningServer, running
from tests.end_to_end.zoo import asked, tensor
from tests.models.builders import linear, save

CONFIG = "models: {slow: {max_batch_size: 1, max_queue_rows: 2}}"
LISTED = {
    "penstock_requests": "counter",
    "penstock_rows": "counter",
    "penstock_errors": "counter",
    "penstock_refusals": "counter",
    "penstock_request_duration_seconds": "histogram",
    "penstock_batch_rows": "histogram",
    "penstock_batch_releases": "counter",
    "penstock_batch_age_seconds": "counter",
    "penstock_padded_cells": "counter",
    "penstock_queue_rows": "gauge",
    "penstock_in_flight_requests": "gauge",
    "penstock_http_errors": "counter",
    "penstock_model_load_seconds": "gauge",
    "penstock_worker_restarts": "counter",
    "penstock_control_restarts": "counter",
    "penstock_run_cpu_seconds": "counter",
    "penstock_pruned_runs": "counter",
    "penstock_pruned_sessions_built": "counter",
    "penstock_pruned_sessions_refused": "counter",
    "penstock_process_cpu_seconds": "counter",
    "penstock_build_info": "gauge",
    "penstock_provider_info": "gauge",
}
TRITONS = {
    "nv_inference_request_success": "unknown",
    "nv_inference_request_failure": "unknown",
    "nv_inference_count": "unknown",
    "nv_inference_exec_count": "unknown",
    "nv_inference_request_duration_us": "unknown",
    "nv_inference_queue_duration_us": "unknown",
    "nv_inference_compute_input_duration_us": "unknown",
    "nv_inference_compute_infer_duration_us": "unknown",
    "nv_inference_compute_output_duration_us": "unknown",
    "nv_inference_pending_request_count": "gauge",
    "nv_model_load_duration_secs": "gauge",
    "nv_cpu_utilization": "gauge",
    "nv_cpu_memory_total_bytes": "gauge",
    "nv_cpu_memory_used_bytes": "gauge",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("metrics")
    for model in (zoo.slow, zoo.sums, zoo.two_paths, linear):
        save(folder / "repository" / model.__name__ / "1", model())
    with running(folder, folder / "repository", "--workers", "2", config=CONFIG) as started:
        yield started


def metrics(server: RunningServer, path: str = "/metrics") -> str:
    return server.admin("GET", path).body.decode()


def samples(server: RunningServer) -> dict[tuple, float]:
    """Every sample by name and labels; no two may share both."""
    found = [
        ((sample.name, *sorted(sample.labels.items())), sample.value)
        for family in read_text(metrics(server))
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def difference(server: RunningServer, before: dict[tuple, float]):
    """How far a metric has come since `before`, over all samples with these labels."""
    after = samples(server)

    def change(name: str, **labels: str) -> float:
        return sum(
            value - before.get(key, 0.0)
            for key, value in after.items()
            if key[0] == name and labels.items() <= dict(key[1:]).items()
        )

    return change


def test_everything_that_is_promised_is_there(server):
    kinds = {family.name: family.type for family in read_text(metrics(server))}
    wanted = LISTED | TRITONS
    assert {name: kinds.get(name) for name in wanted} == wanted


def test_nothing_of_tritons_is_there_where_it_is_not_wanted(server):
    assert "nv_" not in metrics(server, "/metrics?triton=0")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus' own checker is not here")
def test_prometheus_own_checker_finds_nothing(server):
    text = metrics(server, "/metrics?triton=0").encode()
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (check.returncode, check.stdout + check.stderr) == (0, b"")


def test_openmetrics_is_written_where_it_is_asked_for(server):
    answer = server.request(
        "GET",
        "/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
        port=server.admin_port,
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in read_openmetrics(answer.body.decode())}
    assert LISTED.keys() <= names


def test_counts_are_exactly_what_the_clients_saw(server):
    row = tensor("x", [[1, 2, 3, 4]], "FP32")
    requests = {
        "one": ("linear", asked(row)),
        "three": ("linear", asked(tensor("x", np.ones((3, 4)), "FP32"))),
        "refused": ("linear", asked(tensor("x", np.ones((1, 5)), "FP32"))),
        "malformed": ("linear", []),
        "large": ("linear", asked(row, ignored="x" * 50_000)),
        "failing": (
            "two_paths",
            asked(tensor("x", [[1, 2, 3, 4]], "FP32"), tensor("pick", [9], "INT64")),
        ),
        "unknown": ("nosuch", asked(row)),
    }
    before = samples(server)
    plan = [name for name in requests for _ in range(20)]

    def ask(name: str) -> tuple[str, int]:
        model, request = requests[name]
        return name, server.post(f"/v2/models/{model}/infer", request).status

    with ThreadPoolExecutor(8) as clients:
        seen = Counter(clients.map(ask, plan))
    assert seen == {
        ("one", 200): 20, ("three", 200): 20, ("large", 200): 20,
        ("refused", 400): 20, ("malformed", 400): 20,
        ("failing", 500): 20, ("unknown", 404): 20,
    }  # fmt: skip

    change = difference(server, before)
    results = {
        (model, result): change("penstock_requests_total", model=model, result=result)
        for model in ("linear", "two_paths")
        for result in ("ok", "refused", "failed", "left")
    }
    assert {key: value for key, value in results.items() if value} == {
        ("linear", "ok"): 60,
        ("linear", "refused"): 40,
        ("two_paths", "failed"): 20,
    }
    assert change("penstock_rows_total", model="linear") == 100
    assert change("penstock_errors_total", code="invalid_tensor") == 20
    assert change("penstock_errors_total", code="malformed_json") == 20
    assert change("penstock_errors_total", code="model_failed") == 20
    assert change("penstock_http_errors_total", code="model_not_found") == 20
    for phase in ("decode", "queue", "infer", "encode", "total"):
        count = change("penstock_request_duration_seconds_count", model="linear", phase=phase)
        assert count == 60
    assert change("penstock_batch_rows_sum", model="linear") == 100
    runs = change("penstock_batch_rows_count", model="linear")
    assert runs == change("penstock_executions_total", model="linear")
    assert runs == change("penstock_batch_releases_total", model="linear")
    assert runs == change("penstock_runs_total", model="linear")
    assert change("nv_inference_request_success", model="linear") == 60
    assert change("nv_inference_count", model="linear") == 100
    assert change("nv_inference_exec_count", model="linear") == runs
    assert change("nv_inference_request_failure", model="linear", reason="OTHER") == 40
    assert change("nv_inference_request_failure", model="two_paths", reason="BACKEND") == 20


def test_both_workers_have_answered_and_their_statistics_are_one(server):
    before = samples(server)
    (was,) = server.get("/v2/models/sums/stats").json()["model_stats"]
    ones = tensor("INPUT0", np.ones((2, 16), int), "INT32")
    request = asked(ones, {**ones, "name": "INPUT1"})
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda _: server.post("/v2/models/sums/infer", request), range(60)))
    change = difference(server, before)
    for worker in ("0", "1"):
        assert change("penstock_connections_accepted_total", worker=worker) > 0
    # Any worker tells of all of them.
    for _ in range(4):
        (now,) = server.get("/v2/models/sums/stats").json()["model_stats"]
        assert now["inference_count"] - was["inference_count"] == 120
        success = now["inference_stats"]["success"]["count"]
        assert success - was["inference_stats"]["success"]["count"] == 60
    assert change("penstock_requests_total", model="sums", result="ok") == 60


def test_refusals_are_counted_by_reason(server):
    before = samples(server)
    request = asked(tensor("x", [[1]], "FP32"))
    with ThreadPoolExecutor(16) as clients:
        statuses = Counter(
            clients.map(lambda _: server.post("/v2/models/slow/infer", request).status, range(32))
        )
    change = difference(server, before)
    assert statuses[503] > 0
    assert change("penstock_refusals_total", model="slow", reason="queue_full") == statuses[503]
    assert change("penstock_requests_total", model="slow", result="ok") == statuses[200]
    assert change("nv_inference_request_failure", reason="REJECTED") == statuses[503]


def test_gauges_are_plausible(server):
    now = samples(server)

    def values(name: str) -> list[float]:
        return [value for key, value in now.items() if key[0] == name]

    assert len(values("penstock_worker_up")) == 2
    assert values("penstock_worker_ready") == [1, 1]
    assert all(0 < seconds < 60 for seconds in values("penstock_worker_start_seconds"))
    assert all(0 <= age < 5 for age in values("penstock_worker_heartbeat_age_seconds"))
    assert all(0 <= lag < 5 for lag in values("penstock_loop_lag_seconds"))
    assert all(0 < seconds < 60 for seconds in values("penstock_model_load_seconds"))
    assert values("penstock_model_workers") == [2] * 4
    assert values("penstock_process_threads").count(1) >= 1, "the supervisor stays at one thread"
    assert values("penstock_plan_number") == [server.status()["plan"]]


def test_the_bucket_counts_only_grow_with_their_bounds(server):
    histograms: dict[tuple, list[tuple[float, float]]] = {}
    for family in read_text(metrics(server)):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                labels = {k: v for k, v in sample.labels.items() if k != "le"}
                key = (sample.name, json.dumps(labels, sort_keys=True))
                histograms.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
    assert len(histograms) > 10
    for buckets in histograms.values():
        assert buckets == sorted(buckets)
        assert buckets[-1][0] == float("inf")
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)


def test_an_output_that_nobody_asked_for_comes_to_be_left_out_and_its_failures_with_it(server):
    row, astray = tensor("x", [[1, 2, 3, 4]], "FP32"), tensor("pick", [9], "INT64")
    good = asked(row, astray, outputs=[{"name": "good"}])
    before = samples(server)
    # The first of each worker runs the whole graph, and fails with the path that it did not want.
    for _ in range(1000):
        answer = server.post("/v2/models/two_paths/infer", good)
        if answer.status == 200:
            break
    assert answer.json()["outputs"][0]["data"] == [1, 2, 3, 4]
    change = difference(server, before)
    assert change("penstock_pruned_runs_total", model="two_paths") == 1
    assert change("penstock_pruned_sessions_built_total", model="two_paths") >= 1
    assert server.post("/v2/models/two_paths/infer", asked(row, astray)).status == 500
