"""The dashboard of outcomes: how right models are, and whether they still are as they were."""

from __future__ import annotations

from deploy.grafana.panels import OF, RATE, Dashboard, Panel, Variable

_NAMED = "{{model}}/{{version}}"
_ARM = "{{model}} {{experiment}}: {{arm}}"


def _of(more: str) -> str:
    return f'{{model=~"$model", {more}}}'


def _figure(*names: str) -> dict[str, str]:
    """Figures of performance, by their names; the legend has these where there are several."""
    return {
        f"penstock_performance_{name}{OF}": f"{_NAMED} {name}" if len(names) > 1 else _NAMED
        for name in names
    }


OUTCOMES = Dashboard(
    "penstock-outcomes",
    "Penstock: outcomes",
    (Variable("model", "label_values(penstock_concept_outcomes_total, model)"),),
    (
        Panel(
            "Is it still as right as it was?",
            {
                f"penstock_concept_verdict{OF} == 1": (
                    "{{model}}/{{version}} {{figure}}: {{verdict}}"
                )
            },
            height=6,
            kind="stat",
            text="Verdicts on the error rate and on calibration, against the first outcomes.",
        ),
        Panel(
            "Rises found in an hour",
            {
                f"sum by (model, version, test) (increase(penstock_concept_rises_total{OF}[1h]))": (
                    "{{model}}/{{version}} {{test}}"
                )
            },
            height=6,
            text="Page-Hinkley and ADWIN are quick, and wrong now and then.",
        ),
        Panel(
            "Outcomes in the window: n of the figures",
            {
                f"penstock_performance_outcomes{OF}": _NAMED,
                f"penstock_performance_answered{OF}": f"{_NAMED} answered",
            },
            height=6,
            text="The window is metrics.outcomes_window_s, by when outcomes became known.",
        ),
        Panel(
            "Error rate against its limit",
            {
                f"penstock_concept_error_rate{OF}": f"{_NAMED} newest",
                f"penstock_concept_error_rate_low{OF}": f"{_NAMED} at least",
                f"penstock_concept_error_rate_limit{OF}": f"{_NAMED} limit",
                f"penstock_concept_baseline_error_rate{OF}": f"{_NAMED} at first",
            },
            "percentunit",
            width=12,
        ),
        Panel(
            "Change of calibration against its limit",
            {
                f"penstock_concept_calibration_change{OF}": f"{_NAMED} newest",
                f"penstock_concept_calibration_change_limit{OF}": f"{_NAMED} limit",
            },
            width=12,
        ),
        Panel(
            "Accuracy, and where it lies for sure",
            {
                f"penstock_performance_accuracy{OF}": _NAMED,
                "penstock_performance_bound" + _of('figure="accuracy"'): f"{_NAMED} {{{{bound}}}}",
            },
            "percentunit",
            width=12,
            least=None,
        ),
        Panel("Precision, recall, F1", _figure("precision", "recall", "f1"), "percentunit", 12),
        Panel("ROC AUC", _figure("roc_auc"), least=None),
        Panel("Brier score and log-loss", _figure("brier", "log_loss")),
        Panel("Calibration error", _figure("ece", "calibration_gap")),
        Panel("Errors of values", _figure("mae", "rmse"), width=12),
        Panel("Bias of values", _figure("bias"), width=12, least=None),
        Panel("Outcomes per row answered", _figure("coverage"), "percentunit"),
        Panel("Time to an outcome", _figure("delay_mean_seconds", "delay_max_seconds"), "s"),
        Panel(
            "Outcomes a second, by what became of them",
            {f"sum by (result) (rate(penstock_outcomes_total{RATE}))": "{{result}}"},
        ),
        Panel(
            "Records of the ledger",
            {
                "sum(penstock_ledger_records)": "there",
                "sum(penstock_ledger_forgotten_records_total)": "forgotten",
                "sum(penstock_ledger_lost_records_total)": "lost",
            },
        ),
        Panel(
            "Experiments: difference to control, and where it lies for sure",
            {
                "penstock_experiment_bound" + _of('figure="difference"'): f"{_ARM} {{{{bound}}}}",
            },
            width=12,
            least=None,
        ),
        Panel(
            "Experiments: shares of arms",
            {f"penstock_experiment_arm_share{OF}": _ARM},
            "percentunit",
        ),
        Panel(
            "Arms without their shares",
            {f"sum(penstock_experiment_mismatch{OF})": "experiments"},
            width=4,
            kind="stat",
            text="Sample ratio mismatch: no figure of such an experiment is to be trusted.",
        ),
        Panel("Bytes of the ledger", {"penstock_ledger_bytes": "{{instance}}"}, "bytes"),
        Panel(
            "How far the ledger reaches back",
            {"time() - penstock_ledger_oldest_timestamp_seconds": "{{instance}}"},
            "s",
        ),
    ),
    since="now-24h",
)
