"""What a worker says of models: which answers, what is ready, and why something is not."""

from __future__ import annotations

import pytest

from gateway.catalogue import Catalogue, IndexEntry
from gateway.errors import ModelNotFound, ModelNotReady, Retired, VersionNotFound
from gateway.plan import Absent, Held, Plan, Route, Split, Variant
from tests.plans import held, plan, served

BROKEN = Absent("broken", 1, "UNAVAILABLE", "not an ONNX file")
LOADING = Absent("m", 2, "LOADING", "loading")
TAKEN_OUT = Absent("n", 1, "UNAVAILABLE", "unloaded")


def following(plan: Plan, *loaded: Held, refused: dict[str, str] | None = None) -> Catalogue:
    catalogue = Catalogue()
    for model in loaded:
        catalogue.by_id[model.id] = served(model)
    catalogue.follow(plan, refused or {})
    return catalogue


def test_without_a_version_the_routes_default_answers():
    one, two = held("m", 1), held("m", 2)
    catalogue = following(plan(1, one, two), one, two)
    assert catalogue.resolve("m").held == two
    assert catalogue.resolve("m", 1).held == one


def test_a_default_that_does_not_serve_is_not_answered_by_another_version():
    two = held("m", 2)
    route = Route("m", 1, {2: two.id})
    champion = Absent("m", 1, "UNAVAILABLE", "quarantined")
    catalogue = following(Plan(1, (two,), (route,), (champion,)), two)
    with pytest.raises(ModelNotReady, match="version 1 is not at ready state: quarantined"):
        catalogue.resolve("m")
    assert catalogue.resolve("m", 2).held == two
    assert catalogue.default("m") is None


def test_what_is_unknown_is_not_found_and_a_known_model_says_what_serves():
    one = held("m", 1)
    catalogue = following(plan(1, one), one)
    with pytest.raises(ModelNotFound, match="unknown model: 'x'"):
        catalogue.resolve("x")
    with pytest.raises(VersionNotFound, match="version 9 is not found; serving: 1"):
        catalogue.resolve("m", 9)


def test_another_version_of_a_model_that_does_not_serve_is_not_found_but_the_model_is_known():
    catalogue = following(plan(1, absent=[BROKEN]))
    with pytest.raises(VersionNotFound, match="'broken' version 9 is not found; serving: none"):
        catalogue.resolve("broken", 9)


def test_before_the_first_plan_nothing_is_known_to_be_unknown():
    with pytest.raises(ModelNotReady, match="the server is starting"):
        Catalogue().resolve("m")
    assert not Catalogue().ready("always")


def test_what_this_worker_could_not_load_is_explained_and_not_denied():
    one, two = held("m", 1), held("n", 1)
    catalogue = following(plan(1, one, two), one, refused={two.id: "not enough memory"})
    with pytest.raises(ModelNotReady, match="not enough memory"):
        catalogue.resolve("n", 1)
    assert IndexEntry("n", 1, "UNAVAILABLE", "not enough memory") in catalogue.index()
    assert {n: a.reason for n, a in catalogue.unserved().items()} == {"n": "not enough memory"}
    assert (catalogue.ready("any"), catalogue.ready("all")) == (True, False)


def test_the_index_says_why_older_content_serves_in_place_of_the_newest():
    one = held("m", 1)
    newest = Absent("m", 1, "UNAVAILABLE", "corrupt")
    catalogue = following(plan(1, one, absent=[newest]), one)
    assert catalogue.index() == [IndexEntry("m", 1, "READY", "corrupt")]
    assert catalogue.ready("all")


@pytest.mark.parametrize(
    ("absent", "models", "any_", "all_", "always"),
    [
        pytest.param([], ["m"], True, True, True, id="all-serve"),
        pytest.param([], [], True, True, True, id="nothing-to-serve"),
        pytest.param([BROKEN], ["m"], True, False, True, id="one-of-two-is-broken"),
        pytest.param([BROKEN], [], False, False, True, id="the-only-one-is-broken"),
        pytest.param([LOADING], [], False, False, False, id="starting"),
        pytest.param([LOADING], ["m"], True, True, True, id="one-loads-beside-one-that-serves"),
        pytest.param([TAKEN_OUT], ["m"], True, True, True, id="one-was-unloaded-on-purpose"),
    ],
)  # fmt: skip
def test_readiness(absent, models, any_, all_, always):
    loaded = [held(name) for name in models]
    catalogue = following(plan(1, *loaded, absent=absent), *loaded)
    found = [catalogue.ready(policy) for policy in ("any", "all", "always")]
    assert found == [any_, all_, always]


def test_requests_are_divided_where_a_variant_is_here_and_by_nobody_where_none_is():
    one, two, three = held("m", 1), held("m", 2), held("m", 3)
    split = Split((Variant("a", 1, 1.0), Variant("b", 2, 1.0)))
    models = (one, two, three)
    route = Route("m", 1, {model.version: model.id for model in models}, split)
    half = following(Plan(1, models, (route,)), two, three)
    assert half.split("m") == split
    assert [(name, list(there)) for name, _, there in half.divided()] == [("m", [2, 3])]
    assert half.standing("m") == 1
    none = following(Plan(1, models, (route,)), three)
    assert none.split("m") is None
    with pytest.raises(ModelNotReady, match="version 1 is not at ready state"):
        none.resolve("m")


def test_who_names_a_retired_version_is_told_so_and_where_to_go():
    other = held("n")
    gone = Absent("m", 1, "UNAVAILABLE", "was retired on 2024-10-04", True, 2)
    catalogue = following(plan(1, other, absent=[gone]), other)
    for version in (None, 1):
        with pytest.raises(Retired, match="model 'm' version 1 was retired on 2024-10-04") as told:
            catalogue.resolve("m", version)
        assert told.value.successor_path == "/v2/models/m/versions/2"
    assert catalogue.ready("all")  # it is out of service because somebody wanted it so
    late = Absent("m", 2, "UNAVAILABLE", "broken")
    with pytest.raises(ModelNotFound, match="broken"):  # what is wrong now says more
        following(plan(2, other, absent=[gone, late]), other).resolve("m")
