"""What `/metrics` says of drift: names, labels and units, from evaluated windows.

Knows columns and their figures. Knows nothing of how figures are made, or how often.

Series are bounded whatever a model's width: of each role (`feature`, `output`) of a version, all
columns up to a limit; where there are more, those with the most evidence, and the number of others.
Which those are rests while there is no evidence: nothing but evidence worth a look moves a column
up, so that noise does not make new series every second. A figure that does not exist has no sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway import config
from gateway.control.drift import Evaluated
from gateway.drift.baseline import Counts, Floats, joined
from gateway.drift.figures import QUANTILES
from gateway.drift.reference import Reference
from gateway.drift.verdict import VERDICTS, overall
from gateway.profiles.live import ROWS, SKIPPED
from gateway.profiles.values import FEATURE, OUTPUT, Column, Profile

_VERSION: Final = ["model", "version"]
_ROLE: Final = [*_VERSION, "role"]
_COLUMN: Final = [*_ROLE, "feature"]

Value = Callable[[Evaluated], Floats]
_FIGURES: Final[tuple[tuple[str, str, Value], ...]] = (
    (
        "drift_psi",
        "Population stability index against the reference, in nats.",
        lambda e: e.figures.psi,
    ),
    (
        "drift_psi_null_p95",
        "What PSI stays below in 95 of 100 such windows without drift.",
        lambda e: e.figures.psi_null_p95,
    ),
    (
        "drift_ks",
        "Kolmogorov and Smirnov's distance, at the edges of bins; none for categories.",
        lambda e: e.figures.ks,
    ),
    (
        "drift_ks_bound",
        "What that distance of the values themselves is at most.",
        lambda e: e.figures.ks_bound,
    ),
    (
        "drift_js",
        "Jensen-Shannon distance (a root, natural logarithm): 0 to 0.83.",
        lambda e: e.figures.js,
    ),
    (
        "drift_wasserstein",
        "Wasserstein-1 distance in standard deviations of the reference; none for categories.",
        lambda e: e.figures.wasserstein,
    ),
    (
        "drift_log10_e",
        "Evidence of drift: log10 of the e-value; none in the first seconds of traffic.",
        lambda e: e.figures.judgement.log10_e,
    ),
    (
        "drift_window_rows",
        "Values in the window, missing ones included.",
        lambda e: e.figures.rows.astype(float),
    ),
    (
        "feature_missing_ratio",
        "NaN and missing values, of all in the window.",
        lambda e: e.figures.missing_ratio,
    ),
    (
        "feature_unseen_ratio",
        "Categories that the reference does not have, of all values in the window.",
        lambda e: e.figures.unseen_ratio,
    ),
    (
        "feature_out_of_range_ratio",
        "Values below or above all of the reference's, of all in the window.",
        lambda e: e.figures.below_ratio + e.figures.above_ratio,
    ),
    (
        "feature_infinite_ratio",
        "Infinities, of all values in the window.",
        lambda e: e.figures.infinite_ratio,
    ),
    (
        "feature_wrong_type_ratio",
        "Values of a type that cannot be counted, of all in the window.",
        lambda e: e.figures.wrong_type_ratio,
    ),
    (
        "feature_mean",
        "Mean of the finite values in the window; of an output, the mean prediction.",
        lambda e: e.figures.mean,
    ),
    (
        "feature_std",
        "Standard deviation of the finite values in the window (divided by n).",
        lambda e: e.figures.std,
    ),
)
_OF_REFERENCE: Final[tuple[tuple[str, str, Callable[[Column], float | None]], ...]] = (
    (
        "feature_reference_mean",
        "Mean of the finite values of the reference.",
        lambda column: column.moments.mean,
    ),
    (
        "feature_reference_missing_ratio",
        "NaN and missing values, of all in the reference.",
        lambda column: column.missing / max(1, column.rows),
    ),
)


def families(
    evaluated: Sequence[Evaluated], settings: config.Metrics, took_s: float
) -> Iterator[Metric]:
    """All metrics of all versions.

    Args:
        evaluated: windows, one a version.
        settings: how many columns are told of.
        took_s: what evaluating them took.
    """
    text = "How far the figures of drift and quality look back."
    yield _single("drift_window_seconds", text, settings.window_s)
    text = "What evaluating all columns of all watched models last took."
    yield _single("drift_evaluation_seconds", text, took_s)
    shown = [(one, _listed(one, settings.max_features)) for one in evaluated]
    yield from _versions(evaluated)
    yield from _roles(shown)
    yield from _columns(shown)
    yield from _bins(evaluated, settings.bins)


# ---- which columns, and what they are called -----------------------------------------------------


def names_of(profile: Profile) -> list[str]:
    """What each column is called: by its own name, or with its frame's where two have that."""
    found = list(profile.columns())
    many = Counter((frame.role, column.name) for frame, column in found)
    return [
        column.name if many[frame.role, column.name] == 1 else f"{frame.name}.{column.name}"
        for frame, column in found
    ]


