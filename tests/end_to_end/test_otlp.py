"""Traces of a real server, as a collector gets them, and what becomes of them without one."""

from __future__ import annotations

import json
import signal

import psutil
import pytest

from tests.collector import Collector, Kept, collecting
from tests.end_to_end.guarded import penstock
from tests.end_to_end.server import AS_ROOT, DEMO_MODEL, Answer, RunningServer, eventually

INFER = "/v2/models/breast_cancer/infer"
BEHIND = "/v2/models/breast%5Fcancer/infer"  # the application answers, not the lane
ROW = json.dumps(
    {"inputs": [{"name": "X", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}]}
).encode()
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector():
    with collecting() as (running, port):
        running.url = f"http://127.0.0.1:{port}"
        yield running


def tracing(collector: Collector, more: str = "") -> str:
    return f"tracing: {{endpoint: '{collector.url}'{more}}}"


def ask(
    server: RunningServer, trace: str = "", path: str = INFER, body: bytes = ROW, flags: str = "01"
) -> Answer:
    headers = {"traceparent": f"00-{trace}-{SPAN}-{flags}"} if trace else {}
    return server.request("POST", path, body, headers)


def trace(number: int) -> str:
    return f"{number:032x}"


def whole(collector: Collector, trace: str, spans: int) -> list[Kept]:
    """All spans of a trace, the request's own first."""
    eventually(lambda: len(collector.of(trace)) == spans)
    return sorted(collector.of(trace), key=lambda kept: kept.parent_id != SPAN)


def arrived(collector: Collector, number: int) -> bool:
    return bool(collector.of(trace(number)))


def traced(server: RunningServer, result: str) -> float:
    return server.metric("penstock_traced_requests_total", result=result)


def encoding(server: RunningServer) -> set[int]:
    """The processes that have loaded what spans are encoded with."""
    return {
        process.pid
        for process in server.children()
        if any("/google/_upb/" in one.path for one in process.memory_maps())
    }


def test_a_trace_goes_on_in_the_server_down_to_its_phases(start, collector, tmp_path):
    log = tmp_path / "access.log"
    config = f"{tracing(collector)}\nlog: {{access: all, access_file: {log}}}"
    server = start(DEMO_MODEL, "--workers", "2", config=config)
    for number, path in ((1, INFER), (2, BEHIND)):
        answer = ask(server, trace(number), path)
        own, *phases = whole(collector, trace(number), 5)
        assert answer.headers["traceparent"] == f"00-{own.trace_id}-{own.span_id}-01"
        assert (own.parent_id, own.name) == (SPAN, "POST /v2/models/{model}/infer")
        assert own.attributes["penstock.request_id"] == answer.headers["penstock-request-id"]
        assert own.attributes["penstock.model.version"] == "1"
        assert [kept.name for kept in phases] == ["decode", "queue", "infer", "encode"]
        assert {kept.parent_id for kept in phases} == {own.span_id}
        moments = [own.span.start_time_unix_nano]
        moments += [kept.span.end_time_unix_nano for kept in phases]
        assert moments == sorted(moments)
        assert moments[-1] == own.span.end_time_unix_nano
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert {trace(1), trace(2)} <= {record.get("trace_id") for record in records}


def test_errors_have_spans_too_and_what_is_not_sampled_has_none(start, collector):
    config = tracing(collector, ", sample: 0.0")
    server = start(DEMO_MODEL, "--workers", "1", config=config)
    assert ask(server).status == 200
    assert ask(server, trace(9), flags="00").status == 200
    assert ask(server, trace(1), body=b"{}").status == 400
    assert ask(server, trace(2), path="/v2/models/nosuch/infer").status == 404
    assert ask(server, trace(3)).status == 200
    shown = [
        (one.attributes["http.response.status_code"], one.attributes.get("penstock.error.code"))
        for one in (whole(collector, trace(n), 1 if n < 3 else 5)[0] for n in (1, 2, 3))
    ]
    assert shown == [(400, "malformed_json"), (404, "model_not_found"), (200, None)]
    assert len(collector.requests()) == 3
    eventually(lambda: traced(server, "exported") == 3)


def test_opentelemetrys_variables_are_enough(start, collector):
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20canary",
        "OTEL_SERVICE_NAME": "till",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=night",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }
    server = start(DEMO_MODEL, "--workers", "1", environment=environment)
    ask(server)
    ask(server, trace(1))
    own = whole(collector, trace(1), 5)[0]
    assert collector.requests() == [own]
    assert own.resource["service.name"] == "till"
    assert own.resource["deployment.environment"] == "night"
    assert collector.headers["authorization"] == "Bearer canary"
    told = server.admin("GET", "/api/config/effective").body.decode()
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in told
    assert "canary" not in told + server.log


