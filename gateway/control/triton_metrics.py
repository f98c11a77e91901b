"""Triton's metric names, so that dashboards and autoscalers written for it go on working.

Knows Triton's names, labels and units (microseconds, no `_total`). Knows nothing of the arena.

What counts up is exposed without a type: the client library gives every counter the suffix that
these names must not have. `rate()` does not ask for a type. Triton's caches, GPUs and summaries
have no counterpart here and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric, UnknownMetricFamily

from gateway.control.procfs import Machine, machine
from gateway.errors import GatewayError, ModelFailed, Unavailable
from gateway.monitor.report import ModelCounters

_LABELS: Final = ["model", "version"]
_REASONS: Final = ("REJECTED", "CANCELED", "BACKEND", "OTHER")

Value = Callable[[ModelCounters], float]

_COUNTERS: Final[tuple[tuple[str, str, Value], ...]] = (
    ("request_success", "Requests that went well.", lambda m: m.results["ok"]),
    ("count", "Rows of requests that went well.", lambda m: m.rows),
    ("exec_count", "Runs that went well.", lambda m: m.executions),
    (
        "request_duration_us",
        "Time of requests that went well.",
        lambda m: m.phase_ns["total"] // 1000,
    ),
    ("queue_duration_us", "Time they waited for a run.", lambda m: m.phase_ns["queue"] // 1000),
    ("compute_input_duration_us", "Time of putting inputs together.", lambda m: m.input_ns // 1000),
    ("compute_infer_duration_us", "Time of runs.", lambda m: m.infer_ns // 1000),
    ("compute_output_duration_us", "Time of writing outputs.", lambda m: m.output_ns // 1000),
)


class TritonMetrics:
    """Keeps one thing from scrape to scrape: the machine's CPU time, whose use is a difference."""

    def __init__(self) -> None:
        self._before: Machine | None = None

    def families(self, models: list[ModelCounters]) -> Iterator[Metric]:
        """All `nv_*` metrics."""
        for name, text, value in _COUNTERS:
            counter = UnknownMetricFamily(f"nv_inference_{name}", text, labels=_LABELS)
            for model in models:
                counter.add_metric([model.name, model.version], value(model))
            yield counter
        yield _failures(models)
        yield _gauge(
            "nv_inference_pending_request_count",
            "Requests waiting for a run.",
            models,
            lambda m: m.queued_requests,
        )
        yield _gauge(
            "nv_model_load_duration_secs", "What loading took.", models, lambda m: m.load_s
        )
        yield from self._machine()

    def _machine(self) -> Iterator[Metric]:
        now = machine()
        if now is None:
            return
        before, self._before = self._before, now
        spent = now.total_s - (before.total_s if before else 0.0)
        busy = now.busy_s - (before.busy_s if before else 0.0)
        # Both are differences of large floats, so the quotient may miss its range by a rounding.
        share = min(max(busy / (spent or 1.0), 0.0), 1.0)
        for name, text, value in (
            ("utilization", "Share of CPU time in use since the last scrape.", share),
            ("memory_total_bytes", "Physical memory.", now.memory_bytes),
            ("memory_used_bytes", "Physical memory that is not available.", now.used_bytes),
        ):
            yield GaugeMetricFamily(f"nv_cpu_{name}", text, value=value)


def _gauge(name: str, text: str, models: list[ModelCounters], value: Value) -> Metric:
    family = GaugeMetricFamily(name, text, labels=_LABELS)
    for model in models:
        family.add_metric([model.name, model.version], value(model))
    return family


def _failures(models: list[ModelCounters]) -> Metric:
    text = "Requests that did not go well, by reason."
    labels = [*_LABELS, "reason"]
    family = UnknownMetricFamily("nv_inference_request_failure", text, labels=labels)
    for model in models:
        counts = dict.fromkeys(_REASONS, 0)
        counts["CANCELED"] = model.results["left"]
        for code, count in model.errors.items():
            counts[_reason(code)] += count
        for reason in _REASONS:
            family.add_metric([model.name, model.version, reason], counts[reason])
    return family


def _codes(root: type[GatewayError]) -> Iterator[str]:
    yield root.code
    for child in root.__subclasses__():
        yield from _codes(child)


UNAVAILABLE: Final = frozenset(_codes(Unavailable))
"""Codes of what the gateway could not take at that moment; the caller did nothing wrong."""


def _reason(code: str) -> str:
    if code in UNAVAILABLE:
        return "REJECTED"
    return "BACKEND" if code == ModelFailed.code else "OTHER"
