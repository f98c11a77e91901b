"""The dashboard of traffic and latency."""

from __future__ import annotations

from deploy.grafana.panels import OF, RANGE, RATE, Dashboard, Panel, Variable, quantile

_TOTAL = '{model=~"$model", phase="total"}'


TRAFFIC = Dashboard(
    "penstock",
    "Penstock: traffic and latency",
    (Variable("model", "label_values(penstock_requests_total, model)"),),
    (
        Panel(
            "Requests a second",
            {
                f"sum by (model, version, result) (rate(penstock_requests_total{OF}{RATE}))": (
                    "{{model}}/{{version}} {{result}}"
                )
            },
            "reqps",
            12,
        ),
        Panel(
            "Time of a request: median and 99th percentile",
            {
                quantile(0.5, _TOTAL, "le, model"): "{{model}} p50",
                quantile(0.99, _TOTAL, "le, model"): "{{model}} p99",
            },
            "s",
            12,
        ),
        Panel(
            "Where the time goes",
            {
                "sum by (phase) (rate(penstock_request_duration_seconds_sum"
                f'{{model=~"$model", phase!="total"}}{RATE}))'
                " / ignoring(phase) group_left"
                f" sum(rate(penstock_request_duration_seconds_count{_TOTAL}{RATE}))": "{{phase}}"
            },
            "s",
            12,
            text="Mean time of a request in each phase.",
        ),
        Panel(
            "Errors a second, by code",
            {
                f"sum by (model, code) (rate(penstock_errors_total{OF}{RATE})) > 0": (
                    "{{model}} {{code}}"
                ),
                f"sum by (code) (rate(penstock_http_errors_total{RATE})) > 0": (
                    "before any model: {{code}}"
                ),
            },
            "reqps",
            12,
        ),
        Panel(
            "Rows in a run",
            {
                f"sum by (model) (rate(penstock_executed_rows_total{OF}{RATE}))"
                f" / sum by (model) (rate(penstock_executions_total{OF}{RATE}))": "{{model}}"
            },
        ),
        Panel(
            "Rows waiting",
            {f"sum by (model) (penstock_queue_rows{OF})": "{{model}}"},
        ),
        Panel(
            "CPU of each model",
            {f"sum by (model) (rate(penstock_run_cpu_seconds_total{OF}{RATE}))": "{{model}}"},
        ),
        Panel("Connections", {"sum by (worker) (penstock_connections)": "worker {{worker}}"}),
        Panel("Loop lag of workers", {"penstock_loop_lag_seconds": "worker {{worker}}"}, "s"),
        Panel(
            "Resident memory", {"penstock_process_resident_memory_bytes": "{{process}}"}, "bytes"
        ),
        Panel(
            "Replaced processes",
            {
                f"sum(increase(penstock_worker_restarts_total{RANGE}))": "workers",
                f"sum(increase(penstock_control_restarts_total{RANGE}))": "control",
            },
            height=6,
            kind="stat",
        ),
        Panel("Model versions by state", {"penstock_models": "{{state}}"}, height=6, kind="stat"),
        Panel(
            "Workers that are ready",
            {"sum(penstock_worker_ready)": "ready"},
            height=6,
            kind="stat",
        ),
    ),
    since="now-30m",
)
