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
# orjson keeps the interpreter for as long as a text takes it: half a microsecond for an array or a
# member, so that a body of nothing else would stop the worker for seconds. Large arrays of numbers
# are cut out before (`spans`). Brackets and quotes inside strings count as well.
MAX_CONTAINERS = 300_000
MAX_MEMBERS = 200_000
MAX_QUOTES = 4_000_000
# Python's own decoder is slow and holds the interpreter; it sees only what has NaN or infinities.
MAX_TOLERANT_BYTES = 16 << 20
MAX_INTEGER_DIGITS = 400

# Possessive, and closed by the end of the text too, so that no text makes it try a place twice.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
# How a colon ends a name; inside strings it seldom stands like this.
_NAME_ENDS = (b'":', b" :", b"\t:", b"\n:", b"\r:")
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(text: bytes) -> Any:
    """The value that a JSON text holds.

    Raises:
        MalformedJson: not JSON, or nested deeper than `MAX_DEPTH`, which is found before any
            decoder recurses.
        BodyTooLarge: it has so many parts that decoding it would take long and fill the memory.
    """
    containers = text.count(b"[") + text.count(b"{")
    _check_count("arrays and objects", containers, MAX_CONTAINERS)
    _check_count("quotes", text.count(b'"'), MAX_QUOTES)
    if containers > MAX_DEPTH:
        check_depth(text)
    if text.count(b":") > MAX_MEMBERS:
        _check_count("members of objects", sum(map(text.count, _NAME_ENDS)), MAX_MEMBERS)
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


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise BodyTooLarge(
            f"JSON: expected at most {most} {what}, got {count}; send large tensors as binary"
        )


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
