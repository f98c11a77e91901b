"""Writes the dashboards that lie beside it: run `python deploy/grafana/generate.py`.

Knows queries, units and where panels stand. Knows nothing of Prometheus or Grafana servers.

What Grafana stores of a panel is mostly repetition; here a panel is a line or two, and the JSON,
which is committed for whoever has no Python, is what this makes of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24

# Grafana's own: an interval that always holds a few scrapes, and the time that is shown.
RATE = "[$__rate_interval]"
RANGE = "[$__range]"


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: over it.
        queries: legend by query.
        unit: Grafana's name of it.
        width: of 24 columns.
        height: in rows of 30 pixels.
        kind: Grafana's name of it.
        text: what the title does not say.
        least: of the axis; none: as the data has it.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 8
    height: int = 8
    kind: str = "timeseries"
    text: str = ""
    least: float | None = 0


@dataclass(frozen=True)
class Variable:
    """What can be chosen above the panels."""

    name: str
    query: str
    many: bool = True


@dataclass(frozen=True)
class Dashboard:
    """A page of panels, which are laid out as words are."""

    uid: str
    title: str
    variables: tuple[Variable, ...]
    panels: tuple[Panel, ...]
    since: str = "now-1h"
    tags: tuple[str, ...] = field(default=("penstock",))


# ---- traffic and latency -------------------------------------------------------------------------

_OF = '{model=~"$model"}'
_TOTAL = '{model=~"$model", phase="total"}'


def _quantile(share: float, labels: str, by: str) -> str:
    bucket = f"penstock_request_duration_seconds_bucket{labels}{RATE}"
    return f"histogram_quantile({share}, sum by ({by}) (rate({bucket})))"


TRAFFIC = Dashboard(
    "penstock",
    "Penstock: traffic and latency",
    (Variable("model", "label_values(penstock_requests_total, model)"),),
    (
        Panel(
            "Requests a second",
            {
                f"sum by (model, version, result) (rate(penstock_requests_total{_OF}{RATE}))": (
                    "{{model}}/{{version}} {{result}}"
                )
            },
            "reqps",
            12,
        ),
        Panel(
            "Time of a request: median and 99th percentile",
            {
                _quantile(0.5, _TOTAL, "le, model"): "{{model}} p50",
                _quantile(0.99, _TOTAL, "le, model"): "{{model}} p99",
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
                f"sum by (model, code) (rate(penstock_errors_total{_OF}{RATE})) > 0": (
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
                f"sum by (model) (rate(penstock_executed_rows_total{_OF}{RATE}))"
                f" / sum by (model) (rate(penstock_executions_total{_OF}{RATE}))": "{{model}}"
            },
        ),
        Panel(
            "Rows waiting",
            {f"sum by (model) (penstock_queue_rows{_OF})": "{{model}}"},
        ),
        Panel(
            "CPU of each model",
            {f"sum by (model) (rate(penstock_run_cpu_seconds_total{_OF}{RATE}))": "{{model}}"},
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

# ---- drift ---------------------------------------------------------------------------------------

_NAMED = "{{model}}/{{version}} {{feature}}"


def _top(query: str) -> dict[str, str]:
    return {f"topk(10, {query})": _NAMED}


DRIFT = Dashboard(
    "penstock-drift",
    "Penstock: drift",
    (Variable("model", "label_values(penstock_drift_features, model)"),),
    (
        Panel(
            "Verdicts now",
            {
                f"penstock_drift_version_verdict{_OF} == 1": (
                    "{{model}}/{{version}} {{role}}s: {{verdict}}"
                )
            },
            height=6,
            kind="stat",
            text="The most alarming verdict of a version's features, and of its outputs.",
        ),
        Panel(
            "Drifting features and outputs",
            {
                "sum by (model, version, role)"
                ' (penstock_drift_features{model=~"$model", verdict="drift"})': (
                    "{{model}}/{{version}} {{role}}s"
                )
            },
            height=6,
        ),
        Panel(
            "Rows in the window",
            {
                f"max by (model, version) (penstock_drift_window_rows{_OF})": (
                    "{{model}}/{{version}}"
                )
            },
            height=6,
            text="Few rows prove nothing, and make PSI large.",
        ),
        Panel(
            "Evidence: log10 of the e-value",
            _top(f"penstock_drift_log10_e{_OF}"),
            width=24,
            text="0: none. 2: worth a look. Drift also takes a distance of 0.05.",
            least=None,
        ),
        Panel(
            "PSI beyond what is usual without drift",
            _top(f"penstock_drift_psi{_OF} - penstock_drift_psi_null_p95{_OF}"),
            width=12,
            text="Above 0 in 5 of 100 windows without drift.",
            least=None,
        ),
        Panel("KS", _top(f"penstock_drift_ks{_OF}"), width=12),
        Panel(
            "Wasserstein distance",
            _top(f"penstock_drift_wasserstein{_OF}"),
            text="In standard deviations of the reference.",
        ),
        Panel("Jensen-Shannon distance", _top(f"penstock_drift_js{_OF}")),
        Panel(
            "Mean prediction",
            {'penstock_feature_mean{model=~"$model", role="output"}': _NAMED},
            least=None,
        ),
        Panel(
            "Missing values beyond the reference's",
            _top(
                f"penstock_feature_missing_ratio{_OF}"
                f" - penstock_feature_reference_missing_ratio{_OF}"
            ),
            "percentunit",
            least=None,
        ),
        Panel("Unseen categories", _top(f"penstock_feature_unseen_ratio{_OF}"), "percentunit"),
        Panel(
            "Out of the reference's range",
            _top(f"penstock_feature_out_of_range_ratio{_OF}"),
            "percentunit",
        ),
        Panel(
            "Rows counted, and not counted, a second",
            {
                f"sum by (model, version) (rate(penstock_drift_rows_total{_OF}{RATE}))": (
                    "{{model}}/{{version}}"
                ),
                f"sum by (model, version) (rate(penstock_drift_skipped_rows_total{_OF}{RATE}))": (
                    "{{model}}/{{version}} not counted"
                ),
            },
        ),
        Panel(
            "Features without series",
            {f"penstock_drift_features_unlisted{_OF}": "{{model}}/{{version}} {{role}}s"},
            text="Others show more evidence: metrics.max_features.",
        ),
        Panel("Time of an evaluation", {"penstock_drift_evaluation_seconds": "{{instance}}"}, "s"),
    ),
    since="now-6h",
)

# ---- one model -----------------------------------------------------------------------------------

_ONE = '{model="$model", version="$version"}'
_FEATURE = '{model="$model", version="$version", feature=~"$feature"}'


def _of(more: str) -> str:
    return f'{{model="$model", version="$version", {more}}}'


MODEL = Dashboard(
    "penstock-model",
    "Penstock: one model",
    (
        Variable("model", "label_values(penstock_requests_total, model)", many=False),
        Variable(
            "version",
            'label_values(penstock_requests_total{model="$model"}, version)',
            many=False,
        ),
        Variable("feature", f"label_values(penstock_drift_window_rows{_ONE}, feature)"),
    ),
    (
        Panel(
            "Requests a second",
            {f"sum by (result) (rate(penstock_requests_total{_ONE}{RATE}))": "{{result}}"},
            "reqps",
        ),
        Panel(
            "Time of a request",
            {
                _quantile(share, _of('phase="total"'), "le"): name
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            },
            "s",
        ),
        Panel(
            "99th percentile of each phase",
            {_quantile(0.99, _of('phase!="total"'), "le, phase"): "{{phase}}"},
            "s",
        ),
        Panel(
            "Verdicts",
            {f"penstock_drift_verdict{_FEATURE} == 1": "{{feature}}: {{verdict}}"},
            width=12,
            kind="state-timeline",
        ),
        Panel(
            "Evidence: log10 of the e-value",
            {f"penstock_drift_log10_e{_FEATURE}": "{{feature}}"},
            width=12,
            least=None,
        ),
        Panel(
            "PSI, and what it stays below without drift",
            {
                f"penstock_drift_psi{_FEATURE}": "{{feature}}",
                f"max(penstock_drift_psi_null_p95{_FEATURE})": "95 of 100 windows without drift",
            },
        ),
        Panel(
            "KS, and its bound",
            {
                f"penstock_drift_ks{_FEATURE}": "{{feature}}",
                f"penstock_drift_ks_bound{_FEATURE}": "{{feature}} at most",
            },
        ),
        Panel(
            "Mean against the reference's",
            {
                f"penstock_feature_mean{_FEATURE}": "{{feature}}",
                f"penstock_feature_reference_mean{_FEATURE}": "{{feature}} in the reference",
            },
            least=None,
        ),
        Panel("Standard deviation", {f"penstock_feature_std{_FEATURE}": "{{feature}}"}),
        Panel(
            "Values that are missing, unseen, out of range, infinite or of a wrong type",
            {
                f"penstock_feature_{what}_ratio{_FEATURE}": f"{{{{feature}}}} {what}"
                for what in ("missing", "unseen", "out_of_range", "infinite", "wrong_type")
            },
            "percentunit",
        ),
        Panel(
            "Quantiles of the outputs",
            {f"penstock_output_quantile{_ONE}": "{{output}} {{share}}"},
            least=None,
        ),
        Panel(
            "Bins of the last hour",
            {f"feature:penstock_bin_share:1h{_FEATURE}": "{{feature}} {{bin}}"},
            "percentunit",
            width=12,
            text="Of features in metrics.bins, of all gateways, with deploy/prometheus' rules.",
        ),
        Panel(
            "Bins of the reference",
            {f"penstock_feature_reference_share{_FEATURE}": "{{feature}} {{bin}}: {{holds}}"},
            "percentunit",
            width=12,
        ),
        Panel(
            "PSI of the last hour",
            {f"feature:penstock_psi:1h{_FEATURE}": "{{feature}}"},
            text="Of the same features, of all gateways, over at most 10 bins.",
        ),
        Panel(
            "Rows of the reference, and which it is",
            {
                f"penstock_drift_reference_rows{_ONE}": "rows",
                f"penstock_drift_reference_info{_ONE}": "{{reference}}",
            },
            kind="stat",
        ),
        Panel(
            "Rows counted a second",
            {f"sum(rate(penstock_drift_rows_total{_ONE}{RATE}))": "counted"},
        ),
    ),
)

DASHBOARDS = {"traffic": TRAFFIC, "drift": DRIFT, "model": MODEL}

# ---- as Grafana stores it ------------------------------------------------------------------------


def document(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana's JSON."""
    return {
        "title": dashboard.title,
        "uid": dashboard.uid,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "5s",
        "time": {"from": dashboard.since, "to": "now"},
        "tags": list(dashboard.tags),
        "templating": {"list": [_variable(one) for one in dashboard.variables]},
        "panels": list(_panels(dashboard)),
    }


def text(dashboard: Dashboard) -> str:
    """The file."""
    return json.dumps(document(dashboard), indent=1) + "\n"


def _variable(one: Variable) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": one.name,
        "type": "query",
        "datasource": SOURCE,
        "query": one.query,
        "includeAll": one.many,
        "multi": one.many,
        "refresh": 2,
    }
    if one.many:
        made |= {"allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return made


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    x = y = height = 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > COLUMNS:
            x, y, height = 0, y + height, 0
        yield _panel(number, panel, x, y)
        x, height = x + panel.width, max(height, panel.height)


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"unit": panel.unit}
    if panel.least is not None:
        shown["min"] = panel.least
    targets = [
        {"refId": chr(ord("A") + at), "expr": query, "legendFormat": legend}
        for at, (query, legend) in enumerate(panel.queries.items())
    ]
    made: dict[str, Any] = {
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": shown, "overrides": []},
        "targets": targets,
    }
    if panel.kind == "stat":
        # The name is what a verdict or a state is: the number beside it is always 1.
        made["options"] = {
            "textMode": "value_and_name",
            "reduceOptions": {"calcs": ["lastNotNull"]},
        }
    return made


def main() -> None:
    """Writes all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(text(dashboard))


if __name__ == "__main__":
    main()
