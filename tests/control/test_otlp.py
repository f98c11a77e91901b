"""What a collector gets of a traced request: its span, those of its phases, and whose they are."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway import __version__
from gateway.config import Tracing
from gateway.control.otlp import OtlpExporter, route_of
from gateway.spans import Generation, TracedRequest
from tests.collector import Collector, Kept, collecting
from tests.control.test_tracing import traced

MS = 1_000_000


@pytest.fixture
def collector():
    with collecting() as (running, port):
        running.url = f"http://127.0.0.1:{port}"
        yield running


def export(
    collector: Collector,
    *requests: TracedRequest,
    headers: dict[str, str] | None = None,
    scheme: str = "http",
    **settings: Any,
) -> str | None:
    made = Tracing(endpoint=collector.url, **settings)
    exporter = OtlpExporter(made, headers or {}, scheme)
    try:
        return exporter.export(requests)
    finally:
        exporter.stop()


def made(**changes: Any) -> TracedRequest:
    return {**traced(), **changes}  # type: ignore[typeddict-item]


def only(collector: Collector) -> Kept:
    (kept,) = collector.requests()
    return kept


def test_a_request_is_a_server_span_with_the_ids_it_had(collector):
    request = made(trace_id="4b" * 16, span_id="aa" * 8, parent_id="bb" * 8)
    assert export(collector, request) is None
    kept = only(collector)
    assert (kept.trace_id, kept.span_id, kept.parent_id) == ("4b" * 16, "aa" * 8, "bb" * 8)
    assert (kept.name, kept.span.kind) == ("POST /v2/models/{model}/infer", Span.SPAN_KIND_SERVER)
    end = request["ended_ns"]
    assert (kept.span.start_time_unix_nano, kept.span.end_time_unix_nano) == (end - 4 * MS, end)


def test_a_trace_that_begins_here_has_no_parent(collector):
    export(collector, made())
    assert only(collector).parent_id == ""


def test_phases_lie_inside_their_request_one_after_the_other(collector):
    request = made(ages_ns=[8 * MS, 7 * MS, 5 * MS, 1 * MS])
    export(collector, request)
    own = only(collector)
    phases = [kept for kept in collector.spans if kept is not own]
    assert [kept.name for kept in phases] == ["decode", "queue", "infer", "encode"]
    assert {(kept.trace_id, kept.parent_id) for kept in phases} == {(own.trace_id, own.span_id)}
    assert {kept.span.kind for kept in phases} == {Span.SPAN_KIND_INTERNAL}
    took = [kept.span.end_time_unix_nano - kept.span.start_time_unix_nano for kept in phases]
    assert took == [1 * MS, 2 * MS, 4 * MS, 1 * MS]
    assert len({kept.span_id for kept in collector.spans}) == 5


def test_attributes_follow_the_conventions(collector):
    export(collector, made(key="shop"), scheme="https")
    assert only(collector).attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.request.body.size": 1,
        "http.response.body.size": 2,
        "http.route": "/v2/models/{model}/infer",
        "url.scheme": "https",
        "url.path": "/v2/models/m/infer",
        "client.address": "127.0.0.1",
        "penstock.request_id": "host-0-0",
        "penstock.model.name": "m",
        "penstock.model.version": "1",
        "penstock.key": "shop",
    }


@pytest.mark.parametrize(
    ("status", "code", "state", "kind"),
    [
        pytest.param(200, None, Status.STATUS_CODE_UNSET, None, id="ok"),
        pytest.param(404, "model_not_found", Status.STATUS_CODE_UNSET, None, id="clients-own"),
        pytest.param(503, "queue_full", Status.STATUS_CODE_ERROR, "queue_full", id="refused"),
        pytest.param(500, None, Status.STATUS_CODE_ERROR, "500", id="failed"),
    ],
)
def test_what_went_wrong_here_is_an_error(collector, status, code, state, kind):
    export(collector, made(status=status, code=code))
    kept = only(collector)
    assert kept.span.status.code == state
    assert kept.attributes.get("error.type") == kind
    assert kept.attributes.get("penstock.error.code") == code


@pytest.mark.parametrize(
    ("method", "path", "name", "shown"),
    [
        pytest.param("GET", "/v2", "GET /v2", ("GET", None), id="fixed"),
        pytest.param("GET", "/secret/1234", "GET", ("GET", None), id="no-route"),
        pytest.param("BREW", "/v2", "HTTP /v2", ("_OTHER", "BREW"), id="no-method"),
        pytest.param("", "", "HTTP", ("_OTHER", None), id="no-head"),
    ],
)
def test_spans_have_few_names(collector, method, path, name, shown):
    export(collector, made(method=method, path=path, model="", version=""))
    kept = only(collector)
    told = kept.attributes
    assert kept.name == name
    assert (told["http.request.method"], told.get("http.request.method_original")) == shown


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/models/a%2Fb/versions/12/infer", "/v2/models/{model}/versions/{version}/infer"),
        ("/v2/models/m/versions/1", "/v2/models/{model}/versions/{version}"),
        ("/v2/models/stats", "/v2/models/stats"),
        ("/v2/models/m/other", ""),
        ("/v2/repository/models/a/b/load", "/v2/repository/models/{model}/load"),
        ("/v2/repository/models/a", ""),
        (
            "/openai/deployments/a/b/chat/completions",
            "/openai/deployments/{deployment}/chat/completions",
        ),
        ("/openai/deployments/a/completions", "/openai/deployments/{deployment}/completions"),
        ("/openai/deployments/a/embeddings", "/openai/deployments/{deployment}/embeddings"),
        ("/openai/deployments/a/audio/speech", ""),
    ],
)
def test_a_route_is_one_that_is_served(path, route):
    assert route_of(path) == route


def test_who_sends_it_is_penstock_unless_somebody_says_otherwise(collector, monkeypatch):
    export(collector, made())
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=till,deployment.environment=night")
    export(collector, made())
    export(collector, made(), service_name="shop")
    first, second, third = [kept.resource for kept in collector.spans]
    assert [one["service.name"] for one in (first, second, third)] == ["penstock", "till", "shop"]
    assert (first["service.version"], first["telemetry.sdk.name"]) == (__version__, "opentelemetry")
    assert second["deployment.environment"] == "night"
    assert collector.spans[0].scope == "penstock"


def test_headers_come_from_a_file_and_from_the_environment(collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=ml%20ops")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    assert export(collector, made(), headers={"Authorization": "Bearer canary"}) is None
    assert collector.headers["x-team"] == "ml ops"
    assert collector.headers["authorization"] == "Bearer canary"
    assert collector.headers["content-encoding"] == "gzip"
    assert len(collector.requests()) == 1


def test_a_collector_that_refuses_is_not_asked_again(collector):
    collector.status = 400
    cause = export(collector, made(), timeout_s=5)
    assert cause is not None
    assert "400" in cause
    assert collector.exports == 1


def test_a_collector_that_is_late_is_asked_again(collector):
    collector.status = 503
    collector.then = 200
    assert export(collector, made(), timeout_s=20) is None
    assert (collector.exports, len(collector.requests())) == (2, 1)


def test_a_collector_that_is_away_is_told_of_with_its_cause(collector):
    collector.url = "http://127.0.0.1:9"
    cause = export(collector, made(), timeout_s=2.5)
    assert cause is not None
    assert "127.0.0.1" in cause


class Heard(logging.Handler):
    """What reaches the handlers of a process."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def heard():
    handler = Heard()
    logging.getLogger().addHandler(handler)
    yield handler.messages
    logging.getLogger().removeHandler(handler)


