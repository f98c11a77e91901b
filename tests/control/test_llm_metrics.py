"""What is told of language models: to scrapers, and through the admin API."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client.exposition import generate_latest as plain_text
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from gateway.config import Config
from gateway.control.llm_metrics import families
from gateway.control.llm_operations import models, upstreams
from gateway.llm import price_map
from gateway.llm.counting import called
from gateway.llm.settings import settings_of
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.upstreams import Health, UpstreamCounter, read_upstreams
from gateway.plan import LLM, Held, Plan, Route

DOCUMENT = {
    "llm": {
        "providers": {
            "openai": {"base_url": "https://api.openai.com/v1"},
            "own": {"base_url": "http://10.0.0.5:8000/v1"},
        },
        "models": {
            "assistant": {
                "upstreams": [
                    {"provider": "openai", "model": "gpt-4o-mini"},
                    {"provider": "own", "model": "llama"},
                ]
            }
        },
    }
}
OPENAI = {
    "model": "assistant",
    "version": "1",
    "provider": "openai",
    "upstream": "openai/gpt-4o-mini",
}
CHAT = OPENAI | {"operation": "chat"}
GEN_AI = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "openai",
    "gen_ai_request_model": "gpt-4o-mini",
    "server_address": "api.openai.com",
    "server_port": "443",
    "model": "assistant",
    "version": "1",
    "upstream": "openai/gpt-4o-mini",
}
CHANGES = {("assistant", 1, "openai/gpt-4o-mini"): 3}


@pytest.fixture
def settings():
    return settings_of(Config.model_validate(DOCUMENT).llm, "assistant", 1, price_map.prices())


@pytest.fixture
def plan(settings):
    held = Held("assistant", 1, "", "", "digest", settings.plain(), {}, 0, kind=LLM)
    return Plan(1, (held,), (Route("assistant", 1, {1: held.id}),))


@pytest.fixture
def arena(settings):
    made = Arena.create(2)
    for one in called("assistant", 1, settings):
        made.allocate(layout.UPSTREAM, one.key)
    yield made
    made.close()


@pytest.fixture
def counters(arena, settings):
    """Of nobody, the paid and the own upstream, in the first worker."""
    keys = [one.key for one in called("assistant", 1, settings)]
    return [UpstreamCounter(arena, arena.find(layout.UPSTREAM, key), 0) for key in keys]


def about(result=0, read=300.0, paid=2e12, streamed=1.0):
    """Asked at once; content after 0.25 s, then four tokens within two seconds more."""
    times = (0.0, 0.0, 0.25, 2.25, 2.25)
    return (result, 1, 1, read, 5.0, 100, 20, 3, paid, 0, streamed, *times)


class Given(Collector):
    def __init__(self, found):
        self.found = found

    def collect(self):
        return self.found


def samples(plan, arena):
    """By name and labels; parsed from the text that a strict reader takes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given(list(families(plan, list(read_upstreams(arena)), CHANGES))))
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(found, name, labels, **more):
    return found[name, frozenset((labels | more).items())]


def test_requests_tokens_and_cost_are_told_with_their_upstream(plan, arena, counters):
    counters[1].observe(0, about(), [0.25, 0.75, 2.25])
    counters[1].observe(0, about(result=3, paid=-1.0), [])
    counters[1].observe(0, about(result=5, read=-1.0), [])
    found = samples(plan, arena)
    assert at(found, "penstock_llm_requests_total", CHAT, result="ok") == 1
    assert at(found, "penstock_llm_requests_total", CHAT, result="broken") == 1
    assert at(found, "penstock_llm_tokens_total", CHAT, type="input") == 600
    assert at(found, "penstock_llm_tokens_total", CHAT, type="cache_read") == 200
    assert at(found, "penstock_llm_cost_usd_total", CHAT) == 2.0
    assert at(found, "penstock_llm_unpriced_answers_total", CHAT) == 1
    assert at(found, "penstock_llm_retries_total", CHAT) == 3
    assert at(found, "penstock_llm_fallbacks_total", CHAT) == 1
    assert at(found, "penstock_llm_gap_seconds_count", CHAT) == 2
    assert at(found, "penstock_llm_first_token_seconds_sum", CHAT) == 0.25
    assert at(found, "penstock_llm_time_per_token_seconds_sum", CHAT) == 0.5


def test_a_request_that_no_upstream_was_asked_for_has_none(plan, arena, counters):
    counters[0].observe(0, about(result=2, read=-1.0), [])
    nobody = CHAT | {"provider": "", "upstream": ""}
    assert at(samples(plan, arena), "penstock_llm_requests_total", nobody, result="failed") == 1


def test_opentelemetry_has_its_names_and_bounds(plan, arena, counters):
    counters[1].observe(0, about(), [])
    found = samples(plan, arena)
    tokens = "gen_ai_client_token_usage_bucket"
    assert at(found, tokens, GEN_AI, gen_ai_token_type="input", le="256.0") == 0
    assert at(found, tokens, GEN_AI, gen_ai_token_type="input", le="1024.0") == 1
    assert at(found, tokens, GEN_AI, gen_ai_token_type="output", le="16.0") == 1
    took = "gen_ai_client_operation_duration_seconds_bucket"
    done = GEN_AI | {"error_type": ""}
    assert [at(found, took, done, le=le) for le in ("1.28", "2.56", "81.92")] == [0, 1, 1]
    first = "gen_ai_server_time_to_first_token_seconds_bucket"
    assert [at(found, first, GEN_AI, le=le) for le in ("0.1", "0.5", "10.0")] == [0, 1, 1]
    pace = "gen_ai_server_time_per_output_token_seconds_bucket"
    assert [at(found, pace, GEN_AI, le=le) for le in ("0.4", "0.75", "+Inf")] == [0, 1, 1]


