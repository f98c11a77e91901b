"""Says of JSON that it holds more than anybody means, before it is read.

Knows how many values a text may have. Knows nothing of what they say. A text of 64 MB that is
nothing but empty objects takes a gigabyte once it is read, and whoever looks at each of them holds
the event loop for half a minute; what people and models say is text, of which there may be as much
as they like.
"""

from __future__ import annotations

from typing import Final

from kernels.crowded import count_nested

# What is smaller holds too little to be worth counting.
LARGE_BYTES: Final = 1 << 20
MAX_NESTED: Final = 200_000
"""Objects and lists: ten thousand messages, or schemas of a thousand tools, have fewer."""
MAX_VALUES: Final = 4_000_000
"""Of all kinds: an answer may be thousands of vectors."""


def crowd_of(text: bytes) -> str:
    """What a JSON text has too much of, in words; empty: of nothing."""
    if len(text) <= LARGE_BYTES:
        return ""
    nested, commas = count_nested(text)
    if nested > MAX_NESTED:
        return f"expected at most {MAX_NESTED} objects and lists, got {nested}"
    values = nested + commas
    return f"expected at most {MAX_VALUES} values, got {values}" if values > MAX_VALUES else ""
