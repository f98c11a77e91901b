"""What `/metrics` says of language models: names, labels and units.

Knows what was counted of upstreams, and plans. Knows nothing of how it was counted. Label values
are bounded by the plan and by versions that left a while ago: nothing that a client or a provider
says becomes one.

Beside `penstock_llm_*` stand OpenTelemetry's names for generative AI, with its buckets, as its
exporters for Prometheus write them. Its bounds of time are no bounds of ours: there the bucket that
holds a bound counts as above it, which is 1.6 % of the bound at the most.

Source: OpenTelemetry semantic conventions 1.41, gen-ai metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.control.llm_reports import Key
from gateway.llm.counting import called
from gateway.llm.settings import read
from gateway.monitor.directory import Words
from gateway.monitor.upstreams import BREAKERS, Generations, Health, UpstreamCounts
from gateway.plan import LLM, Plan
from kernels import generations, histogram

LABELS: Final = ["model", "version", "provider", "upstream"]
_OF_OPERATION: Final = [*LABELS, "operation"]
_PICO: Final = 1e12
_BOUNDS: Final = [repr(ns / 1e9) for ns in histogram.CLASSIC_BOUNDS_NS] + ["+Inf"]
_TOKENS: Final = {
    "input": "input",
    "output": "output",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "reasoning": "reasoning",
}
_COUNTERS: Final = (
    ("retries", "retries", "Requests that were sent again because an upstream failed them."),
    ("fallbacks", "fallbacks", "Requests that another model was asked for in its place."),
    ("unpriced_answers", "unpriced", "Requests that somebody worked for at an unknown price."),
    ("estimated_usages", "estimated", "Requests whose tokens nobody told: they are estimated."),
    ("stream_pieces", "pieces", "Pieces of streamed answers, as they came."),
)
_TIMES: Final = (
    ("duration", "duration", "From the first byte of a request to the last of its answer."),
    ("first_token", "first_token", "From asking an upstream to the first content of a stream."),
    ("gap", "gap", "Between two pieces of a stream."),
    ("time_per_token", "per_token", "Of a stream past its first content, for each further token."),
    (
        "overhead",
        "overhead",
        "What the gateway took: until an upstream was asked, reading the request included, and from"
        " the last byte of the answer to the last that the client got.",
    ),
)

_GEN_AI: Final = [
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "server_address",
    "server_port",
    *("model", "version", "upstream"),
]
_TOKEN_BOUNDS: Final = [*(str(4.0**power) for power in range(generations.TOKEN_WIDTH - 1)), "+Inf"]
_DURATION_BOUNDS: Final = tuple(0.01 * 2**power for power in range(14))
_OPERATIONS: Final = (
    ("gen_ai_client_operation_duration_seconds", "GenAI operation duration."),
    (
        "gen_ai_server_request_duration_seconds",
        "Generative AI server request duration such as time-to-last byte or last output token.",
    ),
)
"""The gateway is a client of who generates, and for its own clients a server that does."""
_GEN_AI_TIMES: Final = (
    (
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "first_token",
        "Time to receive the first chunk, measured from when the client issues the request.",
        _DURATION_BOUNDS,
    ),
    (
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "gap",
        "Time per output chunk, recorded for each chunk received after the first one.",
        _DURATION_BOUNDS,
    ),
    (
        "gen_ai_server_time_to_first_token_seconds",
        "first_token",
        "Time to generate first token for successful responses.",
        (
            0.001,
            0.005,
            0.01,
            0.02,
            0.04,
            0.06,
            0.08,
            0.1,
            0.25,
            0.5,
            0.75,
            1.0,
            2.5,
            5.0,
            7.5,
            10.0,
        ),
    ),
    (
        "gen_ai_server_time_per_output_token_seconds",
        "per_token",
        "Time per output token generated after the first token for successful responses.",
        (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    ),
)


def families(
    plan: Plan, found: Sequence[UpstreamCounts], changes: Mapping[Key, int]
) -> Iterator[Metric]:
    """All metrics of all upstreams; none where there is no language model.

    Args:
        plan: the newest.
        found: what was counted.
        changes: of what upstreams say of themselves.
    """
    if not found:
        return
    each = [(one, of) for one in found for of in one.generations]
    yield from _requests(each)
    asked = [one for one in found if one.called.upstream]
    yield from _health(asked)
    yield _changed(asked, changes)
    yield _unpriced(plan)
    yield from _gen_ai([(one, of) for one, of in each if one.called.asked])


Each = Sequence[tuple[UpstreamCounts, Generations]]


def _labels(one: UpstreamCounts) -> tuple[str, str, str, str]:
    called = one.called
    return called.model, str(called.version), called.provider, called.upstream


def _requests(each: Each) -> Iterator[Metric]:
    text = (
        "Requests by result: ok, left (the client went first), failed, broken (in mid-stream),"
        " filtered (held back; another model was asked), fell_back (another model was asked)."
    )
    requests = _counter("requests", text, [*_OF_OPERATION, "result"])
    text = "Tokens of answers; cache_read and cache_write are of input, reasoning is of output."
    tokens = _counter("tokens", text, [*_OF_OPERATION, "type"])
    cost = _counter("cost_usd", "What answers have cost, where that is known.", _OF_OPERATION)
    others = [(_counter(name, text, _OF_OPERATION), key) for name, key, text in _COUNTERS]
    times = [
        (HistogramMetricFamily(f"penstock_llm_{name}_seconds", text, labels=_OF_OPERATION), key)
        for name, key, text in _TIMES
    ]
    for one, of in each:
        labels = (*_labels(one), of.operation)
        for result, count in of.results.items():
            requests.add_metric((*labels, result), count)
        for kind, key in _TOKENS.items():
            tokens.add_metric((*labels, kind), of.sums[key])
        cost.add_metric(labels, of.sums["cost"] / _PICO)
        for family, key in others:
            family.add_metric(labels, of.sums[key])
        for timed, key in times:
            buckets = list(zip(_BOUNDS, histogram.classic(of.histograms[key]), strict=True))
            timed.add_metric(labels, buckets, of.time_ns[key] / 1e9)
    yield from (requests, tokens, cost, *(family for family, _ in others))
    yield from (family for family, _ in times)


def _health(found: Sequence[UpstreamCounts]) -> Iterator[Metric]:
    attempts = _counter("attempts", "Requests sent to an upstream, repeated ones too.", LABELS)
    failed = _counter("attempts_failed", "Of them, those that it failed.", LABELS)
    limited = _counter("attempts_limited", "Of them, those that it took no more for.", LABELS)
    breakers = GaugeMetricFamily(
        "penstock_llm_upstream_breakers",
        "Workers whose breaker of an upstream is in this state; only closed ones let all pass.",
        labels=[*LABELS, "state"],
    )
    links = GaugeMetricFamily(
        "penstock_llm_upstream_connections",
        "Connections to an upstream's provider, those for its other upstreams included.",
        labels=[*LABELS, "state"],
    )
    flying = GaugeMetricFamily(
        "penstock_llm_upstream_in_flight_requests",
        "Requests that an upstream has not answered yet.",
        labels=LABELS,
    )
    slow = GaugeMetricFamily(
        "penstock_llm_upstream_first_byte_seconds",
        "How long answers take to begin where that takes longest; slow ones weigh more.",
        labels=LABELS,
    )
    for one in found:
        labels, workers = _labels(one), list(one.workers.values())
        attempts.add_metric(labels, one.sent)
        failed.add_metric(labels, one.failed)
        limited.add_metric(labels, one.limited)
        for state in BREAKERS:
            breakers.add_metric((*labels, state), sum(w.breaker == state for w in workers))
        links.add_metric((*labels, "busy"), _sum(workers, lambda w: w.connections - w.idle))
        links.add_metric((*labels, "idle"), _sum(workers, lambda w: w.idle))
        flying.add_metric(labels, _sum(workers, lambda w: w.in_flight))
        known = [w.first_byte_s for w in workers if w.first_byte_s is not None]
        if known:
            slow.add_metric(labels, max(known))
    yield from (attempts, failed, limited, breakers, links, flying, slow)


def _changed(found: Sequence[UpstreamCounts], changes: Mapping[Key, int]) -> Metric:
    text = "Times that an upstream said that another model answers, or that other software runs it."
    family = _counter("upstream_changes", text, LABELS)
    for one in found:
        key = one.called.model, one.called.version, one.called.upstream
        family.add_metric(_labels(one), changes.get(key, 0))
    return family


def _sum(workers: Sequence[Health], value: Callable[[Health], int]) -> int:
    return sum(map(value, workers))


def _unpriced(plan: Plan) -> Metric:
    text = "1 where nobody knows what an upstream charges: its answers cost nothing here."
    family = GaugeMetricFamily("penstock_llm_unpriced", text, labels=LABELS)
    for held in plan.held:
        if held.kind != LLM:
            continue
        settings = read(held.settings)
        for one in called(held.name, held.version, settings):
            if one.upstream:
                labels = one.model, str(one.version), one.provider, one.upstream
                family.add_metric(labels, float(one.upstream not in settings.prices))
    return family


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"penstock_llm_{name}", text, labels=labels)


# ---- OpenTelemetry's names ----------------------------------------------------------------------


def _gen_ai(each: Each) -> Iterator[Metric]:
    text = "Number of input and output tokens used."
    labels = [*_GEN_AI, "gen_ai_token_type"]
    tokens = HistogramMetricFamily("gen_ai_client_token_usage", text, labels=labels)
    times = [
        (HistogramMetricFamily(name, text, labels=_GEN_AI), key, bounds)
        for name, key, text, bounds in _GEN_AI_TIMES
    ]
    operations = [
        HistogramMetricFamily(name, text, labels=[*_GEN_AI, "error_type"])
        for name, text in _OPERATIONS
    ]
    for one, of in each:
        called = one.called
        who = called.system, called.asked, called.address, str(called.port)
        about = (of.operation, *who, called.model, str(called.version), called.upstream)
        for kind, counts in zip(("input", "output"), of.tokens, strict=True):
            upto = list(zip(_TOKEN_BOUNDS, np.cumsum(counts).tolist(), strict=True))
            tokens.add_metric((*about, kind), upto, of.sums[kind])
        for family, key, bounds in times:
            buckets = _upto(of.histograms[key], bounds)
            family.add_metric(about, buckets, of.time_ns[key] / 1e9)
        # Of what never happened there is no series, but of success.
        for key in ("duration", *(key for key in generations.FAILURES if of.results[key])):
            buckets = _upto(of.histograms[key], _DURATION_BOUNDS)
            for family in operations:
                error = "" if key == "duration" else key
                family.add_metric((*about, error), buckets, of.time_ns[key] / 1e9)
    yield tokens
    yield from operations
    yield from (family for family, _, _ in times)


def _upto(counts: Words, bounds: Sequence[float]) -> list[tuple[str, float]]:
    """How many are surely not above each bound, and how many there are."""
    upto = np.cumsum(counts)
    found = []
    for bound in bounds:
        ns = round(bound * 1e9)
        bucket = histogram.index(ns)
        whole = histogram.upper_bound(bucket) <= ns
        found.append((repr(bound), float(upto[bucket if whole else bucket - 1])))
    return [*found, ("+Inf", float(upto[-1]))]
