"""A route serves as it is wanted, or as it last was; a stop goes before both."""

from __future__ import annotations

import pytest

from gateway import config
from gateway.control.splits import Stop, Wanted, basis, fault, settle
from gateway.plan import Route, Split, Variant

DOCUMENT = """
routes:
  m:
    variants: [{name: stable, alias: champion, weight: 9}, {name: canary, version: 5, weight: 1}]
    sticky: {header: x-user}
    overrides: {parameter: want}
"""
ROUTE = config.parse(DOCUMENT).routes["m"]
ALIASES = {"champion": 4}
DIVIDED = Split(
    (Variant("stable", 4, 9.0), Variant("canary", 5, 1.0)),
    sticky_header="x-user",
    override_parameter="want",
)
STOP = Stop(3, "", "somebody", "why", 1.0)


def serving(version: int, split: Split | None, *versions: int) -> Route:
    return Route("m", version, {one: f"m/{one}" for one in versions}, split)


def test_where_every_variant_serves_requests_are_divided():
    assert settle(Wanted(ROUTE), ALIASES, {4, 5, 6}, 6, None) == (4, DIVIDED)


def test_the_fallback_stands_for_the_route_and_else_the_heaviest():
    route = ROUTE.model_copy(update={"fallback": "canary"})
    assert settle(Wanted(route), ALIASES, {4, 5}, 4, None)[0] == 5


@pytest.mark.parametrize(
    ("aliases", "deployments"),
    [
        pytest.param(ALIASES, {3, 4}, id="one-does-not-serve"),
        pytest.param({}, {3, 4, 5}, id="an-alias-is-not-known"),
    ],
)
@pytest.mark.parametrize("split", [None, Split((Variant("old", 3, 1.0),))], ids=["plain", "split"])
def test_else_the_route_stays_as_it_last_was(aliases, deployments, split):
    before = serving(3, split, 3)
    assert settle(Wanted(ROUTE), aliases, deployments, 4, before) == (3, split)


def test_where_that_cannot_serve_any_more_the_main_variant_answers_alone():
    gone = serving(3, Split((Variant("old", 2, 1.0),)), 2, 3)
    assert settle(Wanted(ROUTE), ALIASES, {4}, 4, gone) == (4, None)
    assert settle(Wanted(ROUTE), ALIASES, {9}, 9, None) == (4, None)  # rather nothing than 9
    assert settle(Wanted(ROUTE), {}, {9}, 9, None) == (9, None)  # nobody knows which it is


def test_a_stop_goes_before_the_route_even_where_its_version_does_not_serve():
    named = Stop(4, "stable", "somebody", "", 1.0)
    alone = Split((Variant("stable", 4, 1.0),))
    assert settle(Wanted(ROUTE, named), ALIASES, {4, 5}, 5, None) == (4, alone)
    assert settle(Wanted(ROUTE, STOP), ALIASES, {3, 4, 5}, 5, None) == (3, None)
    assert settle(Wanted(ROUTE, STOP), ALIASES, {4, 5}, 5, serving(4, DIVIDED, 4, 5)) == (3, None)
    assert settle(Wanted(None, STOP), {}, {3, 9}, 9, None) == (3, None)


def test_a_fault_says_which_variant_and_why():
    assert fault(ROUTE, ALIASES, {4, 5}, {}) == ""
    assert fault(ROUTE, {}, {4}, {5: "not an ONNX file"}) == (
        "variants[0] (stable): its model has no alias 'champion'; "
        "variants[1] (canary): version 5 does not serve: not an ONNX file"
    )
    assert fault(ROUTE, ALIASES, {4}, {}).endswith("its model has no such version")


def test_who_leads_begins_with_the_route_or_with_the_version_that_serves():
    assert basis(Wanted(ROUTE), 9) == ROUTE
    (alone,) = basis(Wanted(), 9).variants
    assert (alone.name, alone.version, alone.weight) == ("baseline", 9, 1.0)
