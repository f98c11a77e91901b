"""What an event of a stream means to whoever relays it: whether the answer has begun.

Knows how each dialect's streams are built. Knows nothing of retries: until an event of content was
sent on, another upstream may still be asked instead; afterwards it may not.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import orjson

from gateway.wire.llm.crowds import crowd_answered
from gateway.wire.llm.fields import Values, mapping, mappings, text
from gateway.wire.llm.sse import DONE
from gateway.wire.llm.words import Dialect


class Kind(Enum):
    """Of an event."""

    LIFECYCLE = "lifecycle"  # nothing of the answer yet: who speaks, a ping, a count
    CONTENT = "content"  # a part of the answer, or why there is no more of it
    ERROR = "error"  # the provider failed, though it answered 200, or sends what is no event
    END = "end"  # nothing comes after it


def kind_of(dialect: Dialect, data: bytes) -> Kind:
    """What the data of one event means; what is none of any dialect's is an error."""
    if not data:
        return Kind.LIFECYCLE
    if data.startswith(DONE):
        return Kind.END
    if crowd_answered(data):
        return Kind.ERROR
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError:
        return Kind.ERROR
    return _kind(dialect, values) if type(values) is dict else Kind.ERROR


def _kind(dialect: Dialect, values: Values) -> Kind:
    if values.get("error") or values.get("type") == "error":
        return Kind.ERROR
    return KINDS[dialect](values)


def _of_chunk(values: Values) -> Kind:
    begun = any(map(_says_something, mappings(values, "choices")))
    return Kind.CONTENT if begun else Kind.LIFECYCLE


def _says_something(choice: Values) -> bool:
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = mapping(choice, "delta")
    return any(value for key, value in delta.items() if key != "role")


def _of_response_event(values: Values) -> Kind:
    return _RESPONSE_KINDS.get(text(values, "type"), Kind.CONTENT)


def _of_message_event(values: Values) -> Kind:
    kind = values.get("type")
    if kind == "content_block_start":
        block = mapping(values, "content_block")
        plain = block.get("type") in ("text", "thinking")
        return Kind.LIFECYCLE if plain and not block.get("text") else Kind.CONTENT
    return _MESSAGE_KINDS.get(text(values, "type"), Kind.CONTENT)


_MESSAGE_KINDS = {
    "message_start": Kind.LIFECYCLE,
    "ping": Kind.LIFECYCLE,
    "message_stop": Kind.END,
}
_RESPONSE_KINDS = {
    "response.created": Kind.LIFECYCLE,
    "response.in_progress": Kind.LIFECYCLE,
    "response.queued": Kind.LIFECYCLE,
    "response.output_item.added": Kind.LIFECYCLE,
    "response.content_part.added": Kind.LIFECYCLE,
    "response.reasoning_summary_part.added": Kind.LIFECYCLE,
    "response.failed": Kind.ERROR,
    "response.completed": Kind.END,
    "response.incomplete": Kind.END,
}
KINDS: dict[Dialect, Callable[[Values], Kind]] = {
    Dialect.CHAT: _of_chunk,
    Dialect.COMPLETIONS: _of_chunk,
    Dialect.EMBEDDINGS: _of_chunk,  # nobody streams these two
    Dialect.RESPONSES: _of_response_event,
    Dialect.MESSAGES: _of_message_event,
    Dialect.COUNT: _of_chunk,
}
"""What an event means that is no error."""
