"""How long a model is to think: OpenAI's effort, Anthropic's effort and budget.

Knows the words of both, and what a model of Anthropic's does not take while it thinks. Knows
nothing of the rest of a request.
"""

from __future__ import annotations

from typing import Any

from gateway.wire.llm.asked import Asked, unsupported
from gateway.wire.llm.fields import Values, count, mapping, mappings, text

EFFORTS = ("low", "medium", "high", "xhigh", "max")
_BUDGETS = {"low": 1024, "medium": 4096, "high": 16_384, "xhigh": 32_768, "max": 65_536}
_EFFORTS_BY_BUDGET = ((2048, "low"), (8192, "medium"))
_LEAST_BUDGET = 1024
_REST = 1024
"""Tokens that a budget leaves for the answer itself."""


def thinking_of(values: Values, sent: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """A request for Anthropic, with what chat's one says of thinking.

    Args:
        values: the request in chat; a `thinking` in it is Anthropic's own, and goes first.
        sent: the request that was made of it so far.
        asked: how the model is told.
    """
    effort = text(values, "reasoning_effort")
    if type(values.get("thinking")) is dict:
        sent["thinking"] = values["thinking"]
    elif effort == "none":
        sent["thinking"] = {"type": "disabled"}
    elif effort and (effort not in EFFORTS or asked.thinks_by == "nothing"):
        unsupported("reasoning_effort", asked)
    elif effort and asked.thinks_by == "effort":
        sent["output_config"] = {**mapping(sent, "output_config"), "effort": effort}
    elif effort:
        budget = min(_BUDGETS[effort], sent["max_tokens"] - _REST)
        if budget >= _LEAST_BUDGET and _may_think(sent):
            sent["thinking"] = {"type": "enabled", "budget_tokens": budget}
    if mapping(sent, "thinking").get("type") == "enabled":
        for name in ("temperature", "top_k"):  # not while it thinks
            sent.pop(name, None)
    return sent


def _may_think(sent: Values) -> bool:
    """Not where a tool is forced, nor where the call being answered came without its thoughts."""
    if mapping(sent, "tool_choice").get("type") in ("any", "tool"):
        return False
    spoken = [message for message in mappings(sent, "messages") if message["role"] == "assistant"]
    last = mappings(spoken[-1], "content") if spoken else []
    kinds = [block.get("type") for block in last]
    return "tool_use" not in kinds or kinds[0] in ("thinking", "redacted_thinking")


def effort_of(values: Values, asked: Asked) -> str:
    """The effort for an upstream of OpenAI's kind that a request of messages asks for.

    Empty: it asks for none, or the upstream's model takes none.
    """
    thinking = mapping(values, "thinking")
    told = text(mapping(values, "output_config"), "effort")
    if asked.thinks_by == "nothing" or (not told and thinking.get("type") != "enabled"):
        return ""
    if told:
        return told
    budget = count(thinking, "budget_tokens")
    return next((word for most, word in _EFFORTS_BY_BUDGET if budget <= most), "high")
