"""What a provider's settings say of its server is how requests are put to it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import chat, rig

pytestmark = pytest.mark.anyio

DOCUMENT = """
llm:
  providers:
    new: {base_url: "http://new.example/v1"}
    old: {base_url: "http://old.example/v1", output_limit_field: max_tokens, thinks_by: nothing}
    efforts: {base_url: "http://one.example", kind: anthropic}
    budgets: {base_url: "http://two.example", kind: anthropic, thinks_by: budget}
    dull: {base_url: "http://three.example", kind: anthropic, thinks_by: nothing}
  models:
    new: {upstreams: [{provider: new, model: gpt-4o-mini}]}
    old: {upstreams: [{provider: old, model: gpt-4o-mini}]}
    efforts: {upstreams: [{provider: efforts, model: claude-sonnet-4-5}]}
    budgets: {upstreams: [{provider: budgets, model: claude-sonnet-4-5}]}
    dull: {upstreams: [{provider: dull, model: claude-sonnet-4-5}]}
"""
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 2000}}


@pytest.mark.parametrize(
    ("model", "limit", "effort"),
    [("new", "max_completion_tokens", True), ("old", "max_tokens", False)],
)
async def test_a_message_is_put_to_a_server_in_the_fields_that_it_knows(model, limit, effort):
    r = rig(DOCUMENT)
    r.ask(chat(model=model, max_tokens=3000, **THINKS), Dialect.MESSAGES)
    sent = r.last.body
    assert {name: sent[name] for name in sent if name.startswith("max_")} == {limit: 3000}
    assert ("reasoning_effort" in sent) == effort


@pytest.mark.parametrize("model", ["new", "old"])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"max_completion_tokens": 30}, {"new": "max_completion_tokens", "old": "max_tokens"}),
        ({"max_completion_tokens": 30, "max_tokens": None}, {"old": "max_tokens"}),
        ({"max_tokens": 30}, {"new": "max_tokens", "old": "max_tokens"}),
    ],
)
async def test_a_chat_is_held_to_its_maximum_by_the_field_that_its_server_knows(
    model: str, given: Any, sent: Any
):
    r = rig(DOCUMENT)
    r.ask(chat(model=model, **given))
    body = r.last.body
    wanted = {sent[model]: 30} if model in sent else given
    assert {name: body[name] for name in body if name.startswith("max_")} == wanted


@pytest.mark.parametrize(
    ("model", "said"),
    [
        pytest.param("efforts", {"output_config": {"effort": "low"}}, id="effort"),
        pytest.param("budgets", {"thinking": {"type": "enabled"}}, id="budget"),
        pytest.param("dull", {}, id="nothing"),
    ],
)
async def test_a_claude_is_told_how_long_to_think_as_it_takes_it(model: str, said: Any):
    r = rig(DOCUMENT)
    r.ask(chat(model=model, max_tokens=30_000, reasoning_effort="low"))
    sent = r.last.body
    sent.get("thinking", {}).pop("budget_tokens", None)
    assert {name: sent[name] for name in ("thinking", "output_config") if name in sent} == said
