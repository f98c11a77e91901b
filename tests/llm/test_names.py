"""Names that clients use, through the plans of a worker."""

from __future__ import annotations

import pytest

from gateway.errors import ModelNotFound
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
