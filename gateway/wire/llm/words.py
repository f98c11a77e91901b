"""What all dialects have in common: their names, and the tokens that an answer took.

Knows nothing of how any dialect writes these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Dialect(StrEnum):
    """How a client asks, or an upstream is asked; each is one path of one provider's API."""

    CHAT = "chat"  # POST /v1/chat/completions
    COMPLETIONS = "completions"  # POST /v1/completions
    EMBEDDINGS = "embeddings"  # POST /v1/embeddings
    RESPONSES = "responses"  # POST /v1/responses
    MESSAGES = "messages"  # POST /v1/messages (Anthropic)
    COUNT = "count_tokens"  # POST /v1/messages/count_tokens (Anthropic)


PATHS: Final[Mapping[Dialect, bytes]] = {
    Dialect.CHAT: b"/v1/chat/completions",
    Dialect.COMPLETIONS: b"/v1/completions",
    Dialect.EMBEDDINGS: b"/v1/embeddings",
    Dialect.RESPONSES: b"/v1/responses",
    Dialect.MESSAGES: b"/v1/messages",
    Dialect.COUNT: b"/v1/messages/count_tokens",
}
"""Where clients ask, by how."""


@dataclass(slots=True)  # not frozen: that takes three times as long, for each answer
class Usage:
    """Tokens of one answer, told alike whoever told them.

    Attributes:
        input: all that was read, whether from a cache, into one, or neither.
        output: all that was written, reasoning included.
        cache_read: of `input`, those that the provider had in its cache.
        cache_write: of `input`, those that were written into its cache for five minutes, or where
            the provider does not say for how long.
        cache_write_1h: of `input`, those that were written for an hour.
        reasoning: of `output`, those that nobody is shown.
        audio_input: of `input`.
        audio_output: of `output`.
        service: the tier that it was answered on, where that has prices of its own; else empty.
        partial: more was written after this was told, and nobody has said how much.
    """

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    service: str = ""
    partial: bool = False
