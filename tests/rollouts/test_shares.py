"""A candidate's share is a part of its baseline's, and everybody else keeps theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.rollouts.shares import Given, afterwards, percent, read_given, route
from gateway.rollouts.stand import Stand, State
from tests.rollouts.machinery import plan_of

PLAN = plan_of({"shadow_percent": 100}, {"percent": 10}, {"percent": 100})


def of(basis: dict, candidate: int = 7, variant: str = "stable", **rest) -> Given:
    route = config.Route.model_validate(basis)
    return Given("m", candidate, 3, variant, rest.pop("alias", ""), route, PLAN, "ann", **rest)


PLAIN = of({"variants": [{"name": "stable", "version": 3}]})
THREE = of(
    {
        "variants": [
            {"name": "stable", "alias": "champion", "weight": 80},
            {"name": "b", "version": 4, "weight": 15},
            {"name": "next", "alias": "next", "weight": 5},
        ],
        "sticky": {"header": "x-user"},
        "overrides": {"header": "x-variant"},
    },
    alias="champion",
    others={"stable": 3, "next": 6},
)
FIRST = Stand(State.STEPPING, 1)


def weights(given: Given, stand: Stand) -> dict[str, float]:
    return {one.name: one.weight for one in route(given, stand).variants}


@pytest.mark.parametrize(
    ("stand", "share"),
    [
        (Stand(), 0),
        (Stand(State.SHADOWING, 0), 0),
        (FIRST, 10),
        (Stand(State.STEPPING, 2), 100),
        (Stand(State.PAUSED, 1, State.STEPPING), 10),
        (Stand(State.PAUSED, 0, State.PENDING), 0),
        (Stand(State.PROMOTED, 1), 100),
        (Stand(State.ROLLED_BACK, 2), 0),
        (Stand(State.ABORTED, 2), 0),
    ],
)
def test_the_share_follows_from_the_state(stand, share):
    assert percent(PLAIN, stand) == share
    assert weights(PLAIN, stand)["candidate"] == share / 100


def test_in_a_shadow_step_and_in_no_other_the_candidate_is_a_shadow():
    shadowing = route(PLAIN, Stand(State.SHADOWING, 0)).shadows
    assert [(one.version, one.share) for one in shadowing] == [(7, 1.0)]
    assert route(PLAIN, Stand(State.PAUSED, 0, State.SHADOWING)).shadows == shadowing
    assert route(PLAIN, FIRST).shadows == route(PLAIN, Stand(State.ROLLED_BACK, 0)).shadows == []


def test_a_route_keeps_its_own_shadows_but_for_the_candidate():
    basis = {**PLAIN.basis.model_dump(), "shadows": [{"version": 7}, {"version": 5, "share": 0.1}]}
    for wanted in (route(of(basis), FIRST), afterwards(of(basis))):
        assert wanted is not None
        assert [one.version for one in wanted.shadows] == [5]


def test_other_variants_and_the_rest_of_the_route_stay_as_they_are():
    wanted = route(THREE, FIRST)
    assert weights(THREE, FIRST) == {"stable": 72, "candidate": 8, "b": 15, "next": 5}
    assert (wanted.sticky, wanted.overrides) == (THREE.basis.sticky, THREE.basis.overrides)
    stable = wanted.variants[0]
    assert (stable.version, stable.alias) == (3, None)  # wherever its alias comes to point


@given(st.sampled_from([PLAIN, THREE]), st.sampled_from(list(State)), st.integers(0, 2))
def test_the_baseline_stands_for_the_route_throughout(given, state, step):
    wanted = route(given, Stand(state, step))
    assert wanted.main.name == given.variant
    assert config.Route.model_validate(wanted.model_dump()) == wanted
    total = sum(one.weight for one in wanted.variants)
    assert total == pytest.approx(sum(one.weight for one in given.basis.variants))


def test_a_variant_that_is_the_candidate_already_is_the_one_that_steps():
    by_version = of(
        {"variants": [{"name": "stable", "version": 3}, {"name": "canary", "version": 7}]}
    )
    by_alias = of(
        {"variants": [{"name": "stable", "version": 3}, {"name": "canary", "alias": "next"}]},
        others={"canary": 7},
    )
    for one in (by_version, by_alias):
        assert weights(one, FIRST) == {"stable": 0.9, "canary": 0.1}
        wanted = afterwards(one)
        assert wanted is not None
        (alone,) = wanted.variants
        assert (alone.name, alone.version) == ("stable", 7)


def test_a_name_that_is_taken_is_not_taken_again():
    given = of(
        {"variants": [{"name": "stable", "version": 3}, {"name": "candidate", "version": 5}]}
    )
    assert weights(given, FIRST) == {"stable": 0.9, "candidate-7": 0.1, "candidate": 1}


def test_afterwards_the_baseline_is_the_candidate_or_its_alias_says_so():
    assert afterwards(THREE) is None
    wanted = afterwards(replace(THREE, alias="", basis=PLAIN.basis))
    assert wanted is not None
    (alone,) = wanted.variants
    assert (alone.name, alone.version, alone.weight) == ("stable", 7, 1)


@pytest.mark.parametrize("given", [PLAIN, THREE])
def test_what_is_kept_is_read_as_it_was(given):
    assert read_given(given.as_json()) == given
