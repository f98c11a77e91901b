"""Names that clients use, through the plans of a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import ModelNotFound, ModelNotReady, Unsupported
from gateway.llm.names import Names
from gateway.plan import LOADING, UNAVAILABLE, UNLOADED, Absent, Split, Variant


def test_a_model_that_is_known_and_not_served_says_why():
    names = Names(0)
    absent = [
        Absent("claude", 1, UNAVAILABLE, "no proxy"),
        Absent("coming", 1, LOADING, "loading"),
        Absent("gone", 1, UNAVAILABLE, UNLOADED),
    ]
    names.follow({}, {one.name: one for one in absent})
    for called in ("claude", "coming"):
        with pytest.raises(ModelNotReady, match=f"'{called}': no version of it serves: "):
            names.find(called)
    with pytest.raises(ModelNotFound, match=f"'gone': no version of it serves: {UNLOADED}"):
        names.find("gone")
    with pytest.raises(ModelNotFound, match="'other': no model has this name"):
        names.find("other")
    names.follow({})
    with pytest.raises(ModelNotFound, match="'claude': no model has this name"):
        names.find("claude")


def test_a_model_of_our_own_has_its_name_where_no_other_has_it():
    names = Names(0)
    settings = SimpleNamespace(aliases=("small",))
    deployment: Any = SimpleNamespace(settings=settings)
    answers: Any = None
    names.follow(
        {"m": (1, {1: deployment}, None)}, {}, dict.fromkeys(("small", "m", "texts"), answers)
    )
    assert (set(names.ours), sorted(names.all)) == (
        {"texts"},
        [("m", "m"), ("small", "m"), ("texts", "texts")],
    )
    with pytest.raises(Unsupported, match="ask /v1/embeddings"):
        names.find("texts")


def other_version() -> Any:
    """A version 2 that serves alone."""
    return SimpleNamespace(settings=SimpleNamespace(aliases=()))


def test_where_the_default_version_is_not_here_no_other_answers_in_its_place():
    names = Names(0)
    names.follow({"m": (1, {2: other_version()}, None)})
    with pytest.raises(ModelNotReady, match="'m': version 1, which is to answer, does not serve"):
        names.find("m").choose((), {})


def test_a_variant_whose_version_is_not_here_is_answered_by_no_other():
    names = Names(0)
    split = Split((Variant("a", 1, 1.0), Variant("b", 2, 1.0)), override_header="x-want")
    second = other_version()
    names.follow({"m": (2, {2: second}, split)})
    named = names.find("m")
    assert named.choose([(b"x-want", b"b")], {}).deployment is second
    with pytest.raises(ModelNotReady, match="version 1, which is to answer, does not serve"):
        named.choose([(b"x-want", b"a")], {})
