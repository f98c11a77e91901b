"""Says of JSON that it holds more than anybody means, before it is read.

Knows how many values a text may have. Knows nothing of what they say. A text of
megabytes that is nothing but empty objects takes many times its size once it is read, and whoever
looks at each of them holds the event loop for seconds; what people and models say is text, of which
there may be as much as they like.
"""

from __future__ import annotations

from typing import Final

from kernels.crowded import count_nested, count_openings

# Of an answer; a smaller one holds too little to be worth counting.
LARGE_BYTES: Final = 1 << 20
DENSE_NESTED: Final = 30_000
"""Objects and lists that take whoever reads a request a hundredth of a second and more."""
MAX_NESTED: Final = 200_000
"""Objects and lists of a request: ten thousand messages, or a thousand tools, have fewer."""
MAX_VALUES: Final = 4_000_000
"""Of a request, of all kinds."""
MAX_ANSWERED: Final = 2_000_000
"""Objects and lists of an answer, or of one event: probabilities of tokens are forty for each. It
may have any number of other values, being thousands of vectors."""


def crowd_of(text: bytes) -> str:
    """What a request has too much of, in words; empty: of nothing."""
    if len(text) <= MAX_VALUES and count_openings(text) <= MAX_NESTED:
        return ""  # each value is a byte at least
    nested, commas = count_nested(text)
    values = nested + commas
    if values > MAX_VALUES and nested <= MAX_NESTED:
        return f"expected at most {MAX_VALUES} values, got {values}"
    return _nested(nested, MAX_NESTED)


def is_dense(text: bytes) -> bool:
    """Whether a request may hold so much that nobody else should wait while it is read."""
    return len(text) > DENSE_NESTED and count_openings(text) > DENSE_NESTED


def crowd_answered(text: bytes) -> str:
    """The same of an answer, or of one event of a stream."""
    return "" if len(text) <= LARGE_BYTES else _nested(count_nested(text)[0], MAX_ANSWERED)


def _nested(nested: int, most: int) -> str:
    return f"expected at most {most} objects and lists, got {nested}" if nested > most else ""
