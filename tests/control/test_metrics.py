"""The scraped text: what it says, and that Prometheus' own readers take it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from gateway.control.metrics import Info, Metrics
from gateway.errors import InvalidTensor, ModelFailed, QueueFull
from gateway.monitor import arena as rows
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.observe import BatchObserver, WorkerObserver

INFO = Info(
    version="0.1.0",
    onnxruntime="1.2.3",
    providers=("CPUExecutionProvider",),
    plan=7,
    supervisor=os.getpid(),
    models={"READY": 2},
)
ODD = 'we"ird\\name\nof 模型'
FRAUD = {"model": "fraud", "version": "3"}


@pytest.fixture
def arena():
    """Two workers; one model with traffic on both, one without any, one with an odd name."""
    made = Arena.create(2)
    offset = made.allocate(layout.MODEL, "fraud/3")
    made.allocate(layout.MODEL, "idle/1")
    made.allocate(layout.MODEL, f"{ODD}/1")
    made.claim(0, os.getpid(), 1, now_ns=3 * 10**9)
    made.row(0)[rows.STATE] = rows.READY
    first, second = (BatchObserver(made, offset, worker) for worker in (0, 1))
    first.loaded(0.5)
    for observer in (first, second):
        observer.counted("full", executed_rows=4, ok=2, rows=3, left=1)
        # 1 ms of decoding, 2 of queue, 4 of run, 8 of encoding
        observer.observed(
            [1.0, 1.0],
            [1.001, 1.001],
            1.003,
            1.003,
            1.007,
            1.015,
            4,
            cpu_s=0.25,
            padded_cells=3,
            cells=8,
        )
    first.erred(QueueFull("full"))
    first.erred(InvalidTensor("wrong"))
    second.erred(ModelFailed("raised"))
    second.waiting(queued_rows=6, queued_requests=2, in_flight=3)
    worker = WorkerObserver(made, 1)
    worker.slot[layout.OPEN_CONNECTIONS] = 5
    worker.slot[layout.CUT + layout.CUT_REASONS.index("drain")] = 2
    worker.refused("uri_too_long")
    yield made
    made.close()


@pytest.fixture
def metrics(arena):
    return Metrics(arena, clock_ns=lambda: 5 * 10**9)


def samples(metrics):
    text = metrics.render(INFO)[0].decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics, name, **labels):
    return samples(metrics).get((name, frozenset(labels.items())))


@pytest.mark.parametrize(
    ("name", "labels", "wanted"),
    [
        ("penstock_requests_total", {"result": "ok"}, 4),
        ("penstock_requests_total", {"result": "left"}, 2),
        ("penstock_requests_total", {"result": "refused"}, 2),
        ("penstock_requests_total", {"result": "failed"}, 1),
        ("penstock_rows_total", {}, 6),
        ("penstock_errors_total", {"code": "queue_full"}, 1),
        ("penstock_errors_total", {"code": "invalid_tensor"}, 1),
        ("penstock_refusals_total", {"reason": "queue_full"}, 1),
        ("penstock_refusals_total", {"reason": "invalid_tensor"}, None),
        ("penstock_executions_total", {}, 2),
        ("penstock_executed_rows_total", {}, 8),
        ("penstock_batch_releases_total", {"reason": "full"}, 2),
        ("penstock_run_cpu_seconds_total", {}, 0.5),
        ("penstock_run_seconds_total", {}, 0.008),
        ("penstock_batch_age_seconds_total", {}, 0.004),
        ("penstock_cells_total", {}, 16),
        ("penstock_padded_cells_total", {}, 6),
        ("penstock_runs_total", {"place": "thread"}, 2),
        ("penstock_queue_rows", {}, 6),
        ("penstock_in_flight_requests", {}, 3),
        ("penstock_model_load_seconds", {}, 0.5),
        ("penstock_model_workers", {}, 1),
        ("penstock_batch_rows_bucket", {"le": "2.0"}, 0),
        ("penstock_batch_rows_bucket", {"le": "4.0"}, 2),
        ("penstock_batch_rows_sum", {}, 8),
        ("nv_inference_request_success", {}, 4),
        ("nv_inference_request_failure", {"reason": "REJECTED"}, 1),
        ("nv_inference_request_failure", {"reason": "CANCELED"}, 2),
        ("nv_inference_request_failure", {"reason": "BACKEND"}, 1),
        ("nv_inference_request_failure", {"reason": "OTHER"}, 1),
        ("nv_inference_count", {}, 6),
        ("nv_inference_exec_count", {}, 2),
        ("nv_inference_pending_request_count", {}, 2),
        ("nv_model_load_duration_secs", {}, 0.5),
    ],
)
def test_a_model_s_figure_is_the_sum_over_workers(metrics, name, labels, wanted):
    assert value(metrics, name, **FRAUD, **labels) == wanted


@pytest.mark.parametrize(
    ("phase", "each_s"),
    [("decode", 0.001), ("queue", 0.002), ("infer", 0.004), ("encode", 0.008), ("total", 0.015)],
)
def test_a_phase_is_a_histogram_in_seconds(metrics, phase, each_s):
    found = samples(metrics)
    labels = {**FRAUD, "phase": phase}
    name = "penstock_request_duration_seconds"
    assert found[f"{name}_count", frozenset(labels.items())] == 4
    assert found[f"{name}_sum", frozenset(labels.items())] == pytest.approx(4 * each_s)
    buckets = {
        float(dict(key)["le"]): count
        for (sample, key), count in found.items()
        if sample == f"{name}_bucket" and labels.items() <= dict(key).items()
    }
    assert buckets == {bound: 4.0 if bound >= each_s else 0.0 for bound in buckets}
    assert len(buckets) == 25


def test_triton_s_durations_are_microseconds(metrics):
    assert value(metrics, "nv_inference_request_duration_us", **FRAUD) == pytest.approx(60_000)
    assert value(metrics, "nv_inference_queue_duration_us", **FRAUD) == pytest.approx(8_000, abs=1)


def test_a_model_without_traffic_has_its_series_at_zero(metrics):
    idle = {"model": "idle", "version": "1"}
    assert value(metrics, "penstock_requests_total", result="ok", **idle) == 0
    assert value(metrics, "nv_inference_request_failure", reason="BACKEND", **idle) == 0


def test_a_name_with_quotes_newlines_and_other_scripts_is_one_label_value(metrics):
    assert value(metrics, "penstock_rows_total", model=ODD, version="1") == 0


@pytest.mark.parametrize(
    ("name", "labels", "wanted"),
    [
        ("penstock_worker_up", {"worker": "0"}, 1),
        ("penstock_worker_up", {"worker": "1"}, 0),
        ("penstock_worker_ready", {"worker": "0"}, 1),
        ("penstock_worker_heartbeat_age_seconds", {"worker": "0"}, 2.0),
        ("penstock_connections", {"worker": "1"}, 5),
        ("penstock_http_errors_total", {"worker": "1", "code": "uri_too_long"}, 1),
        ("penstock_connections_cut_total", {"worker": "1", "reason": "drain"}, 2),
        ("penstock_plan_number", {}, 7),
        ("penstock_models", {"state": "READY"}, 2),
        ("penstock_provider_info", {"provider": "CPUExecutionProvider"}, 1),
    ],
)
def test_processes_and_the_gateway_itself_are_reported(metrics, name, labels, wanted):
    assert value(metrics, name, **labels) == wanted


def test_a_process_reports_its_cpu_time_and_memory(metrics):
    assert value(metrics, "penstock_process_cpu_seconds_total", process="worker-0") > 0
    assert value(metrics, "penstock_process_resident_memory_bytes", process="supervisor") > 1e6
    assert value(metrics, "penstock_process_threads", process="worker-1") is None


def test_cpu_utilization_is_a_share(metrics):
    metrics.render(INFO)
    assert 0 <= value(metrics, "nv_cpu_utilization") <= 1


def test_every_metric_has_help(metrics):
    text = metrics.render(INFO)[0].decode()
    families = list(text_string_to_metric_families(text))
    assert [family.name for family in families if not family.documentation] == []
    assert len(families) > 50


def test_rendering_twice_counts_nothing(metrics):
    before = {key: count for key, count in samples(metrics).items() if "_total" in key[0]}
    after = {key: count for key, count in samples(metrics).items() if "_total" in key[0]}
    changing = {"penstock_process_cpu_seconds_total"}
    assert [key for key in before if before[key] != after[key] and key[0] not in changing] == []


def test_plain_text_is_the_default(metrics):
    assert metrics.render(INFO)[1].startswith("text/plain; version=0.0.4")


def test_openmetrics_is_given_to_who_asks_for_it(metrics):
    body, content_type = metrics.render(INFO, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    names = {
        family.name for family in openmetrics_parser.text_string_to_metric_families(body.decode())
    }
    assert {"penstock_requests", "nv_inference_count"} <= names


def promtool(text):
    return subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_our_own_names_pass_promtool(metrics):
    done = promtool(metrics.render(INFO, triton=False)[0])
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_objects_to_nothing_but_the_spelling_of_triton_s_names(metrics):
    done = promtool(metrics.render(INFO)[0])
    complaints = (done.stdout + done.stderr).decode().splitlines()
    assert done.returncode == 3  # it parsed; 1 would be text that it cannot read
    assert {line.split()[0][:3] for line in complaints} == {"nv_"}
    assert {line.split(maxsplit=1)[1] for line in complaints} == {
        "metric names should not contain abbreviated units",
        'non-histogram and non-summary metrics should not have "_count" suffix',
    }
