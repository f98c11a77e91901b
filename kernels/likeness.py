"""How alike two texts are, by the short pieces of them that both have.

Knows code points. Knows nothing of words, of languages, or of who wrote the texts.

Each run of SHINGLE characters is a piece; likeness is the share of all different pieces that stand
in both texts (Jaccard's index), so that it matters little where a sentence stands. Two answers that
say the same in other words are hardly alike: it tells how far a wording moved, not whether one of
them is wrong.

Source: shingles, Broder, On the resemblance and containment of documents (1997).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Table = np.ndarray[Any, np.dtype[np.uint64]]

SHINGLE: Final = 5
"""Characters: most words are longer, so that chance makes few pieces equal."""
MAX_CHARS: Final = 16 << 10
"""Of a text, from its beginning."""
WIDTH: Final = 4
"""Bytes of a character."""
TABLE_WORDS: Final = 4 * MAX_CHARS

_BASE: Final = np.uint64(0x100000001B3)  # the prime of FNV
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, made odd
_ONE: Final = np.uint64(1)
_FIRST: Final = np.uint64(1)
_SECOND: Final = np.uint64(2)
_MARKS: Final = np.uint64(3)


def points_of(text: str) -> bytes:
    """A text as `likeness` takes it: its first MAX_CHARS characters."""
    return text[:MAX_CHARS].encode("utf-32-le", errors="replace")


@kernel("uint64(Bytes(uint8, 1, 'C'), int64)")
def _point(text: bytes, at: int) -> np.uint64:
    """One more than the code point at a place: 0 stands for no character."""
    first = at * WIDTH
    low = np.uint64(text[first]) | (np.uint64(text[first + 1]) << np.uint64(8))
    return (low | (np.uint64(text[first + 2]) << np.uint64(16))) + _ONE


@kernel("void(Bytes(uint8, 1, 'C'), uint64[::1], uint64)")
def _mark(text: bytes, table: Table, mark: np.uint64) -> None:
    """Marks the pieces of a text; one that is shorter than a piece is one."""
    chars = len(text) // WIDTH
    width = min(chars, SHINGLE)
    if width == 0:
        return
    power = _ONE
    for _ in range(width):
        power *= _BASE
    mask, value = np.uint64(len(table) - 1), np.uint64(0)
    for at in range(chars):
        value = value * _BASE + _point(text, at)
        if at >= width:
            value -= power * _point(text, at - width)
        if at < width - 1:
            continue
        spread = value * _SPREAD
        kept, place = spread & ~_MARKS, spread >> np.uint64(40)
        while table[place & mask] != 0 and (table[place & mask] & ~_MARKS) != kept:
            place += _ONE
        table[place & mask] |= kept | mark


@kernel("float64(Bytes(uint8, 1, 'C'), Bytes(uint8, 1, 'C'), uint64[::1])")
def likeness(first: bytes, second: bytes, table: Table) -> float:
    """The share of pieces that two texts have in common.

    Args:
        first: a text, as `points_of` has it.
        second: the other one.
        table: (TABLE_WORDS,) for the kernel's own use; all of it may be overwritten.

    Returns:
        0 to 1; NaN where both are empty.
    """
    words = 64
    while words < (len(first) + len(second)) // WIDTH * 2:
        words *= 2
    own = table[:words]
    own[:] = 0
    _mark(first, own, _FIRST)
    _mark(second, own, _SECOND)
    pieces = common = 0
    for word in own:
        if word:
            pieces += 1
            common += (word & _MARKS) == _MARKS
    return common / pieces if pieces else np.nan
