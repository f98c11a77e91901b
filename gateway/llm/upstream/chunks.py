"""How a chunk begins, by its length: whole ones are told from all else without a parser.

Knows how nearly all servers frame chunks: a size in lower case, no zeros before it, nothing behind.
Knows nothing of what any of them holds.

Source: RFC 9112, 7.1, Chunked Transfer Coding.
"""

from __future__ import annotations

from typing import Final

BELOW: Final = 8192
"""Bytes of a chunk, framing included, that are known. One event of a stream has a few hundred."""
_LINE_END: Final = b"\r\n"
_NONE: Final = b"\r"  # no chunk begins so


def _begins(length: int) -> bytes:
    """The one size line that makes a chunk of so many bytes; some lengths no chunk has."""
    for digits in range(1, 5):
        size = length - digits - 2 * len(_LINE_END)
        if size > 0 and len(line := b"%x" % size) == digits:
            return line + _LINE_END
    return _NONE


BEGINS: Final = tuple(map(_begins, range(BELOW)))
"""By the length of a chunk, what it begins with. The last chunk of all, which is empty, is none."""
