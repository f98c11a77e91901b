"""What `/metrics` says of routes: which version stands behind which variant, and its share.

Knows plans, what was pulled, and what of that no disk has taken yet. Knows nothing of how requests
are counted: series of versions are joined to these by `version`, so that no series of theirs has a
label more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from gateway.control.splits import Pull
from gateway.control.unwritten import Unwritten
from gateway.plan import Plan

LABELS = ["model", "variant", "version"]


def families(
    plan: Plan, pulled: Mapping[str, Mapping[int, Pull]], unwritten: Unwritten
) -> Iterator[Metric]:
    """Of every route that is divided; label values are bounded by the plan.

    Args:
        plan: the newest.
        pulled: by model and version.
        unwritten: of stops and pulls.
    """
    info = GaugeMetricFamily(
        "penstock_route_variant_info",
        "1 for each variant of a route and the version behind it, to join figures of versions on.",
        labels=LABELS,
    )
    share = GaugeMetricFamily(
        "penstock_route_variant_share",
        "Of a route's requests that name no version, the part that a variant gets.",
        labels=LABELS,
    )
    out = GaugeMetricFamily(
        "penstock_route_variant_pulled",
        "1 for each variant that gets no requests because it fails.",
        labels=LABELS,
    )
    waits = GaugeMetricFamily(
        "penstock_route_unwritten",
        "Stops and pulls of routes that are in force and that no disk has taken yet.",
        labels=["what"],
    )
    waits.add_metric(["stop"], len(unwritten.stops))
    waits.add_metric(["pull"], len(unwritten.pulls))
    for route in plan.routes:
        variants = () if route.split is None else route.split.variants
        total = sum(one.weight for one in variants)
        for one in variants:
            labels = [route.name, one.name, str(one.version)]
            info.add_metric(labels, 1.0)
            share.add_metric(labels, one.weight / total)
        for pull in pulled.get(route.name, {}).values():
            out.add_metric([route.name, pull.variant, str(pull.version)], 1.0)
    yield from (info, share, out, waits)
