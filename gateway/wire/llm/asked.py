"""What an answer must know of its request when the two sides speak different dialects.

Knows what one dialect cannot say in another, and what becomes of it. Knows nothing of any dialect's
shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import InvalidParameter
from gateway.wire.llm.fields import Values, mapping


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and how the upstream that gets it wants to be asked.

    Attributes:
        model: the name that the answer tells.
        id: the gateway's name for the answer; each dialect puts its own prefix before it.
        created: when it was asked, in whole seconds since 1970.
        request: what the client sent, which the responses API repeats in its answer.
        include_usage: of a stream of chat: whether its last chunk is to tell the usage.
        max_output_tokens: what is asked for where the client set no limit and the upstream wants
            one.
        limit_field: what an upstream of OpenAI's kind calls that limit: `max_completion_tokens`, or
            `max_tokens` where it knows the older name alone.
        thinks_by: how the upstream's model is told how long to think: `effort`, a `budget` of
            tokens, or `nothing`.
        refuse_unsupported: a field that the upstream's dialect cannot say is refused; it is left
            out otherwise.
    """

    model: str
    id: str
    created: int
    request: Values = field(default_factory=dict)
    include_usage: bool = False
    max_output_tokens: int = 4096
    limit_field: str = "max_completion_tokens"
    thinks_by: str = "effort"
    refuse_unsupported: bool = False


_DEFAULTS = {"n": 1, "modalities": ["text"], "truncation": "disabled", "service_tier": "auto"}
"""What a field may hold without asking for anything, besides null, nothing, zero and false."""


def unsupported(
    name: str, asked: Asked, why: str = "the model's provider has nothing like it"
) -> None:
    """Something was asked for that the upstream's dialect cannot say, and is left out.

    Raises:
        InvalidParameter: such a thing is to be refused.
    """
    if asked.refuse_unsupported:
        raise cannot(name, why)


def leave_out(values: Values, known: Iterable[str], asked: Asked) -> None:
    """Leaves out all fields but the `known` ones.

    Raises:
        InvalidParameter: one asks for something, and such a one is to be refused.
    """
    if asked.refuse_unsupported:
        for name in values.keys() - set(known):
            if values[name] and values[name] != _DEFAULTS.get(name):
                unsupported(name, asked)


def cannot(name: str, why: str) -> InvalidParameter:
    """The refusal of something that cannot be left out either, since the answer depends on it."""
    return InvalidParameter(f"parameter '{name}': {why}")


def picked(values: Values, *names: str) -> dict[str, Any]:
    """The fields of these names that are there, and not null."""
    return {name: values[name] for name in names if values.get(name) is not None}


def cache_mark(part: Values) -> dict[str, Any]:
    """The mark on a part up to which a prompt is to be cached, as Anthropic writes it."""
    mark = part.get("cache_control")
    if type(mark) is dict:
        return {"cache_control": mark}
    explicit = mapping(part, "prompt_cache_breakpoint").get("mode") == "explicit"
    return {"cache_control": {"type": "ephemeral"}} if explicit else {}