def _listed(one: Evaluated, limit: int) -> dict[str, list[int]]:
    """Places of the columns that are told of, by role."""
    least = one.rules.watch_log10_e
    evidence = np.nan_to_num(one.figures.judgement.log10_e, nan=least, posinf=np.inf)
    order = np.argsort(-np.maximum(evidence, least), kind="stable")
    by_role: dict[str, list[int]] = {FEATURE: [], OUTPUT: []}
    columns = one.reference.columns
    for place in order.tolist():
        by_role[columns[place][0].role].append(place)
    return {role: sorted(places[:limit]) for role, places in by_role.items()}


def _version(one: Evaluated) -> tuple[str, str]:
    return one.about.model, str(one.about.version)


# ---- families ------------------------------------------------------------------------------------


def _single(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(f"penstock_{name}", text)
    family.add_metric([], value)
    return family


def _versions(evaluated: Sequence[Evaluated]) -> Iterator[Metric]:
    rows = CounterMetricFamily(
        "penstock_drift_rows", "Rows whose values were counted.", labels=_VERSION
    )
    text = "Rows whose values could not be counted."
    skipped = CounterMetricFamily("penstock_drift_skipped_rows", text, labels=_VERSION)
    text = "Rows of the reference."
    reference = GaugeMetricFamily("penstock_drift_reference_rows", text, labels=_VERSION)
    labels = [*_VERSION, "reference", "self_referenced"]
    text = "SHA-256 of the reference profile, and whether it is the model's own first rows; 1."
    info = GaugeMetricFamily("penstock_drift_reference_info", text, labels=labels)
    for one in evaluated:
        profile, total = one.reference.profile, one.total
        rows.add_metric(_version(one), float(total[ROWS]))
        skipped.add_metric(_version(one), float(total[SKIPPED]))
        reference.add_metric(_version(one), profile.rows)
        own = str(profile.self_referenced).lower()
        info.add_metric((*_version(one), one.about.digest, own), 1)
    yield from (rows, skipped, reference, info)


def _roles(shown: Sequence[tuple[Evaluated, Mapping[str, list[int]]]]) -> Iterator[Metric]:
    """What is said of all columns of a role, those included that are not listed."""
    labels = [*_ROLE, "verdict"]
    text = "Features, or outputs, by verdict."
    verdicts = GaugeMetricFamily("penstock_drift_features", text, labels=labels)
    text = "1 for the most alarming verdict of a version's features, or of its outputs."
    worst = GaugeMetricFamily("penstock_drift_version_verdict", text, labels=labels)
    text = "Features, or outputs, that have no series: others show more evidence."
    others = GaugeMetricFamily("penstock_drift_features_unlisted", text, labels=_ROLE)
    for one, listed in shown:
        columns = one.reference.columns
        for role, places in listed.items():
            found = [
                str(verdict)
                for (frame, _), verdict in zip(columns, one.figures.judgement.verdicts, strict=True)
                if frame.role == role
            ]
            if not found:
                continue
            key = (*_version(one), role)
            for verdict in VERDICTS:
                verdicts.add_metric((*key, verdict), found.count(verdict))
                worst.add_metric((*key, verdict), float(verdict == overall(found)))
            others.add_metric(key, len(found) - len(places))
    yield from (verdicts, worst, others)


def _columns(shown: Sequence[tuple[Evaluated, Mapping[str, list[int]]]]) -> Iterator[Metric]:
    keyed = []
    for one, listed in shown:
        names = names_of(one.reference.profile)
        for role, places in listed.items():
            keys = [(*_version(one), role, names[place]) for place in places]
            keyed.append((one, places, keys))
    for name, text, value in _FIGURES:
        family = GaugeMetricFamily(f"penstock_{name}", text, labels=_COLUMN)
        for one, places, keys in keyed:
            for key, number in zip(keys, value(one)[places].tolist(), strict=True):
                if np.isfinite(number):
                    family.add_metric(key, number)
        yield family
    for name, text, value_of in _OF_REFERENCE:
        family = GaugeMetricFamily(f"penstock_{name}", text, labels=_COLUMN)
        for one, places, keys in keyed:
            for key, place in zip(keys, places, strict=True):
                constant = value_of(one.reference.columns[place][1])
                if constant is not None:
                    family.add_metric(key, constant)
        yield family
    text = "1 for a column's verdict, 0 for the others."
    verdicts = GaugeMetricFamily("penstock_drift_verdict", text, labels=[*_COLUMN, "verdict"])
    text = "What so large a share of an output's values stays below, within a bin."
    labels = [*_VERSION, "output", "share"]
    quantiles = GaugeMetricFamily("penstock_output_quantile", text, labels=labels)
    for one, places, keys in keyed:
        for place, key in zip(places, keys, strict=True):
            mine = str(one.figures.judgement.verdicts[place])
            for verdict in VERDICTS:
                verdicts.add_metric((*key, verdict), float(verdict == mine))
            model, version, role, name = key
            if role == OUTPUT:
                for share, number in zip(
                    QUANTILES, one.figures.quantiles[place].tolist(), strict=True
                ):
                    if np.isfinite(number):
                        quantiles.add_metric((model, version, name, str(share)), number)
    yield from (verdicts, quantiles)


# ---- bins ----------------------------------------------------------------------------------------


def _bins(evaluated: Sequence[Evaluated], wanted: Mapping[str, Sequence[str]]) -> Iterator[Metric]:
    labels = [*_COLUMN, "bin"]
    text = "Values counted in a column's bins, joined to 10 at most; see the reference's shares."
    counts = CounterMetricFamily("penstock_feature_bin", text, labels=labels)
    text = "Share of such a bin in the reference, and which values it holds."
    shares = GaugeMetricFamily("penstock_feature_reference_share", text, labels=[*labels, "holds"])
    for one in evaluated:
        reference = one.reference
        asked = set(wanted.get(one.about.model, ()))
        names = names_of(reference.profile) if asked else []
        places = [place for place, name in enumerate(names) if name in asked]
        if not places:
            continue
        live = reference.bins_of(one.total)[places]
        found = joined(live, reference.baseline.group_of[places])
        for place, row in zip(places, found.tolist(), strict=True):
            frame, _ = reference.columns[place]
            key = (*_version(one), frame.role, names[place])
            for group in range(reference.baseline.groups[place]):
                counts.add_metric((*key, str(group)), float(row[group]))
                share = float(reference.baseline.shares[place, group])
                shares.add_metric((*key, str(group), holds(reference, place, group)), share)
    yield from (counts, shares)


def holds(reference: Reference, place: int, group: int) -> str:
    """Which values the joined bin of a column holds, for people."""
    _, column = reference.columns[place]
    bins: Counts = np.flatnonzero(reference.baseline.group_of[place, : column.bins] == group)
    first, last = int(bins[0]), int(bins[-1])
    if not reference.numeric[place] or column.kind != "numeric":
        if len(bins) > 1:
            return "others"
        return str(column.categories[first]) if column.categories else f"bucket {first}"
    edges = reference.edges[place]
    below = f"{edges[first]:.6g} < x" if first else "x"
    above = f" <= {edges[last + 1]:.6g}" if last + 1 < column.bins else ""
    return f"{below}{above}" if below != "x" or above else "all"
