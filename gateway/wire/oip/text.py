"""JSON text to plain values, as strictly as orjson, with the three tokens that JSON lacks.

Knows JSON. Knows nothing of what the values mean.

NaN, Infinity and -Infinity are not JSON, yet Triton reads and writes them, so clients send them.
orjson refuses them; such a text is read once more by the standard library, which takes them, and is
held to orjson's rules where the two differ.
"""

from __future__ import annotations

import json
import re
from math import isinf
from typing import Any

import orjson

from gateway.errors import BodyTooLarge, MalformedJson

MAX_DEPTH = 100
# Three bytes of JSON can become seventy of lists: a body within its limit must not fill the memory.
MAX_CONTAINERS = 1_000_000
# Five bytes of JSON can become a hundred of strings. Binary tensors hold as many for less.
MAX_STRINGS = 2_000_000
# Python's own decoder is slow and holds the interpreter; it sees only what has NaN or infinities.
MAX_TOLERANT_BYTES = 16 << 20
MAX_INTEGER_DIGITS = 400

# Possessive, and closed by the end of the text too, so that no text makes it try a place twice.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(text: bytes) -> Any:
    """The value that a JSON text holds.

    Raises:
        MalformedJson: not JSON, or nested deeper than `MAX_DEPTH`, which is found before any
            decoder recurses.
        BodyTooLarge: it would become far larger in memory than it is as text.
    """
    containers = text.count(b"[") + text.count(b"{")
    if containers > MAX_CONTAINERS:
        raise BodyTooLarge(
            f"JSON: expected at most {MAX_CONTAINERS} arrays and objects, got {containers}"
        )
    if len(text) > 2 * MAX_STRINGS and text.count(b'"') > 2 * MAX_STRINGS:
        raise BodyTooLarge(f"JSON: expected at most {MAX_STRINGS} strings, got more")
    if containers > MAX_DEPTH:
        check_depth(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if b"NaN" in text or b"Infinity" in text:
            return _parse_tolerantly(text)
        raise MalformedJson(f"malformed JSON: {error}") from error


def check_depth(text: bytes) -> None:
    """Refuses a text that nests too deep, without recursion.

    Raises:
        MalformedJson: deeper than `MAX_DEPTH`.
    """
    brackets = _STRING.sub(b"", text).translate(_ONE_KIND, _NOT_BRACKETS)
    # Each pass takes the innermost level away; what pairs with nothing stays, one level each.
    for _ in range(MAX_DEPTH):
        peeled = brackets.replace(b"[]", b"")
        if len(peeled) == len(brackets):
            break
        brackets = peeled
    if b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH:
        raise MalformedJson(f"JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH})")


def _parse_tolerantly(text: bytes) -> Any:
    if len(text) > MAX_TOLERANT_BYTES:
        raise BodyTooLarge(
            f"JSON with NaN or infinities: expected at most {MAX_TOLERANT_BYTES} bytes,"
            f" got {len(text)}; send it as binary tensors"
        )
    try:
        value = json.loads(text.decode(), parse_float=_finite, parse_int=_bounded)
        if _SURROGATE.search(text):
            # A lone surrogate is no character: it could be neither echoed nor put into a tensor.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedJson(f"malformed JSON: {_reason(error)}") from error
    return value


def _finite(number: str) -> float:
    value = float(number)
    if isinf(value):
        raise ValueError(f"number {number[:40]} is too large")
    return value


def _bounded(number: str) -> int:
    if len(number) > MAX_INTEGER_DIGITS:
        raise ValueError(f"number {number[:40]} is too large")
    return int(number)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "not valid UTF-8"
    return str(error).splitlines()[0][:200]
