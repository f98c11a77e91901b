"""Which version stands behind which variant, for whoever joins figures on it."""

from __future__ import annotations

from gateway.control.route_metrics import families
from gateway.control.splits import Pull
from gateway.control.unwritten import Unwritten
from gateway.plan import Plan, Route, Split, Variant


def test_variants_are_told_with_their_versions_and_shares_and_those_that_were_pulled():
    split = Split((Variant("stable", 3, 3.0), Variant("canary", 4, 1.0)))
    routes = (Route("m", 3, {3: "a", 4: "b"}, split), Route("plain", 1, {1: "c"}))
    pulled = {"m": {5: Pull(5, "third", "why", 1.0, {})}, "gone": {1: Pull(1, "x", "", 1.0, {})}}
    unwritten = Unwritten()
    unwritten.pull("m", pulled["m"][5])
    found = {
        family.name: {tuple(s.labels.values()): s.value for s in family.samples}
        for family in families(Plan(1, (), routes), pulled, unwritten)
    }
    assert found == {
        "penstock_route_variant_info": {("m", "stable", "3"): 1.0, ("m", "canary", "4"): 1.0},
        "penstock_route_variant_share": {("m", "stable", "3"): 0.75, ("m", "canary", "4"): 0.25},
        "penstock_route_variant_pulled": {("m", "third", "5"): 1.0},
        "penstock_route_unwritten": {("stop",): 0.0, ("pull",): 1.0},
    }
