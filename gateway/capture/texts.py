"""Texts of conversations, as they are kept: what was said, and what is hidden of it.

Knows JSON, and under which names language model APIs carry what is said. Knows nothing of who
asked whom, of rings, or of files. A request's tools and settings are not what was said, and its
pictures, sounds and files are told by their size alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from gateway.capture.redaction import redacted
from gateway.capture.schema import REDACTED

_SAID: Final = ("system", "instructions", "messages", "input", "prompt", "suffix")
"""Of a request: what is said in it, in all dialects."""
_DATA: Final = frozenset({"data", "file_data"})
"""Of a picture, a sound or a file: where its bytes stand, as base64."""
_DATA_URL: Final = re.compile(r"data:([\w.+-]{1,100}/[\w.+-]{1,100})[^,]{0,200},")
_MAX_DEPTH: Final = 64

Say = Callable[[str], str]


def kept(text: bytes, how: str) -> bytes:
    """What is kept of a request's body, or of an answer's parts; empty of what is no JSON.

    Args:
        text: as JSON.
        how: `schema.REDACTED` or `schema.FULL`.
    """
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        return b""
    if isinstance(values, dict):
        values = {name: values[name] for name in _SAID if name in values}
    say = redacted if how == REDACTED else str
    return orjson.dumps(_walked(values, say, 0))


def _walked(value: Any, say: Say, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, str):
        return _told(value, say)
    if isinstance(value, list):
        if value and all(type(one) is int for one in value):
            return value  # tokens
        return [_walked(one, say, depth + 1) for one in value]
    if isinstance(value, dict):
        return {say(name): _field(name, one, say, depth + 1) for name, one in value.items()}
    if isinstance(value, int) and not isinstance(value, bool):
        said = say(str(value))  # a card's number need not be a text
        return value if said == str(value) else said
    return value


def _field(name: str, value: Any, say: Say, depth: int) -> Any:
    if name in _DATA and isinstance(value, str):
        return f"[{len(value)} characters]"
    if name == "arguments" and isinstance(value, str):
        # JSON within a text: its escapes would hide what it says.
        try:
            return orjson.dumps(_walked(orjson.loads(value), say, depth)).decode()
        except orjson.JSONDecodeError:
            pass
    return _walked(value, say, depth)


def _told(text: str, say: Say) -> str:
    found = _DATA_URL.match(text)
    if found is not None:
        return f"data:{found[1]},[{len(text) - found.end()} characters]"
    return say(text)
