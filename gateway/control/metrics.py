"""The text that Prometheus scrapes, from the arena's counters.

Knows names, labels and units of `penstock_*` metrics. Knows nothing of how anything is counted, and
keeps no count of its own. Label values are bounded: models and versions by the plan, workers by the
configuration, everything else by this code.

`penstock_*` names keep Prometheus' conventions and pass `promtool check metrics`. Triton's names,
which stand beside them for dashboards that exist (`triton_metrics`), cannot: their linting asks for
other names. `triton=False` leaves them out.
"""

from __future__ import annotations

import collections
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.control.procfs import process_usage
from gateway.control.triton_metrics import UNAVAILABLE, TritonMetrics
from gateway.monitor import arena as rows
from gateway.monitor.arena import Arena
from gateway.monitor.report import ModelCounters, WorkerCounters, read_models, read_workers
from kernels import histogram

_PHASE_BOUNDS: Final = [repr(ns / 1e9) for ns in histogram.CLASSIC_BOUNDS_NS] + ["+Inf"]
_SIZE_BOUNDS: Final = [
    float(1 << bits) for bits in range(11)
]  # the arena counts sizes to 1024 exactly
_MODEL: Final = ["model", "version"]

Samples = Iterable[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Info:
    """What control knows and the arena does not.

    Attributes:
        version: of penstock.
        onnxruntime: its version.
        providers: execution providers that models may run on.
        plan: number of the newest plan.
        supervisor: its process id, or 0.
        models: how many model versions are in which state of the repository index.
        refused: how many deployments of the plan each worker could not load, by slot.
        key_requests: by name of a key, model and version; no model for what is no inference.
        key_last_seen: of the same, seconds since 1970.
        certificates: for each port with TLS, when its certificate expires (seconds since 1970; 0:
            it is not valid now) and whether the files that lie there are in force.
        traced: requests by what became of their traces here; empty where there are none.
        connections: to the control port, open now.
        port_refusals: what the control port refused or ended before any operation saw it, by
            error code or limit.
        alerts_firing: 1 by rule, severity, model and version, for each alarm that fires.
        alert_deliveries: attempts to deliver alarms, by sink and result.
        drift: how watched models' traffic compares with its reference.
        contracts: what inputs broke of contracts.
        captured: what became of inputs and outputs that are kept.
        spent: what callers, teams and tags have spent on language models.
        routes: which version stands behind which variant.
        rollouts: how far they have come.
        outcomes: how right models are, and what the ledger holds.
        experiments: what those under way show.
        shadows: what they say beside what was answered.
        llm: what language models were asked for, and what of it their upstreams did.
    """

    version: str
    onnxruntime: str
    providers: tuple[str, ...]
    plan: int = 0
    supervisor: int = 0
    models: Mapping[str, int] = field(default_factory=dict)
    refused: Sequence[int] = ()
    key_requests: Samples = ()
    key_last_seen: Samples = ()
    certificates: Mapping[str, tuple[float, bool]] = field(default_factory=dict)
    traced: Mapping[str, int] = field(default_factory=dict)
    connections: int = 0
    port_refusals: Mapping[str, int] = field(default_factory=dict)
    alerts_firing: Samples = ()
    alert_deliveries: Samples = ()
    drift: Iterable[Metric] = ()
    contracts: Iterable[Metric] = ()
    captured: Iterable[Metric] = ()
    spent: Iterable[Metric] = ()
    routes: Iterable[Metric] = ()
    rollouts: Iterable[Metric] = ()
    outcomes: Iterable[Metric] = ()
    experiments: Iterable[Metric] = ()
    shadows: Iterable[Metric] = ()
    llm: Iterable[Metric] = ()


class Metrics:
    """Renders `/metrics`."""

    def __init__(self, arena: Arena, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Reads `arena`; `clock_ns` is the clock of the workers' heartbeats."""
        self._arena = arena
        self._clock_ns = clock_ns
        self._triton = TritonMetrics()

    def render(self, info: Info, accept: str = "", triton: bool = True) -> tuple[bytes, str]:
        """The whole text and its content type: OpenMetrics where `accept` asks for it.

        Reads the arena and /proc and takes 1.5 ms a model, most of it text, and some 20 ms where 50
        of its columns are watched: not for an event loop.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once(self._families(info, triton)))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _families(self, info: Info, triton: bool) -> Iterator[Metric]:
        models = sorted(read_models(self._arena), key=lambda model: (model.name, model.version))
        workers = read_workers(self._arena)
        yield from _about(info, self._arena)
        yield from _processes(self._arena, info, workers)
        yield from _workers(workers, self._clock_ns())
        yield from _traffic(workers)
        yield _traces(info, workers)
        yield from _alerts(info)
        yield from _requests(models)
        yield from _keys(info)
        yield from _batches(models)
        yield from _loads(models)
        yield from info.drift
        yield from info.contracts
        yield from info.captured
        yield from info.spent
        yield from info.routes
        yield from info.rollouts
        yield from info.outcomes
        yield from info.experiments
        yield from info.shadows
        yield from info.llm
        if triton:
            yield from self._triton.families(models)


def _keys(info: Info) -> Iterator[Metric]:
    labels = ["key", *_MODEL]
    text = "Requests by key, without a model where no inference; `other` if too many series."
    yield _counter("key_requests", text, labels, info.key_requests)
    text = "When a key's last request was seen."
    yield _gauge("key_last_seen_timestamp_seconds", text, labels, info.key_last_seen)


class _Once(Collector):
    """One reading, as the collector that a registry wants."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counter(name: str, text: str, labels: list[str], samples: Samples) -> Metric:
    family = CounterMetricFamily(f"penstock_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, text: str, labels: list[str], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"penstock_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


# -- the gateway and its processes -----------------------------------------------------------------


def _about(info: Info, arena: Arena) -> Iterator[Metric]:
    build = (info.version, platform.python_version(), info.onnxruntime)
    labels = ["version", "python", "onnxruntime"]
    yield _gauge("build_info", "Versions in use; always 1.", labels, [(build, 1)])
    providers = [((name,), 1.0) for name in info.providers]
    yield _gauge("provider_info", "Execution providers at hand; always 1.", ["provider"], providers)
    yield _gauge("plan_number", "Number of the newest plan.", [], [((), info.plan)])
    states = [((state,), count) for state, count in sorted(info.models.items())]
    yield _gauge("models", "Model versions by state of the repository index.", ["state"], states)
    text = "Model versions that this worker alone could not load; it goes on trying."
    refused = [((str(slot),), float(count)) for slot, count in enumerate(info.refused)]
    yield _gauge("models_refused", text, ["worker"], refused)
    expiry = [((port,), end) for port, (end, _) in info.certificates.items()]
    text = "When the certificate of a port expires; 0 where it is not valid now."
    yield _gauge("tls_certificate_expiry_timestamp_seconds", text, ["port"], expiry)
    good = [((port,), float(good)) for port, (_, good) in info.certificates.items()]
    text = "1 while the certificate files of a port are good and in force."
    yield _gauge("tls_certificate_files_good", text, ["port"], good)
    held = os.fstat(arena.fd).st_blocks * 512
    yield _gauge("arena_resident_bytes", "Shared memory taken by counters.", [], [((), held)])


def _processes(arena: Arena, info: Info, workers: list[WorkerCounters]) -> Iterator[Metric]:
    pids = {f"worker-{worker.worker}": worker.pid for worker in workers}
    pids |= {"control": arena.control_row[rows.PID], "supervisor": info.supervisor}
    used = {name: process_usage(pid) for name, pid in pids.items() if pid}
    seen = [((name,), usage) for name, usage in used.items() if usage is not None]
    label = ["process"]
    cpu = [(name, usage.cpu_s) for name, usage in seen]
    yield _counter("process_cpu_seconds", "CPU time of each process.", label, cpu)
    rss = [(name, float(usage.rss_bytes)) for name, usage in seen]
    text = "Resident memory of each process, pages shared with others included."
    yield _gauge("process_resident_memory_bytes", text, label, rss)
    threads = [(name, float(usage.threads)) for name, usage in seen]
    yield _gauge("process_threads", "Threads of each process.", label, threads)
    restarts = arena.control_row[rows.RESTARTS]
    text = "Times that the control process was replaced."
    yield _counter("control_restarts", text, [], [((), restarts)])
    text = "Open connections to the control port."
    yield _gauge("control_connections", text, [], [((), info.connections)])
    text = "What the control port refused or ended before any operation saw it."
    refusals = [((reason,), float(count)) for reason, count in sorted(info.port_refusals.items())]
    yield _counter("control_refusals", text, ["reason"], refusals)


def _workers(workers: list[WorkerCounters], now_ns: int) -> Iterator[Metric]:
    def each(value: Callable[[WorkerCounters], float]) -> Samples:
        return [((str(worker.worker),), value(worker)) for worker in workers]

    def gauge(name: str, text: str, value: Callable[[WorkerCounters], float]) -> Metric:
        return _gauge(name, text, ["worker"], each(value))

    yield gauge("worker_up", "1 while the slot has a process.", lambda w: w.pid != 0)
    yield gauge("worker_ready", "1 while the worker takes traffic.", lambda w: w.state == "ready")
    yield gauge("worker_plan_number", "Newest plan that the worker serves.", lambda w: w.plan)
    yield gauge("worker_start_seconds", "From birth to ready.", lambda w: w.ready_s)
    text = "Age of the worker's last sign of life."
    yield gauge(
        "worker_heartbeat_age_seconds",
        text,
        lambda w: max(now_ns - w.heartbeat_ns, 0) / 1e9 if w.pid else 0.0,
    )
    text = "Times that the worker was replaced."
    yield _counter("worker_restarts", text, ["worker"], each(lambda w: w.restarts))
    text = "How the process before ended: its exit status, or minus the signal that killed it."
    yield gauge("worker_last_exit_status", text, lambda w: w.exit_status)
    for name, key, unit, text in _WORKER_GAUGES:
        yield gauge(name, text, lambda w, key=key, unit=unit: w.gauges[key] / unit)  # type: ignore[misc]
    for name, key, text in _WORKER_COUNTERS:
        samples = each(lambda w, key=key: w.counts[key])  # type: ignore[misc]
        yield _counter(name, text, ["worker"], samples)


_WORKER_GAUGES: Final = (
    ("connections", "open_connections", 1, "Open connections."),
    ("loop_lag_seconds", "loop_lag_ns", 1e9, "How late the event loop last was."),
    ("loop_lag_max_seconds", "max_loop_lag_ns", 1e9, "How late the event loop was at worst."),
    ("reading_paused", "reading_paused", 1, "1 while the worker reads nothing, being late."),
    ("buffered_bytes", "buffered_bytes", 1, "Bodies, decoded large ones, unread answers."),
)
_WORKER_COUNTERS: Final = (
    ("connections_accepted", "accepted", "Connections accepted."),
    ("connections_closed", "closed", "Connections closed."),
    ("connections_handed_over", "handed_over", "Connections given to another worker."),
    ("connections_adopted", "adopted", "Connections taken from another worker."),
    ("connections_refused", "refused_connections", "Connections refused over the limit."),
    ("clients_left", "clients_left", "Clients that left before their request was answered."),
    ("tls_handshakes_failed", "failed_handshakes", "Connections that ended before TLS was agreed."),
    ("reading_pauses", "pauses", "Times that the worker stopped reading, being late."),
    ("mailbox_messages_sent", "mailbox_sent", "Messages to control that were sent."),
    ("mailbox_messages_dropped", "mailbox_dropped", "Messages to control that found no room."),
    ("access_records_dropped", "access_dropped", "Records of the access log that found no room."),
)


def _traffic(workers: list[WorkerCounters]) -> Iterator[Metric]:
    errors = [
        ((str(worker.worker), code), float(count))
        for worker in workers
        for code, count in worker.errors.items()
    ]
    text = "Requests refused before any model was known, by error code."
    yield _counter("http_errors", text, ["worker", "code"], errors)
    cut = [
        ((str(worker.worker), reason), float(count))
        for worker in workers
        for reason, count in worker.cut.items()
    ]
    text = "Connections ended without a word, by the limit that they passed."
    yield _counter("connections_cut", text, ["worker", "reason"], cut)
    answers = [
        ((str(worker.worker), status), float(count))
        for worker in workers
        for status, count in worker.statuses.items()
    ]
    text = "Answers outside the lane, by class of status."
    yield _counter("http_responses", text, ["worker", "status"], answers)


def _traces(info: Info, workers: list[WorkerCounters]) -> Metric:
    counts = collections.Counter(info.traced)
    counts["dropped"] += sum(worker.counts["traces_dropped"] for worker in workers)
    text = "Traced requests: exported, failed (the collector did not take them), dropped (no room)."
    samples = [((result,), float(counts[result])) for result in ("exported", "failed", "dropped")]
    return _counter("traced_requests", text, ["result"], samples)


def _alerts(info: Info) -> Iterator[Metric]:
    labels = ["rule", "severity", *_MODEL]
    yield _gauge("alerts_firing", "1 for each alarm that fires.", labels, info.alerts_firing)
    text = "Attempts to deliver alarms: delivered, failed; dead: given up."
    yield _counter("alert_deliveries", text, ["sink", "result"], info.alert_deliveries)


# -- models ----------------------------------------------------------------------------------------


def _labels(model: ModelCounters, *more: str) -> tuple[str, ...]:
    return model.name, model.version, *more


def _split(
    models: list[ModelCounters], parts: Callable[[ModelCounters], Mapping[str, int]]
) -> Samples:
    return [
        (_labels(model, part), float(count))
        for model in models
        for part, count in parts(model).items()
    ]


def _each(models: list[ModelCounters], value: Callable[[ModelCounters], float]) -> Samples:
    return [(_labels(model), value(model)) for model in models]


def _requests(models: list[ModelCounters]) -> Iterator[Metric]:
    results = _split(models, lambda m: m.results)
    text = "Requests by result: ok, failed, refused, left (the client went first)."
    yield _counter("requests", text, [*_MODEL, "result"], results)
    yield _counter("rows", "Rows answered.", _MODEL, _each(models, lambda m: m.rows))
    errors = _split(models, lambda m: m.errors)
    yield _counter("errors", "Requests that got an error, by code.", [*_MODEL, "code"], errors)
    refusals = _split(models, _refusals)
    text = "Requests that the gateway could not take at that moment, by reason."
    yield _counter("refusals", text, [*_MODEL, "reason"], refusals)
    yield _durations(models)
    for name, value, text in (
        ("queue_rows", lambda m: m.queued_rows, "Rows waiting for a run."),
        ("queue_requests", lambda m: m.queued_requests, "Requests waiting for a run."),
        ("in_flight_requests", lambda m: m.in_flight, "Whole requests that are not answered yet."),
    ):
        yield _gauge(name, text, _MODEL, _each(models, value))


def _refusals(model: ModelCounters) -> dict[str, int]:
    return {code: count for code, count in model.errors.items() if code in UNAVAILABLE}


def _durations(models: list[ModelCounters]) -> Metric:
    text = (
        "Time of answered requests by phase: decode (reading it included), queue, infer, encode; "
        "total is from first byte to answer. Bounds are powers of two nanoseconds and exact."
    )
    labels = [*_MODEL, "phase"]
    family = HistogramMetricFamily("penstock_request_duration_seconds", text, labels=labels)
    for model in models:
        for phase, counts in model.histograms.items():
            buckets = list(zip(_PHASE_BOUNDS, histogram.classic(counts), strict=True))
            family.add_metric(_labels(model, phase), buckets, model.phase_ns[phase] / 1e9)
    return family


def _batches(models: list[ModelCounters]) -> Iterator[Metric]:
    yield _batch_rows(models)
    for name, value, text in _BATCH_COUNTERS:
        yield _counter(name, text, _MODEL, _each(models, value))
    released = _split(models, lambda m: m.released)
    text = "Batches by why they were launched."
    yield _counter("batch_releases", text, [*_MODEL, "reason"], released)
    places = _split(models, lambda m: {"loop": m.loop_runs, "thread": m.thread_runs})
    text = "Runs by where they ran: on the event loop or on a thread."
    yield _counter("runs", text, [*_MODEL, "place"], places)


_BATCH_COUNTERS: Final[tuple[tuple[str, Callable[[ModelCounters], float], str], ...]] = (
    ("executions", lambda m: m.executions, "Runs that went well."),
    ("executed_rows", lambda m: m.executed_rows, "Rows in runs that went well."),
    (
        "non_finite_rows",
        lambda m: m.non_finite,
        "Of those rows, with NaN or infinity in an output.",
    ),
    ("reruns", lambda m: m.reruns, "Requests run once more, alone, after their batch failed."),
    ("pruned_runs", lambda m: m.pruned_runs, "Runs that computed only the outputs asked for."),
    ("pruned_sessions_built", lambda m: m.pruned_built, "Sessions built for such runs."),
    (
        "pruned_sessions_refused",
        lambda m: m.pruned_refused,
        "Sessions for such runs that could not be built: all outputs are computed instead.",
    ),
    ("run_seconds", lambda m: sum(s.infer_ns for s in m.sizes) / 1e9, "Time spent in runs."),
    ("run_cpu_seconds", lambda m: m.cpu_ns / 1e9, "CPU time spent in runs."),
    (
        "batch_age_seconds",
        lambda m: m.oldest_ns / 1e9,
        "Ages of the oldest request of each batch at its release, in all.",
    ),
    ("cells", lambda m: m.cells, "Input values that ran, padding included."),
    ("padded_cells", lambda m: m.padded_cells, "Input values that only filled requests up."),
)


def _batch_rows(models: list[ModelCounters]) -> Metric:
    family = HistogramMetricFamily("penstock_batch_rows", "Rows of each run.", labels=_MODEL)
    for model in models:
        buckets = [
            (str(bound), float(sum(size.batches for size in model.sizes if size.rows <= bound)))
            for bound in _SIZE_BOUNDS
        ]
        buckets.append(("+Inf", float(sum(size.batches for size in model.sizes))))
        family.add_metric(_labels(model), buckets, model.batch_rows)
    return family


def _loads(models: list[ModelCounters]) -> Iterator[Metric]:
    loads = _each(models, lambda m: m.loads)
    yield _counter("model_loads", "Times that a worker loaded the model.", _MODEL, loads)
    text = "What the slowest load by a worker that holds it took, warm-up included."
    yield _gauge("model_load_seconds", text, _MODEL, _each(models, lambda m: m.load_s))
    text = "Workers that can answer with the model now."
    yield _gauge("model_workers", text, _MODEL, _each(models, lambda m: m.loaded_by))
    text = "When the model last ran; 0 for never."
    last = _each(models, lambda m: m.last_ms / 1e3)
    yield _gauge("model_last_run_timestamp_seconds", text, _MODEL, last)
