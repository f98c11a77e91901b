"""Reads what requests have in common: text wherever it stands in a message.

Knows the shapes of messages of every dialect. Knows nothing of what is answered.
"""

from __future__ import annotations

from typing import Any


def chars_in(value: Any) -> int:
    """Characters of all text in a message, a list of them, or parts."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(chars_in, value))
    if isinstance(value, dict):
        return sum(chars_in(value[key]) for key in ("content", "text", "output") if key in value)
    return 0


def text_in(value: Any) -> str:
    """The text of one message or its parts, joined."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(text_in, value))
    if isinstance(value, dict):
        return "".join(text_in(value[key]) for key in ("content", "text") if key in value)
    return ""


def last_text(messages: Any) -> str:
    """The text of the last message."""
    return text_in(messages[-1]) if isinstance(messages, list) and messages else text_in(messages)
