"""The dashboard of drift."""

from __future__ import annotations

from deploy.grafana.panels import OF, RATE, Dashboard, Panel, Variable

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
                f"penstock_drift_version_verdict{OF} == 1": (
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
                f"max by (model, version) (penstock_drift_window_rows{OF})": (
                    "{{model}}/{{version}}"
                )
            },
            height=6,
            text="Few rows prove nothing, and make PSI large.",
        ),
        Panel(
            "Evidence: log10 of the e-value",
            _top(f"penstock_drift_log10_e{OF}"),
            width=24,
            text="0: none. 2: worth a look. Drift also takes a distance of 0.05.",
            least=None,
        ),
        Panel(
            "PSI beyond what is usual without drift",
            _top(f"penstock_drift_psi{OF} - penstock_drift_psi_null_p95{OF}"),
            width=12,
            text="Above 0 in 5 of 100 windows without drift.",
            least=None,
        ),
        Panel("KS", _top(f"penstock_drift_ks{OF}"), width=12),
        Panel(
            "Wasserstein distance",
            _top(f"penstock_drift_wasserstein{OF}"),
            text="In standard deviations of the reference.",
        ),
        Panel("Jensen-Shannon distance", _top(f"penstock_drift_js{OF}")),
        Panel(
            "Mean prediction",
            {'penstock_feature_mean{model=~"$model", role="output"}': _NAMED},
            least=None,
        ),
        Panel(
            "Missing values beyond the reference's",
            _top(
                f"penstock_feature_missing_ratio{OF} - penstock_feature_reference_missing_ratio{OF}"
            ),
            "percentunit",
            least=None,
        ),
        Panel("Unseen categories", _top(f"penstock_feature_unseen_ratio{OF}"), "percentunit"),
        Panel(
            "Out of the reference's range",
            _top(f"penstock_feature_out_of_range_ratio{OF}"),
            "percentunit",
        ),
        Panel(
            "Rows counted, and not counted, a second",
            {
                f"sum by (model, version) (rate(penstock_drift_rows_total{OF}{RATE}))": (
                    "{{model}}/{{version}}"
                ),
                f"sum by (model, version) (rate(penstock_drift_skipped_rows_total{OF}{RATE}))": (
                    "{{model}}/{{version}} not counted"
                ),
            },
        ),
        Panel(
            "Features without series",
            {f"penstock_drift_features_unlisted{OF}": "{{model}}/{{version}} {{role}}s"},
            text="Others show more evidence: metrics.max_features.",
        ),
        Panel("Time of an evaluation", {"penstock_drift_evaluation_seconds": "{{instance}}"}, "s"),
    ),
    since="now-6h",
)
