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
    text = "Compared answers of a language model that differ in this from a shadow's."
    differ = CounterMetricFamily("penstock_shadow_differences", text, labels=[*labels, "aspect"])
    text = "Output tokens of answers that a shadow has given, too, by whose they are."
    tokens = CounterMetricFamily("penstock_shadow_paired_tokens", text, labels=[*labels, "of"])
    text = "Cost of answers that a shadow has given, too, by whose they are."
    cost = CounterMetricFamily("penstock_shadow_paired_cost_usd", text, labels=[*labels, "of"])
    sums = {"output_tokens": tokens, "cost_usd": cost}
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
        if pairs.answers is not None:
            for aspect in pairs.answers.aspects:
                differ.add_metric((*versions, aspect.name), aspect.count)
            for measure in pairs.answers.measures:
                if measure.name in sums:
                    sums[measure.name].add_metric((*versions, "answered"), measure.sums[0])
                    sums[measure.name].add_metric((*versions, "shadow"), measure.sums[1])
    yield from (share, rows, other, took, both, differ, tokens, cost)
