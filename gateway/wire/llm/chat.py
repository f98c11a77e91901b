"""The shapes of chat's answers, in which translations meet: every dialect is told in them.

Knows how an answer, a chunk and a count are written. Knows nothing of who asks or who answers.
"""

from __future__ import annotations

from typing import Any

from gateway.errors import UpstreamFailed
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.fields import Values, mappings, text
from gateway.wire.llm.words import Usage

Chunk = dict[str, Any]


def completion(
    message: dict[str, Any], finish: str, usage: Usage | None, asked: Asked
) -> dict[str, Any]:
    """A whole answer of one choice."""
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    told = {} if usage is None else {"usage": usage_told(usage)}
    return {**_head("chat.completion", asked), "choices": [choice], **told}


def only_choice(answer: Values) -> dict[str, Any]:
    """The choice that a whole answer of chat is translated by.

    Raises:
        UpstreamFailed: it has none.
    """
    choices = mappings(answer, "choices")
    if not choices:
        raise UpstreamFailed("the upstream's answer has no choice")
    return choices[0]


def delta_chunk(asked: Asked, delta: dict[str, Any], finish: str | None = None) -> Chunk:
    """A piece of a streamed answer of one choice."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**_head("chat.completion.chunk", asked), "choices": [choice]}


def usage_chunk(asked: Asked, usage: Usage) -> Chunk:
    """The last chunk of a stream, which tells what it took."""
    return {
        **_head("chat.completion.chunk", asked),
        "choices": [],
        "usage": usage_told(usage),
    }


def usage_told(usage: Usage) -> dict[str, Any]:
    """A count as chat tells it: caches and reasoning are parts of the whole."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
            "audio_tokens": usage.audio_input,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
        },
    }


def words_of(said: Values) -> str:
    """What a message or a delta says: a text, or the texts of parts, as Mistral has them."""
    content = said.get("content")
    if type(content) is str:
        return content
    return "".join([text(one, "text") for one in mappings(said, "content")])


def thought_of(said: Values) -> str:
    """What a message or a delta tells of what was thought, under either name in use."""
    return text(said, "reasoning_content") or text(said, "reasoning")


def _head(kind: str, asked: Asked) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{asked.id}",
        "object": kind,
        "created": asked.created,
        "model": asked.model,
    }
