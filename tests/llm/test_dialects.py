"""Whoever treats dialects apart names all of them, so that a new one is nobody's by accident."""

from __future__ import annotations

import pytest

from gateway.llm.counting import OPERATIONS
from gateway.wire.llm import events, prompts, taking, usage
from gateway.wire.llm.words import PATHS, Dialect


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(PATHS, id="paths"),
        pytest.param(taking.ANSWERS, id="answers"),
        pytest.param(taking.EVENTS, id="events"),
        pytest.param(events.KINDS, id="kinds-of-events"),
        pytest.param(usage.TELLINGS, id="usage"),
        pytest.param({*prompts.INPUTS, *prompts.MESSAGES}, id="prompts"),
        pytest.param(prompts.FORMATS, id="formats"),
        pytest.param(OPERATIONS, id="operations"),
    ],
)
def test_every_dialect_is_named(named):
    assert [one for one in Dialect if one not in named] == []
