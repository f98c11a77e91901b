"""Answers Anthropic's `count_tokens` where the upstream has nothing like it: with an estimate.

Knows how large a prompt is. Knows no tokeniser: whoever asks learns from `ESTIMATED` that nobody
counted. Nothing is paid or limited by this number.
"""

from __future__ import annotations

from typing import Any

from gateway.exchange import Header
from gateway.wire.llm.fields import Values, mappings, written

ESTIMATED: Header = (b"penstock-estimated", b"input_tokens")
"""Goes with the answer."""

BYTES_PER_TOKEN = 4
"""Of text in UTF-8: the usual figure for English, and near it for scripts of three bytes a
character. Code and numbers take more tokens; tens of percent are no surprise either way."""
TOKENS_PER_MESSAGE = 4
"""For the marks around each."""
TOKENS_PER_MEDIUM = 1500
"""About the most that an image takes; a long document takes more."""

_NO_TEXT = frozenset(
    {"cache_control", "citations", "id", "role", "signature", "source", "tool_use_id", "type"}
)


def estimated_count(values: Values) -> dict[str, Any]:
    """The answer of `count_tokens` for a request of messages, roughly."""
    size, media = _text_of([values.get("system"), values.get("messages")])
    size += len(written(mappings(values, "tools")).encode()) if values.get("tools") else 0
    messages = len(mappings(values, "messages"))
    tokens = -(-size // BYTES_PER_TOKEN)
    tokens += TOKENS_PER_MESSAGE * messages + TOKENS_PER_MEDIUM * media
    return {"input_tokens": tokens}


def _text_of(values: list[Any]) -> tuple[int, int]:
    """Bytes of text, and media, in all that is nested in `values`."""
    size = media = 0
    left = list(values)
    while left:
        value = left.pop()
        if type(value) is str:
            size += len(value.encode("utf-8", "replace"))
        elif type(value) is list:
            left += value
        elif type(value) is dict:
            source = value.get("source")
            if type(source) is dict and source.get("type") == "text":
                left.append(source.get("data"))
            elif type(source) is dict and source.get("type") == "content":
                left.append(source.get("content"))
            elif source is not None:
                media += 1
            left += [inner for key, inner in value.items() if key not in _NO_TEXT]
    return size, media
