"""What `/metrics` says of rollouts: names, labels and units.

Knows how far rollouts have come. Knows nothing of how they go on. Those that are over are counted,
and have no other series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.control.rollout_store import Rollout
from gateway.rollouts import shares
from gateway.rollouts.judgements import Judgement

Live = Sequence[tuple[Rollout, Sequence[Judgement]]]


def families(live: Live, ended: Mapping[str, int]) -> Iterator[Metric]:
    """All metrics of all rollouts.

    Args:
        live: those under way, and how each was judged last.
        ended: how many came to which end since control was started.
    """
    labels = ["model", "version"]  # of the candidate
    text = "A rollout that is under way, by its state."
    state = GaugeMetricFamily("penstock_rollout_state", text, labels=[*labels, "state"])
    text = "The step that a rollout is in, from 1 on."
    step = GaugeMetricFamily("penstock_rollout_step", text, labels=labels)
    text = "Share of the baseline's requests that a candidate is to have."
    share = GaugeMetricFamily("penstock_rollout_candidate_ratio", text, labels=labels)
    text = "What a guard of a rollout says, by its verdict."
    guard = GaugeMetricFamily("penstock_rollout_guard", text, labels=[*labels, "guard", "verdict"])
    for rollout, judgements in live:
        version = (rollout.given.model, str(rollout.given.candidate))
        state.add_metric((*version, rollout.stand.state), 1)
        step.add_metric(version, rollout.stand.step + 1)
        share.add_metric(version, shares.percent(rollout.given, rollout.stand) / 100.0)
        for one in judgements:
            guard.add_metric((*version, one.guard, one.verdict), 1)
    text = "Rollouts that ended, by how, since control was started."
    results = CounterMetricFamily("penstock_rollouts_ended", text, labels=["result"])
    for result, count in sorted(ended.items()):
        results.add_metric((result,), count)
    yield from (state, step, share, guard, results)
