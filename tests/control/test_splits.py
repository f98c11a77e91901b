"""A route serves as it is wanted, or as it last was; a stop goes before both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway import config
from gateway.control.splits import Pull, Stop, Wanted, basis, fault, odd_ones, settle
from gateway.plan import Route, Shadow, Split, Variant
from gateway.tensors import Signature, TensorSpec

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


SHADOWED = ROUTE.model_copy(
    update={"shadows": [config.Shadow(alias="next", share=0.5), config.Shadow(version=7)]}
)


def test_shadows_that_serve_get_copies_and_those_that_do_not_keep_nobody_waiting():
    both = settle(Wanted(SHADOWED), {**ALIASES, "next": 6}, {4, 5, 6, 7}, 4, None)
    assert both == (4, replace(DIVIDED, shadows=(Shadow(6, 0.5), Shadow(7, 1.0))))
    one = settle(Wanted(SHADOWED), {**ALIASES, "next": 6}, {4, 5, 7}, 4, None)
    assert one == (4, replace(DIVIDED, shadows=(Shadow(7, 1.0),)))
    assert fault(SHADOWED, ALIASES, {4, 5}, {7: "quarantined"}) == (
        "shadows[0]: its model has no alias 'next'; shadows[1]: version 7 does not serve:"
        " quarantined"
    )


def test_a_shadow_that_takes_other_tensors_gets_no_copies_and_the_difference_is_named():
    aliases = {**ALIASES, "next": 6}
    odd = odd_ones(SHADOWED, aliases, {4: signature(4), 6: signature(5), 7: signature(4)})
    _, split = settle(Wanted(SHADOWED), aliases, {4, 5, 6, 7}, 4, None, odd)
    assert split == replace(DIVIDED, shadows=(Shadow(7, 1.0),))
    assert fault(SHADOWED, aliases, {4, 5, 6, 7}, {}, (), odd) == (
        "shadows[0]: version 6 differs from the fallback's:"
        " input 'x': FP32 [-1, 4] before, FP32 [-1, 5] now"
    )


def test_a_version_that_two_shadows_name_gets_one_copy():
    _, split = settle(Wanted(SHADOWED), {**ALIASES, "next": 7}, {4, 5, 7}, 4, None)
    assert split == replace(DIVIDED, shadows=(Shadow(7, 0.5),))


def test_a_route_that_stays_as_it_was_goes_on_without_shadows_that_are_gone():
    before = serving(4, replace(DIVIDED, shadows=(Shadow(6, 1.0), Shadow(7, 1.0))), 4, 5, 6, 7)
    _, split = settle(Wanted(SHADOWED), {"champion": 9}, {4, 5, 7}, 4, before)
    assert split == replace(DIVIDED, shadows=(Shadow(7, 1.0),))


def test_who_leads_begins_with_the_route_or_with_the_version_that_serves():
    assert basis(Wanted(ROUTE), 9) == ROUTE
    (alone,) = basis(Wanted(), 9).variants
    assert (alone.name, alone.version, alone.weight) == ("baseline", 9, 1.0)


BAD = {5: Pull(5, "canary", "10 failures in a row", 1.0, {})}


def test_a_pulled_version_gets_nothing_and_who_asks_for_it_is_answered_by_the_main_one():
    version, split = settle(Wanted(ROUTE, pulled=BAD), ALIASES, {4, 5}, 5, None)
    assert version == 4
    assert split == Split(
        (Variant("stable", 4, 9.0),),
        sticky_header="x-user",
        override_parameter="want",
        instead={"canary": "stable", "5": "stable"},
    )


def test_what_was_pulled_need_not_serve():
    assert settle(Wanted(ROUTE, pulled=BAD), ALIASES, {4}, 5, None)[1] is not None
    assert fault(ROUTE, ALIASES, {4}, {5: "quarantined"}, {5}) == ""


def test_others_keep_their_weights_against_each_other():
    variants = [
        {"name": "a", "version": 1, "weight": 3},
        {"name": "b", "version": 2, "weight": 1},
        {"name": "bad", "version": 5, "weight": 4},
    ]
    route = config.Route.model_validate({"variants": variants, "fallback": "a"})
    _, split = settle(Wanted(route, pulled=BAD), {}, {1, 2, 5}, 5, None)
    assert split is not None
    assert split.variants == (Variant("a", 1, 3.0), Variant("b", 2, 1.0))


def test_where_all_that_is_left_has_no_weight_the_main_one_answers_alone():
    weights = {"stable": 0.0, "canary": 1.0}
    variants = [one.model_copy(update={"weight": weights[one.name]}) for one in ROUTE.variants]
    route = ROUTE.model_copy(update={"variants": variants, "fallback": "stable"})
    _, split = settle(Wanted(route, pulled=BAD), ALIASES, {4, 5}, 5, None)
    assert split is not None
    assert split.variants == (Variant("stable", 4, 1.0),)


def test_what_stands_for_the_route_stays_whatever_was_pulled():
    main = {4: Pull(4, "stable", "why", 1.0, {})}
    assert settle(Wanted(ROUTE, pulled=main), ALIASES, {4, 5}, 5, None) == (4, DIVIDED)


def test_a_pull_holds_while_the_route_stays_as_it_last_was():
    before = serving(4, DIVIDED, 4, 5)
    other = ROUTE.model_copy(
        update={"variants": [*ROUTE.variants, config.Variant(name="third", version=6, alias=None)]}
    )
    version, split = settle(Wanted(other, pulled=BAD), ALIASES, {4, 5}, 5, before)
    assert split is not None
    assert (version, split.variants) == (4, (Variant("stable", 4, 9.0),))
    again = settle(Wanted(other, pulled=BAD), ALIASES, {4, 5}, 5, serving(4, split, 4, 5))
    assert again == (4, split)


def test_a_pulled_version_is_no_shadow_either():
    shadows = [{"version": 5}, {"version": 6}]
    plain = config.Route.model_validate(
        {"variants": [{"name": "stable", "version": 4}], "shadows": shadows}
    )
    _, split = settle(Wanted(plain, pulled=BAD), {}, {4, 5, 6}, 6, None)
    assert split is not None
    assert [one.version for one in split.shadows] == [6]


def test_a_stop_goes_before_a_pull():
    stop = Stop(5, "canary", "somebody", "", 1.0)
    alone = Split((Variant("canary", 5, 1.0),))
    assert settle(Wanted(ROUTE, stop, pulled=BAD), ALIASES, {4, 5}, 4, None) == (5, alone)


def signature(features: int) -> Signature:
    x = TensorSpec("x", "FP32", (-1, features))
    return Signature((x,), (TensorSpec("y", "FP32", (-1, 2)),), True)


def test_variants_that_take_other_tensors_are_not_divided_among_and_the_fault_names_them():
    signatures = {4: signature(4), 5: signature(5)}
    odd = odd_ones(ROUTE, ALIASES, signatures)
    assert odd == {5: "input 'x': FP32 [-1, 4] before, FP32 [-1, 5] now"}
    assert settle(Wanted(ROUTE), ALIASES, {4, 5}, 5, None, odd) == (4, None)
    assert fault(ROUTE, ALIASES, {4, 5}, {}, (), odd) == (
        "variants[1] (canary): version 5 differs from the fallback's:"
        " input 'x': FP32 [-1, 4] before, FP32 [-1, 5] now"
    )
    assert odd_ones(ROUTE, ALIASES, {4: signature(4), 5: signature(4)}) == {}
    assert odd_ones(ROUTE, ALIASES, {5: signature(5)}) == {}
    assert settle(Wanted(ROUTE, pulled=BAD), ALIASES, {4, 5}, 5, None, odd)[1] is not None


@pytest.mark.parametrize(("weight", "answers"), [(0, 2), (1, 1)])
def test_a_fallback_that_is_gone_is_stood_in_for_where_it_was_to_have_nothing(weight, answers):
    """The baseline of a candidate that was promoted was removed; or one that still loads."""
    variants = [{"name": "a", "version": 1, "weight": weight}, {"name": "b", "version": 2}]
    route = config.Route.model_validate({"variants": variants, "fallback": "a"})
    assert settle(Wanted(route), {}, {2}, 2, None) == (answers, None)