def test_the_library_says_nothing_itself_whatever_it_cannot_read(collector, monkeypatch, heard):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "canary canary")
    collector.status = 400
    assert export(collector, made()) is not None
    assert heard == []
    logging.getLogger("opentelemetry.exporter").error("with no exporter it does")
    assert heard == ["with no exporter it does"]


GENERATION: Generation = {
    "span_id": "00f067aa0ba902b8",
    "operation": "chat",
    "system": "openai",
    "api": "chat_completions",
    "upstream": "east/gpt-4o",
    "address": "api.openai.com",
    "port": 443,
    "request_model": "gpt-4o",
    "service_tier": "flex",
    "response_model": "gpt-4o-2024-08-06",
    "response_id": "chatcmpl-1",
    "fingerprint": "fp_1",
    "served_tier": "default",
    "finish": "stop",
    "stream": True,
    "max_tokens": 50,
    "parameters": {"temperature": 1, "seed": 7, "choice.count": 1, "stop_sequences": ["END"]},
    "tokens": {"input": 30, "output": 0, "cache_read": 20, "cache_write": 0, "reasoning": 0},
    "cost_usd": 0.25,
    "attempts": 2,
    "result": "ok",
    "ages_ns": [3 * MS, 1 * MS, 0],
}


def generated(collector: Collector, settings: dict[str, Any] | None = None, **changes: Any) -> Kept:
    """The span of a generation inside its request's."""
    path = "/v1/chat/completions"
    request = made(path=path, generations=[{**GENERATION, **changes}])
    assert export(collector, request, **(settings or {})) is None
    (own,) = [kept for kept in collector.spans if kept.name == f"POST {path}"]
    (inside,) = [kept for kept in collector.spans if kept is not own]
    assert (inside.trace_id, inside.parent_id) == (own.trace_id, own.span_id)
    return inside


