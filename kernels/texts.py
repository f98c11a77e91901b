"""What can be told of a text by its bytes: its script, phrases, and whether it goes in circles.

Knows UTF-8 and ranges of code points. Knows nothing of languages, or of who wrote the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Figures = np.ndarray[Any, np.dtype[np.float64]]
Table = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Starts = np.ndarray[Any, np.dtype[np.uint64]]

SCRIPTS: Final = (
    *("none", "latin", "greek", "cyrillic", "hebrew", "arabic", "indic", "thai"),
    *("hangul", "kana", "han", "other"),
)
"""none: no letters. indic: of India, from Devanagari to Malayalam. kana: Japanese syllables."""
_LATIN, _GREEK, _CYRILLIC, _HEBREW, _ARABIC, _INDIC, _THAI, _HANGUL, _KANA, _HAN, _OTHER = range(
    1, len(SCRIPTS)
)

# Places in the figures of a text.
SCRIPT: Final = 0  # by index in SCRIPTS: the one that most letters are of
REPEATED: Final = 1  # share of windows that stand in the text before; NaN: it is too short to tell
VISIBLE: Final = 2  # bytes that are no blanks
FIGURES: Final = 3

# Long enough that no two words in a row repeat by chance, short enough that a loop of one sentence
# shows after its second round.
WINDOW: Final = 24
MAX_BYTES: Final = 16 << 10
"""Of a text; its end is what tells of a loop."""
TABLE_WORDS: Final = 2 * MAX_BYTES

_BASE: Final = np.uint64(0x100000001B3)  # the prime of FNV
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, made odd
_ONE: Final = np.uint64(1)
_BYTE: Final = np.uint64(8)
_SHIFT: Final = np.uint64(40)

START_BYTES: Final = 8
"""Of a phrase, by which it is looked for: as many as one number holds."""


@kernel("int64(int64)")
def script_of(point: int) -> int:
    """The script of a code point, by index in SCRIPTS; 0 for what is no letter."""
    if point < 0x80:
        lower = point | 0x20
        return _LATIN if 0x61 <= lower <= 0x7A else 0
    if point < 0x370:
        return 0 if point < 0xC0 or point == 0xD7 or point == 0xF7 else _LATIN
    if point < 0x400:
        return _GREEK
    if point < 0x530:
        return _CYRILLIC
    if point < 0x590:
        return _OTHER
    if point < 0x600:
        return _HEBREW
    if point < 0x780:
        return _ARABIC
    if point < 0x900:
        return _OTHER
    if point < 0xD80:
        return _INDIC
    if point < 0xE00:
        return _OTHER
    if point < 0xE80:
        return _THAI
    if point < 0x1100:
        return _OTHER
    if point < 0x1200:
        return _HANGUL
    if point < 0x1E00:
        return _OTHER
    if point < 0x1F00:
        return _LATIN
    if point < 0x2000:
        return _GREEK
    if point < 0x3040:  # marks, arrows, figures, and their like
        return 0
    if point < 0x3100:
        return _KANA
    if point < 0x3400:
        if 0x31F0 <= point < 0x3200:
            return _KANA
        return _HANGUL if 0x3130 <= point < 0x3190 else 0
    if point < 0xA000:
        return _HAN
    if point < 0xAC00:
        return _OTHER
    if point < 0xD800:
        return _HANGUL
    if 0xF900 <= point < 0xFB00:
        return _HAN
    if 0xFF21 <= point < 0xFF5B:
        return _LATIN
    if 0xFF66 <= point < 0xFFA0:
        return _KANA
    return _HAN if 0x20000 <= point < 0x32000 else 0


@kernel("int64(uint8[::1], int64[::1])")
def _count_scripts(text: Bytes, scripts: Table) -> int:
    """Letters by script into `scripts`; returns how many bytes are no blanks."""
    visible = point = left = 0
    for byte in text:
        if byte > 0x20:
            visible += 1
        if byte < 0x80:
            scripts[script_of(int(byte))] += 1
            left = 0
        elif byte < 0xC0:
            point = (point << 6) | (int(byte) & 0x3F)
            left -= 1
            if left == 0:
                scripts[script_of(point)] += 1
        elif byte < 0xE0:
            point, left = int(byte) & 0x1F, 1
        elif byte < 0xF0:
            point, left = int(byte) & 0x0F, 2
        else:
            point, left = int(byte) & 0x07, 3
    return visible


@kernel("float64(uint8[::1], int64[::1])")
def _repeated(text: Bytes, table: Table) -> float:
    """The share of windows that stand before; `table` is of a power of two, and all zeros."""
    windows = len(text) - WINDOW + 1
    if windows <= WINDOW:
        return np.nan
    mask = np.uint64(len(table) - 1)
    power = _ONE
    for _ in range(WINDOW):
        power *= _BASE
    value, repeats = np.uint64(0), 0
    for at in range(len(text)):
        value = value * _BASE + np.uint64(text[at]) + _ONE
        if at >= WINDOW:
            value -= power * (np.uint64(text[at - WINDOW]) + _ONE)
        if at < WINDOW - 1:
            continue
        spread = value * _SPREAD
        kept = np.int64(spread | _ONE)  # 0 stands for a place that is free
        place = spread >> _SHIFT
        while True:
            found = table[place & mask]
            if found == 0:
                table[place & mask] = kept
                break
            if found == kept:
                repeats += 1
                break
            place += _ONE
    return repeats / windows


@kernel("void(uint8[::1], int64[::1], int64[::1], float64[:, ::1])")
def read_texts(joined: Bytes, ends: Table, table: Table, figures: Figures) -> None:
    """Figures of texts, as many as there are by one call: calling costs more than a short one.

    Args:
        joined: the texts, one after the other: UTF-8; bytes that are none of it are no letters.
        ends: (texts,) where each ends; none is longer than MAX_BYTES.
        table: (TABLE_WORDS,) for the kernel's own use; all of it may be overwritten.
        figures: (texts, FIGURES) of each.
    """
    scripts = np.zeros(len(SCRIPTS), np.int64)
    start = 0
    for one in range(len(ends)):
        text = joined[start : ends[one]]
        start = ends[one]
        scripts[:] = 0
        figures[one, VISIBLE] = _count_scripts(text, scripts)
        scripts[0] = 0
        figures[one, SCRIPT] = scripts.argmax()
        words = 64
        while words < 2 * len(text):
            words *= 2
        own = table[:words]
        own[:] = 0
        figures[one, REPEATED] = _repeated(text, own)


@kernel("int64(Bytes(uint8, 1, 'C'), uint64[::1])")
def any_start(text: bytes, starts: Starts) -> int:
    """Whether one of some phrases may stand in a text: 1, or 0 where none does.

    Args:
        text: any bytes.
        starts: of `starts_of`.
    """
    mask, value = np.uint64(len(starts) - 1), np.uint64(0)
    for at in range(len(text)):
        value = (value << _BYTE) | np.uint64(text[at])
        if at < START_BYTES - 1:
            continue
        place = (value * _SPREAD) >> _SHIFT
        while starts[place & mask] != 0:
            if starts[place & mask] == value:
                return 1
            place += _ONE
    return 0


def starts_of(phrases: Sequence[bytes]) -> Starts:
    """The first bytes of phrases, as `any_start` looks for them.

    Args:
        phrases: of START_BYTES or more each, no zeros among them.

    Returns:
        A hash table with open addressing, at most half of it taken.

    Raises:
        ValueError: a phrase is shorter.
    """
    size = 64
    while size < 2 * len(phrases):
        size *= 2
    table = [0] * size
    for phrase in phrases:
        if len(phrase) < START_BYTES:
            raise ValueError(f"expected phrases of {START_BYTES} bytes or more, got {phrase!r}")
        value = int.from_bytes(phrase[:START_BYTES], "big")
        place = (value * int(_SPREAD) % 2**64) >> int(_SHIFT)
        while table[place % size] not in (0, value):
            place += 1
        table[place % size] = value
    return np.array(table, np.uint64)