# As OpenTelemetry's conventions for generative AI advise them.
OF_TOKENS = [4**power for power in range(14)]
OF_OPERATIONS = [0.01 * 2**power for power in range(14)]
OF_FIRST_TOKENS = [*(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1), *(0.25, 0.5, 0.75)]
OF_FIRST_TOKENS += [1, 2.5, 5, 7.5, 10]
OF_TOKENS_AFTER_IT = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("client_token_usage", OF_TOKENS),
        ("client_operation_duration_seconds", OF_OPERATIONS),
        ("client_operation_time_to_first_chunk_seconds", OF_OPERATIONS),
        ("client_operation_time_per_output_chunk_seconds", OF_OPERATIONS),
        ("server_request_duration_seconds", OF_OPERATIONS),
        ("server_time_to_first_token_seconds", OF_FIRST_TOKENS),
        ("server_time_per_output_token_seconds", OF_TOKENS_AFTER_IT),
    ],
)
def test_opentelemetry_has_every_bound_that_it_advises(plan, arena, counters, name, bounds):
    counters[1].observe(0, about(), [0.25, 0.75, 2.25])
    told = {
        float(dict(labels)["le"])
        for (sample, labels) in samples(plan, arena)
        if sample == f"gen_ai_{name}_bucket"
    }
    assert sorted(told) == pytest.approx([*bounds, float("inf")])


@pytest.mark.parametrize("side", ["client_operation", "server_request"])
def test_opentelemetry_tells_how_long_failures_took_apart_from_answers(plan, arena, counters, side):
    for result in (0, 2, 3, 3, 5):
        counters[1].observe(0, about(result=result), [])
    found = samples(plan, arena)
    counted = {
        dict(labels)["error_type"]: value
        for (name, labels), value in found.items()
        if name == f"gen_ai_{side}_duration_seconds_count"
    }
    assert counted == {"": 1, "failed": 1, "broken": 2, "fell_back": 1}


def test_opentelemetry_tells_the_first_chunk_and_each_gap_after_it(plan, arena, counters):
    counters[1].observe(0, about(), [0.25, 0.75, 2.25])
    found = samples(plan, arena)
    first = "gen_ai_client_operation_time_to_first_chunk_seconds"
    assert at(found, f"{first}_sum", GEN_AI) == 0.25
    gap = "gen_ai_client_operation_time_per_output_chunk_seconds"
    assert at(found, f"{gap}_count", GEN_AI) == 2
    assert [at(found, f"{gap}_bucket", GEN_AI, le=le) for le in ("0.32", "0.64", "2.56")] == [
        *(0, 1, 2)
    ]


def test_an_unknown_price_is_seen_before_anybody_asks(plan, arena, counters):
    found = samples(plan, arena)
    assert at(found, "penstock_llm_unpriced", OPENAI) == 0
    own = OPENAI | {"provider": "own", "upstream": "own/llama"}
    assert at(found, "penstock_llm_unpriced", own) == 1
    (line,) = models(plan)
    assert [one["priced"] for one in line["upstreams"]] == [True, False]
    assert line["default"] is True


def test_how_an_upstream_is_and_what_it_did_is_told(plan, arena, counters):
    counters[1].sent(4, 2, 1)
    counters[1].stands(Health("open", 5.0, 1, 0.5, 3, 1, "503"))
    counters[1].observe(0, about(), [0.25])
    found = samples(plan, arena)
    assert at(found, "penstock_llm_attempts_failed_total", OPENAI) == 2
    assert at(found, "penstock_llm_upstream_breakers", OPENAI, state="open") == 1
    assert at(found, "penstock_llm_upstream_changes_total", OPENAI) == 3
    assert at(found, "penstock_llm_upstream_connections", OPENAI, state="busy") == 2
    line, other = upstreams(read_upstreams(arena))
    assert (line["upstream"], line["breaker"], line["trouble"]) == (
        OPENAI["upstream"],
        "open",
        "503",
    )
    assert (line["sent"], line["ok"], line["cost_usd"]) == (4, 1, 2.0)
    assert line["first_token_p50_s"] == pytest.approx(0.25, rel=0.01)
    assert (other["upstream"], other["first_token_p50_s"]) == ("own/llama", None)


def test_without_language_models_there_is_nothing_to_tell():
    assert list(families(Plan(1), [], {})) == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus' own checker is not here")
def test_prometheus_own_checker_has_nothing_to_say(plan, arena, counters):
    counters[1].observe(0, about(), [0.25, 0.75])
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given(list(families(plan, list(read_upstreams(arena)), CHANGES))))
    text = plain_text(registry)
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert check.stdout + check.stderr == b""
