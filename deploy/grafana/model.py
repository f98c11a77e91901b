"""The dashboard of one version of a model."""

from __future__ import annotations

from deploy.grafana.panels import RATE, Dashboard, Panel, Variable, quantile

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
                quantile(share, _of('phase="total"'), "le"): name
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            },
            "s",
        ),
        Panel(
            "99th percentile of each phase",
            {quantile(0.99, _of('phase!="total"'), "le, phase"): "{{phase}}"},
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
