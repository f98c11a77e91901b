"""What `/metrics` says of contracts: names, labels and units.

Knows breaches. Knows nothing of how they are counted.

Series are bounded whatever a model's width: the first columns of a contract have their own, up to a
limit, and the rest one together for each rule, so that what a series is about never changes. A rule
that nothing broke has no sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, Metric

from gateway.control.contracts import Breaches

OTHER = "other"


def families(found: Sequence[Breaches], max_features: int) -> Iterator[Metric]:
    """All metrics of all versions; so many columns of each have series of their own."""
    labels = ["model", "version"]
    text = "Rows that were held against their contract."
    rows = CounterMetricFamily("penstock_contract_rows", text, labels=labels)
    text = "Rows that could not be held against their contract, and passed."
    skipped = CounterMetricFamily("penstock_contract_skipped_rows", text, labels=labels)
    text = "Values that broke their contract, by the rule that they broke."
    broken = CounterMetricFamily(
        "penstock_contract_violations", text, labels=[*labels, "feature", "rule"]
    )
    for one in found:
        version = (one.model, str(one.version))
        rows.add_metric(version, one.rows)
        skipped.add_metric(version, one.skipped_rows)
        named = set(one.names[:max_features])
        counts: Counter[tuple[str, str]] = Counter()
        for feature, rule, count in one.lines():
            counts[feature if feature in named else OTHER, rule] += count
        for (feature, rule), count in counts.items():
            broken.add_metric((*version, feature, rule), count)
    yield from (rows, skipped, broken)
