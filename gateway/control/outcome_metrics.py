"""What `/metrics` says of outcomes and of the ledger: names, labels and units.

Knows how versions stand. Knows nothing of how that is made. Series are bounded: some 60 a version
that serves. A figure that does not exist has no sample, and a server without a ledger has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.control.outcome_figures import performance_figure
from gateway.control.standings import Standing, Version, Window
from gateway.outcomes.concept import VERDICTS, Figure, Judged

_VERSION: Final = ["model", "version"]
Standings = Mapping[Version, Standing]

_LEDGER: Final = (
    ("ledger_records", "records", "Rows whose record is there."),
    ("ledger_bytes", "bytes", "Of its files."),
    (
        "ledger_oldest_timestamp_seconds",
        "oldest",
        "When the oldest record's row was answered, since 1970.",
    ),
    ("outcomes_waiting", "waiting", "Outcomes whose record is not there yet."),
)
_LEDGER_COUNTS: Final = (
    ("ledger_forgotten_records", "forgotten_records", "Records that had to go, ever."),
    ("ledger_lost_records", "lost_records", "Records overwritten before they were kept."),
    ("ledger_skipped_rows", "skipped_rows", "Rows answered without a record."),
    (
        "outcomes_refused_numbers",
        "refused_numbers",
        "Numbers of metrics that their model is not to have, or that there was no room for.",
    ),
)
_FIGURES: Final = (
    ("outcomes", "Outcomes that became known in the window: n of the figures."),
    ("answered", "Rows answered in the window."),
    ("coverage", "Outcomes that became known per row answered meanwhile."),
    ("delay_mean_s", "From an answer to its outcome, on average."),
    ("delay_max_s", "The longest from an answer to its outcome."),
    ("accuracy", "Share of outcomes that were predicted."),
    ("error_rate", "Share of outcomes that were not predicted."),
    ("precision", "Of those predicted positive, the share that were; mean over classes."),
    ("recall", "Of the positive ones, the share predicted; mean over classes."),
    ("f1", "Harmonic mean of precision and recall; mean over classes."),
    ("log_loss", "Nats an outcome."),
    ("brier", "Mean squared error of the probability."),
    ("roc_auc", "Chance that a positive one scores higher, from 960 bins."),
    ("ece", "Expected calibration error, 15 bins of equal width."),
    ("calibration_gap", "Mean score less mean outcome, without its sign."),
    ("mae", "Mean absolute error of values."),
    ("rmse", "Root of the mean squared error of values."),
    ("bias", "Mean of prediction minus outcome."),
    ("r2", "Share of the outcomes' variance that is explained."),
)
_CONCEPT: Final[tuple[tuple[str, str, Callable[[Judged], float | None]], ...]] = (
    (
        "baseline_error_rate",
        "Share of a version's first outcomes that were not predicted.",
        lambda one: one.baseline_error_rate,
    ),
    ("error_rate", "Of the newest outcomes.", lambda one: one.error_rate.value),
    ("error_rate_low", "What that is at least.", lambda one: one.error_rate.low),
    ("error_rate_limit", "What is above it raises an alarm.", lambda one: one.error_rate.limit),
    (
        "calibration_change",
        "By how much gaps between scores and outcomes have moved.",
        lambda one: None if one.calibration is None else one.calibration.value,
    ),
    (
        "calibration_change_limit",
        "What is above it raises an alarm.",
        lambda one: None if one.calibration is None else one.calibration.limit,
    ),
)


def families(
    ledger: Mapping[str, Any] | None, standings: Standings, window_s: float
) -> Iterator[Metric]:
    """All metrics.

    Args:
        ledger: what it holds, as `GET /api/outcomes` tells it; None: there is none.
        standings: of the versions that serve.
        window_s: how far figures look back.
    """
    if ledger is None:
        return
    yield from _of_ledger(ledger)
    text = "How far figures of outcomes look back: to those that became known since."
    window = GaugeMetricFamily("penstock_performance_window_seconds", text)
    window.add_metric([], window_s)
    yield window
    windows = {
        (model, str(version)): one.windows[window_s]
        for (model, version), one in sorted(standings.items())
        if window_s in one.windows
    }
    yield from _performance(windows)
    concepts = {
        (model, str(version)): one.concept for (model, version), one in sorted(standings.items())
    }
    yield from _concept(concepts)


def _of_ledger(ledger: Mapping[str, Any]) -> Iterator[Metric]:
    for name, field, text in _LEDGER:
        gauge = GaugeMetricFamily(f"penstock_{name}", text)
        if ledger[field] is not None:
            gauge.add_metric([], ledger[field])
        yield gauge
    for name, field, text in _LEDGER_COUNTS:
        counter = CounterMetricFamily(f"penstock_{name}", text)
        counter.add_metric([], ledger[field])
        yield counter
    text = "Outcomes that came in, by what became of them; those that waited count twice."
    results = CounterMetricFamily("penstock_outcomes", text, labels=["result"])
    for result, count in ledger["outcomes"].items():
        results.add_metric([result], count)
    yield results


def _performance(windows: Mapping[tuple[str, str], Window]) -> Iterator[Metric]:
    for name, text in _FIGURES:
        told = name.removesuffix("_s") + ("_seconds" if name.endswith("_s") else "")
        family = GaugeMetricFamily(f"penstock_performance_{told}", text, labels=_VERSION)
        for version, window in windows.items():
            value = performance_figure(name, window)
            if value is not None:
                family.add_metric(version, value)
        yield family
    text = "Where a figure lies with probability 0.95, at all times at once."
    bounds = GaugeMetricFamily(
        "penstock_performance_bound", text, labels=[*_VERSION, "figure", "bound"]
    )
    shown = {name for name, _ in _FIGURES}
    for version, window in windows.items():
        for name, ends in window.found.intervals.items():
            if ends is not None and name in shown:
                for which, value in zip(("low", "high"), ends, strict=True):
                    bounds.add_metric((*version, name, which), value)
    yield bounds


def _concept(concepts: Mapping[tuple[str, str], Judged]) -> Iterator[Metric]:
    for name, text, value_of in _CONCEPT:
        family = GaugeMetricFamily(f"penstock_concept_{name}", text, labels=_VERSION)
        for version, one in concepts.items():
            value = value_of(one)
            if value is not None:
                family.add_metric(version, value)
        yield family
    text = "Rows whose outcome came in, each once."
    outcomes = CounterMetricFamily("penstock_concept_outcomes", text, labels=_VERSION)
    text = "1 for the verdict on a version's error rate, or its calibration; 0 for the others."
    verdicts = GaugeMetricFamily(
        "penstock_concept_verdict", text, labels=[*_VERSION, "figure", "verdict"]
    )
    text = "Times that a verdict became drift."
    alarms = CounterMetricFamily("penstock_concept_alarms", text, labels=[*_VERSION, "figure"])
    text = "Rises that Page and Hinkley's test or ADWIN found; without a bound on false ones."
    rises = CounterMetricFamily("penstock_concept_rises", text, labels=[*_VERSION, "test", "loss"])
    for version, one in concepts.items():
        outcomes.add_metric(version, one.outcomes)
        for name, figure in _judged(one):
            alarms.add_metric((*version, name), figure.alarms)
            for verdict in VERDICTS:
                verdicts.add_metric((*version, name, verdict), float(verdict == figure.verdict))
        for key, test in one.tests.items():
            name, _, loss = key.rpartition("_")
            rises.add_metric((*version, name, loss), test.rises)
    yield from (outcomes, verdicts, alarms, rises)


def _judged(one: Judged) -> Iterator[tuple[str, Figure]]:
    yield "error_rate", one.error_rate
    if one.calibration is not None:
        yield "calibration", one.calibration
