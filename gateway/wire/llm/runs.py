"""Puts chunks of a chat that say one piece after the other together, to be read as one.

Knows how such chunks are written. Knows nothing of what is made of them.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from gateway.wire.llm.fields import Values

_WORDS: Final = b'"delta":{"content":"'
_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+')
_PROBE: Final = "a piece that nobody says"


def joined(chunks: list[bytes]) -> list[bytes]:
    """Puts the chunks from the first words to the last together to one.

    Most servers write them alike but for their words: what stands around these need be read once.

    Args:
        chunks: the data of a stream's events.

    Returns:
        Data that say the same; the same ones where they are not so.
    """
    first = next((n for n, one in enumerate(chunks) if _WORDS in one), len(chunks))
    if first > len(chunks) - 2:
        return chunks
    before, after = _around_words(chunks[first])
    last = len(chunks) - 1
    begin, end = len(before), -len(after)
    while not (chunks[last].startswith(before) and chunks[last].endswith(after, begin)):
        last -= 1  # to the first at the latest
    run = chunks[first : last + 1]
    pieces = [one[begin:end] for one in run]
    # Whether each chunk is these two with a piece in between, seen for all of them at once.
    alike = (after + b"," + before).join(pieces) == b",".join(run)[begin:end]
    if not (alike and _say_one_piece(before, after) and _are_strings(pieces)):
        return chunks
    return [*chunks[:first], b"%b%b%b" % (before, b"".join(pieces), after), *chunks[last + 1 :]]


def around_piece(chunk: bytes) -> tuple[bytes, bytes] | None:
    """What stands before and behind the words of a chunk that says nothing else; None: it does."""
    if _WORDS not in chunk:
        return None
    before, after = _around_words(chunk)
    return (before, after) if _say_one_piece(before, after) else None


def _around_words(chunk: bytes) -> tuple[bytes, bytes]:
    begin = chunk.index(_WORDS) + len(_WORDS)
    string = _STRING.match(chunk, begin)
    assert string is not None, "an empty one matches, too"
    return chunk[:begin], chunk[string.end() :]


def _say_one_piece(before: bytes, after: bytes) -> bool:
    """Whether a chunk says what stands between these, and nothing else that any reader keeps."""
    try:
        values = orjson.loads(before + _PROBE.encode() + after)
    except orjson.JSONDecodeError:
        return False
    return type(values) is dict and plain_piece(values) == _PROBE


def _are_strings(pieces: list[bytes]) -> bool:
    """Whether each, between quotes, is a JSON string by itself."""
    between = b'","'.join(pieces)
    if b'\\","' in between:  # a piece may end within an escape
        return False
    try:
        return len(orjson.loads(b'["%b"]' % between)) == len(pieces)
    except orjson.JSONDecodeError:
        return False


def plain_piece(values: Values) -> str | None:
    """The words of a chunk that tells nothing else, as nearly all do; None: it is no such."""
    choices = values.get("choices")
    if type(choices) is not list or len(choices) != 1 or values.get("usage") or "error" in values:
        return None
    choice = choices[0]
    if type(choice) is not dict or choice.get("index") != 0 or choice.get("finish_reason"):
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or len(delta) != 1:
        return None
    piece = delta.get("content")
    return piece if type(piece) is str else None
