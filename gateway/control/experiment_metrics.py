"""What `/metrics` says of experiments under way: names, labels and units.

Knows experiments and their newest figures. Knows nothing of how these are made. One that is over
has no series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric

from gateway.control.experiment_store import Experiment

_ARM: Final = ["experiment", "model", "arm"]


def families(found: Mapping[int, Experiment]) -> Iterator[Metric]:
    """All metrics of all that are under way."""
    info = GaugeMetricFamily(
        "penstock_experiment_info",
        "1 for each experiment under way, and what it is judged by.",
        labels=["experiment", "model", "kind", "measure"],
    )
    started = GaugeMetricFamily(
        "penstock_experiment_start_timestamp_seconds",
        "When it began.",
        labels=["experiment", "model"],
    )
    for one in found.values():
        its = [str(one.number), one.model]
        info.add_metric([*its, one.given.spec.kind, one.given.spec.measure.name], 1)
        started.add_metric(its, one.given.at)
    yield from (info, started)
    yield from _of_arms(found)
    yield _mismatch(found)


def _of_arms(found: Mapping[int, Experiment]) -> Iterator[Metric]:
    share = GaugeMetricFamily(
        "penstock_experiment_arm_share", "Of requests, that an arm gets.", labels=_ARM
    )
    rows = GaugeMetricFamily(
        "penstock_experiment_arm_rows", "Rows of an arm whose number is known.", labels=_ARM
    )
    mean = GaugeMetricFamily("penstock_experiment_arm_mean", "Of these numbers.", labels=_ARM)
    text = "Where an arm's mean, or its difference to control, lies at all times at once."
    bound = GaugeMetricFamily("penstock_experiment_bound", text, labels=[*_ARM, "figure", "bound"])
    for one in found.values():
        for name, value in one.stand.shares.items():
            share.add_metric([str(one.number), one.model, name], value)
        for arm in _arms(one):
            its, estimate = [str(one.number), one.model, arm["name"]], arm["estimate"]
            rows.add_metric(its, estimate["n"])
            if estimate["mean"] is not None:
                mean.add_metric(its, estimate["mean"])
            for figure, ends in (("mean", estimate), ("difference", arm.get("vs_control"))):
                for which in ("low", "high"):
                    if ends is not None and ends[which] is not None:
                        bound.add_metric([*its, figure, which], ends[which])
    yield from (share, rows, mean, bound)


def _arms(one: Experiment) -> list[Mapping[str, Any]]:
    report = one.stand.report
    if report is None:
        return []
    found: list[Mapping[str, Any]] = report.get("measure", report)["arms"]
    return found


def _mismatch(found: Mapping[int, Experiment]) -> Metric:
    text = "1 where arms do not get their shares, and no figure is to be trusted."
    family = GaugeMetricFamily("penstock_experiment_mismatch", text, labels=["experiment", "model"])
    for one in found.values():
        if one.stand.report is not None and "mismatch" in one.stand.report:
            alarm = one.stand.report["mismatch"]["alarm"]
            family.add_metric([str(one.number), one.model], float(alarm))
    return family
