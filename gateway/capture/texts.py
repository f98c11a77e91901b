"""Texts of conversations, as they are kept: what was said, and what is hidden of it.

Knows JSON, and under which names language model APIs carry what is said. Knows nothing of who
asked whom, of rings, or of files. A request's tools and settings are not what was said, and its
pictures, sounds and files are told by their size alone.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import orjson

from gateway.capture.redaction import KEY, MAX_TEXT, redacted, says_a_secret
from gateway.capture.schema import REDACTED

_SAID: Final = ("system", "instructions", "messages", "input", "prompt", "suffix")
"""Of a request: what is said in it, in all dialects."""
_DATA: Final = frozenset({"data", "file_data"})
"""Of a picture, a sound or a file: where its bytes stand, as base64."""
_DATA_URL: Final = re.compile(r"data:([\w.+-]{1,100}/[\w.+-]{1,100})[^,]{0,200},")
_MAX_DEPTH: Final = 64

# Numbers below are what they are, or tokens of a vocabulary: nobody's.
_MAX_HARMLESS: Final = 10_000_000
# No card or telephone has so many digits; the largest of numbers has 309, and takes long to search.
_LEAST_HARMLESS: Final = 1e20


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
    return orjson.dumps(_walked(values, how == REDACTED, 0))


def _walked(value: Any, hides: bool, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, str):
        return _told(value, hides, depth)
    if isinstance(value, list):
        return [_walked(one, hides, depth + 1) for one in value]
    if isinstance(value, dict):
        return _fields(value, hides, depth + 1)
    if hides and isinstance(value, int | float) and abs(value) >= _MAX_HARMLESS:
        return _number(value)
    return value


def _fields(fields: dict[str, Any], hides: bool, depth: int) -> dict[str, Any]:
    """Each under its name; names that come to read alike are numbered."""
    told: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for name, value in fields.items():
        said = unique = redacted(name) if hides else name
        while unique in told:
            counts[said] += 1
            unique = f"{said} {counts[said] + 1}"
        told[unique] = _field(name, value, hides, depth)
    return told


def _field(name: str, value: Any, hides: bool, depth: int) -> Any:
    if name in _DATA and isinstance(value, str):
        return f"[{len(value)} characters]"
    if hides and value and not isinstance(value, bool) and says_a_secret(name):
        return KEY
    return _walked(value, hides, depth)


def _number(value: float) -> Any:
    """A card's number need not be a text."""
    if abs(value) >= _LEAST_HARMLESS or (isinstance(value, float) and not value.is_integer()):
        return value
    text = str(int(value))
    said = redacted(text)
    return value if said == text else said


def _told(text: str, hides: bool, depth: int) -> str:
    found = _DATA_URL.match(text)
    if found is not None:
        return f"data:{found[1]},[{len(text) - found.end()} characters]"
    if not hides:
        return text
    return _of_json(text, depth) or redacted(text)


def _of_json(text: str, depth: int) -> str | None:
    """JSON within a text: its names say what its values are, and its escapes would hide both.

    Returns:
        It, as it is kept; None: it is no object or list.
    """
    if len(text) > MAX_TEXT or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    # Written anew: of a field that stands twice one was read.
    return orjson.dumps(_walked(values, True, depth + 1)).decode()