def test_headers_reach_the_collector_and_nobody_else(start, collector, tmp_path):
    file, home = tmp_path / "headers", tmp_path / "home"
    file.write_text("Authorization: Bearer canary\n")
    config = tracing(collector, f", headers_file: '{file}'")
    server = start(DEMO_MODEL, "--workers", "1", config=config, home=home)
    ask(server, trace(1))
    eventually(lambda: arrived(collector, 1))
    assert collector.headers["authorization"] == "Bearer canary"
    collector.status = 401
    ask(server, trace(2))
    eventually(lambda: traced(server, "failed") == 1)
    shown = [server.log.encode(), server.admin("GET", "/metrics").body]
    shown += [server.admin("GET", "/api/config").body]
    shown += [json.dumps(penstock(home, "audit", "list")).encode()]
    shown += [one.read_bytes() for one in home.rglob("*") if one.is_file()]
    assert [text for text in shown if b"canary" in text] == []


def wait_failed(server: RunningServer, requests: int) -> None:
    eventually(lambda: traced(server, "failed") >= requests)


def test_without_a_collector_everybody_is_answered_and_it_is_told_once(start, collector):
    with collecting() as (_, port):
        away = f"http://127.0.0.1:{port}"
    config = f"tracing: {{endpoint: '{away}', timeout_s: 0.2}}"
    server = start(DEMO_MODEL, "--workers", "1", config=config)
    for number in range(3):
        assert ask(server, trace(number + 1)).status == 200
        wait_failed(server, number + 1)
    assert server.log.count("traces cannot be exported") == 1
    with collecting(port) as (back, _):
        eventually(lambda: ask(server, trace(7)).status == 200 and arrived(back, 7))
    eventually(lambda: "traces are exported again" in server.log)


def test_a_slow_collector_costs_traces_and_no_answer(start, collector):
    collector.gate.clear()
    config = tracing(collector, ", max_queue: 10")
    server = start(DEMO_MODEL, "--workers", "1", config=config)
    assert ask(server, trace(99)).status == 200
    eventually(lambda: collector.exports == 1)  # and it waits there for all that come after it
    for number in range(40):
        assert ask(server, trace(number + 1)).status == 200
    eventually(lambda: traced(server, "dropped") >= 30)
    collector.gate.set()
    eventually(lambda: arrived(collector, 10))
    assert not arrived(collector, 40)
    assert traced(server, "failed") == 0


def test_draining_takes_the_last_traces_along(start, collector):
    server = start(DEMO_MODEL, "--workers", "2", config=tracing(collector))
    for number in range(10):
        ask(server, trace(number + 1))
    assert server.stop() == 0
    assert all(len(collector.of(trace(number + 1))) == 5 for number in range(10))


def test_a_collector_that_hangs_keeps_no_server_from_leaving(start, collector):
    collector.gate.clear()
    server = start(DEMO_MODEL, "--workers", "1", config=tracing(collector))
    ask(server, trace(1))
    eventually(lambda: collector.exports == 1)
    assert server.stop() == 0
    assert "requests were not exported before the end" in server.log


def test_a_new_control_process_goes_on_exporting(start, collector):
    server = start(DEMO_MODEL, "--workers", "1", config=tracing(collector))
    control = server.status()["control"]
    psutil.Process(control).send_signal(signal.SIGKILL)
    ask(server, trace(1))
    eventually(lambda: arrived(collector, 1))


def test_without_the_sdk_the_server_says_what_to_install(start, collector, tmp_path):
    # A package of the same name that holds nothing, before the one that is installed.
    (tmp_path / "path" / "opentelemetry").mkdir(parents=True)
    (tmp_path / "path" / "opentelemetry" / "__init__.py").touch()
    environment = {"PYTHONPATH": str(tmp_path / "path")}
    with pytest.raises(Exception, match=r"tracing\.endpoint.*pip install 'penstock\[otel\]'"):
        start(DEMO_MODEL, config=tracing(collector), environment=environment)
    # Who exports nothing needs none.
    home = tmp_path / "another"
    assert ask(start(DEMO_MODEL, home=home, environment=environment)).status == 200


@AS_ROOT
def test_without_an_endpoint_nothing_is_traced(server: RunningServer, collector: Collector):
    assert ask(server, trace(1)).status == 200
    assert encoding(server) == set()
    assert traced(server, "exported") == traced(server, "dropped") == 0


@AS_ROOT
def test_workers_encode_nothing_themselves(start, collector):
    server = start(DEMO_MODEL, "--workers", "2", config=tracing(collector))
    ask(server, trace(1))
    eventually(lambda: arrived(collector, 1))
    assert encoding(server) == {server.status()["control"]}