def test_what_a_provider_did_is_a_clients_span_inside(collector):
    found = generated(collector)
    assert (found.name, found.span.kind) == ("chat gpt-4o", Span.SPAN_KIND_CLIENT)
    assert found.span.end_time_unix_nano - found.span.start_time_unix_nano == 3 * MS
    about = found.attributes
    assert about["gen_ai.provider.name"] == "openai"
    assert about["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert about["gen_ai.usage.input_tokens"] == 30
    assert about["gen_ai.usage.output_tokens"] == 0
    assert about["gen_ai.usage.cache_read.input_tokens"] == 20
    assert "gen_ai.usage.reasoning.output_tokens" not in about
    assert about["gen_ai.response.time_to_first_chunk"] == 0.002
    assert about["penstock.cost_usd"] == 0.25
    assert about["gen_ai.request.temperature"] == 1.0
    assert (about["gen_ai.request.seed"], about["gen_ai.request.max_tokens"]) == (7, 50)
    assert "gen_ai.request.choice.count" not in about
    assert not [name for name in about if name.startswith(("llm.", "openinference."))]


def test_of_openais_apis_which_one_and_which_tiers_are_told(collector):
    about = generated(collector).attributes
    assert {name: about[name] for name in about if name.startswith("openai.")} == {
        "openai.api.type": "chat_completions",
        "openai.request.service_tier": "flex",
        "openai.response.service_tier": "default",
        "openai.response.system_fingerprint": "fp_1",
    }


@pytest.mark.parametrize("tier", ["", "auto"])
def test_a_request_that_leaves_its_tier_open_asks_for_none(collector, tier):
    about = generated(collector, service_tier=tier).attributes
    assert "openai.request.service_tier" not in about


def test_of_other_apis_nothing_is_told_as_if_it_were_openais(collector):
    about = generated(collector, api="", fingerprint="").attributes
    assert not [name for name in about if name.startswith("openai.")]


def test_a_providers_span_has_the_id_that_the_provider_was_told(collector):
    assert generated(collector).span_id == "00f067aa0ba902b8"


def test_each_try_is_a_span_of_its_own(collector):
    tries = [
        {**GENERATION, "span_id": f"{n:x}".rjust(16, "a"), "result": result, "attempts": n}
        for n, result in enumerate(("limited", "failed", "ok"), 1)
    ]
    assert export(collector, made(path="/v1/chat/completions", generations=tries)) is None
    found = {kept.span_id: kept for kept in collector.spans}
    each = [found[one["span_id"]] for one in tries]
    assert [one.attributes.get("error.type") for one in each] == ["limited", "failed", None]
    assert [one.span.status.code for one in each] == [
        *(Status.STATUS_CODE_ERROR, Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    ]
    assert len({one.parent_id for one in each}) == 1
    assert len(found) == 4


def test_openinferences_names_are_told_where_they_are_asked_for(collector):
    about = generated(collector, {"openinference": True}).attributes
    assert about["openinference.span.kind"] == "LLM"
    assert about["llm.token_count.prompt"] == 30
    assert json.loads(about["llm.invocation_parameters"])["temperature"] == 1
    assert about["llm.model_name"] == "gpt-4o-2024-08-06"
    assert about["gen_ai.request.model"] == "gpt-4o"


def test_a_generation_that_broke_is_an_error_and_tells_no_tokens_that_nobody_told(collector):
    found = generated(collector, tokens=None, cost_usd=None, result="broken")
    assert found.span.status.code == Status.STATUS_CODE_ERROR
    assert found.attributes["error.type"] == "broken"
    assert not [name for name in found.attributes if name.startswith("gen_ai.usage.")]
