"""Names that clients use, through the plans of a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import ModelNotFound, Unsupported
from gateway.llm.names import Names


def test_a_model_that_is_known_and_not_served_says_why():
    names = Names(0)
    names.follow({}, {"claude": "llm.providers.anthropic: expected a key, found none"})
    with pytest.raises(ModelNotFound, match="'claude': no version of it serves: llm"):
        names.find("claude")
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
