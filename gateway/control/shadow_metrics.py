"""What `/metrics` says of shadows: names, labels and units.

Knows readings of pairs. Knows nothing of how they are counted. Routes that never had a shadow have
no series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.control.shadows import Reading


def families(found: Sequence[Reading]) -> Iterator[Metric]:
    """All metrics of all pairs of versions."""
    labels = ["model", "version", "shadow"]
    text = "Share of requests whose copies a shadow runs; 0 where it did."
    share = GaugeMetricFamily("penstock_shadow_share", text, labels=labels)
    text = "Rows that were answered and copied for a shadow, by what became of them."
    rows = CounterMetricFamily("penstock_shadow_rows", text, labels=[*labels, "result"])
    text = "Compared rows of which a shadow says something else."
    other = CounterMetricFamily("penstock_shadow_disagreements", text, labels=labels)
    text = "Processor time of a shadow's runs."
    took = CounterMetricFamily("penstock_shadow_run_seconds", text, labels=labels)
    text = "Processor time of runs that both versions made for comparison, by whose it is."
    both = CounterMetricFamily("penstock_shadow_paired_seconds", text, labels=[*labels, "of"])
    for one in found:
        versions, pairs = (one.model, str(one.answered), str(one.shadow)), one.pairs
        share.add_metric(versions, one.share)
        for result, count in (
            ("compared", pairs.rows),
            ("dropped", pairs.dropped),
            ("failed", pairs.failed),
            ("unlike", pairs.unlike),
        ):
            rows.add_metric((*versions, result), count)
        other.add_metric(versions, pairs.disagreeing)
        took.add_metric(versions, pairs.run_s)
        both.add_metric((*versions, "answered"), pairs.paired_s[0])
        both.add_metric((*versions, "shadow"), pairs.paired_s[1])
    yield from (share, rows, other, took, both)
