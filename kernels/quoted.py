"""Finds the long strings of JSON text, so that whoever reads the text need not read them.

Knows how JSON writes strings, and UTF-8. Knows nothing else of JSON: what is outside of strings is
not looked at, and may be anything.

Loops over a block have no branches, so that the compiler makes them as wide as the processor is.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Spans = np.ndarray[Any, np.dtype[np.int64]]

# Columns of a string's row.
START: Final = 0  # of what is between the quotes
END: Final = 1
CHARS: Final = 2  # code points that it stands for
COLUMNS: Final = 3

FAULTY: Final = -1
"""The text is no JSON."""
DENSE: Final = -2
"""A string is mostly escapes: reading it costs no more than finding its end."""

_QUOTE, _ESCAPE, _BLANK = 0x22, 0x5C, 0x20
_BEYOND: Final = 0x80  # ASCII
_BLOCK: Final = 64
_LOOK_BACK: Final = 3  # a character of UTF-8 has three bytes more at most
# As many blocks of a string are read byte by byte, and a quarter of the others.
_SPARED: Final = 32  # quarters

# What is told of a string while its end is looked for.
_FEWER: Final = 0  # characters than bytes, for its escapes
_HIGH: Final = 1  # whether it goes beyond ASCII
_TOLD: Final = 2


@kernel("uint8(Bytes(uint8, 1, 'C'), uint64)")
def _block_kind(text: bytes, at: Any) -> Any:
    """0 of plain ASCII; odd where there is anything to look at; from _BEYOND on beyond ASCII."""
    odd, high = np.uint8(0), np.uint8(0)
    for place in range(_BLOCK):
        byte = text[at + np.uint64(place)]
        odd = np.uint8(odd | np.uint8((byte < _BLANK) | (byte == _QUOTE) | (byte == _ESCAPE)))
        high = np.uint8(high | byte)
    return np.uint8((high & _BEYOND) | odd)


@kernel("int64(Bytes(uint8, 1, 'C'), uint64)")
def _escapes_in_block(text: bytes, at: Any) -> Any:
    """Backslashes of a block in which all is plain but for escapes of two bytes; FAULTY: it is not.

    No two stand side by side, so that each begins an escape; one at the end goes on after it.
    """
    odd, count = np.uint8(0), np.uint8(0)
    for place in range(_BLOCK):
        byte, before = text[at + np.uint64(place)], text[at + np.uint64(place) - np.uint64(1)]
        escaped = before == _ESCAPE
        known = (byte == 0x6E) | (byte == _QUOTE) | (byte == 0x74) | (byte == 0x72)
        known |= (byte == 0x2F) | (byte == 0x62) | (byte == 0x66)
        wrong = (byte < _BLANK) | (escaped & ~known) | (~escaped & (byte == _QUOTE))
        odd = np.uint8(odd | np.uint8(wrong))
        count = np.uint8(count + np.uint8(byte == _ESCAPE))
    return np.int64(count) if odd == 0 else FAULTY


@kernel("int64(Bytes(uint8, 1, 'C'), int64)")
def _hex_unit(text: bytes, at: int) -> int:
    """The number that four hexadecimal digits are; FAULTY where they are none."""
    if at + 4 > len(text):
        return FAULTY
    value = 0
    for place in range(4):
        digit = int(text[at + place])
        if 0x30 <= digit <= 0x39:
            digit -= 0x30
        else:
            digit = (digit | 0x20) - 0x57
            if digit < 10 or digit > 15:
                return FAULTY
        value = value * 16 + digit
    return value


@kernel("int64(Bytes(uint8, 1, 'C'), int64)")
def _escape_bytes(text: bytes, at: int) -> int:
    """Bytes of the escape whose backslash stands at `at`, 12 of a pair; FAULTY where it is none."""
    if at + 1 >= len(text):
        return FAULTY
    kind = text[at + 1]
    if kind != 0x75:
        known = kind in (0x6E, _QUOTE, _ESCAPE, 0x74, 0x72, 0x2F, 0x62, 0x66)
        return 2 if known else FAULTY
    unit = _hex_unit(text, at + 2)
    if unit < 0xD800 or unit >= 0xE000:
        return FAULTY if unit == FAULTY else 6
    # Half of a pair stands for nothing without the other half.
    if unit >= 0xDC00 or at + 12 > len(text) or text[at + 6] != _ESCAPE or text[at + 7] != 0x75:
        return FAULTY
    return 12 if 0xDC00 <= _hex_unit(text, at + 8) < 0xE000 else FAULTY


@kernel("boolean(uint8, uint8, uint8, uint8)")
def _misplaced(third: int, second: int, before: int, byte: int) -> Any:
    """Whether a byte may not follow the three before it in UTF-8."""
    wanted = (before >= 0xC0) | (second >= 0xE0) | (third >= 0xF0)
    wrong = ((byte & 0xC0) == 0x80) != wanted
    wrong |= (byte == 0xC0) | (byte == 0xC1) | (byte > 0xF4)
    # Longer than need be, half of a pair, beyond the last character.
    wrong |= ((before == 0xE0) & (byte < 0xA0)) | ((before == 0xED) & (byte > 0x9F))
    wrong |= ((before == 0xF0) & (byte < 0x90)) | ((before == 0xF4) & (byte > 0x8F))
    return wrong


@kernel("int64(Bytes(uint8, 1, 'C'), uint64)")
def _continuations_in_block(text: bytes, at: Any) -> Any:
    """Bytes of a block that go on with a character; FAULTY where it is not UTF-8."""
    wrong, count = np.uint8(0), np.uint8(0)
    for place in range(_BLOCK):
        here = at + np.uint64(place)
        byte = text[here]
        bad = _misplaced(
            text[here - np.uint64(3)], text[here - np.uint64(2)], text[here - np.uint64(1)], byte
        )
        wrong = np.uint8(wrong | np.uint8(bad))
        count = np.uint8(count + np.uint8((byte & 0xC0) == 0x80))
    return np.int64(count) if wrong == 0 else FAULTY


@kernel("int64(Bytes(uint8, 1, 'C'), int64, int64)")
def _continuations(text: bytes, start: int, end: int) -> int:
    """Bytes of a string that go on with a character; FAULTY where it is not UTF-8.

    Args:
        text: with a quote before the string, and two bytes or more before that.
        start: of the string.
        end: of it; there stands its quote, which ends the last character, too.
    """
    at, count = start, 0
    while at + _BLOCK <= end + 1:
        found = _continuations_in_block(text, np.uint64(at))
        if found == FAULTY:
            return FAULTY
        count += found
        at += _BLOCK
    while at <= end:
        if _misplaced(text[at - 3], text[at - 2], text[at - 1], text[at]):
            return FAULTY
        count += (text[at] & 0xC0) == 0x80
        at += 1
    return count


@kernel("int64(Bytes(uint8, 1, 'C'), int64, int64, int64[::1])")
def _read_on(text: bytes, at: int, until: int, told: Spans) -> int:
    """Reads a string byte by byte from `at` to its quote, or as far as `until`.

    Returns:
        Where it has come to, which may be in the middle of a character, but of no escape; FAULTY.
    """
    while at < until and text[at] != _QUOTE:
        size = 1 if text[at] != _ESCAPE else _escape_bytes(text, at)
        if size == FAULTY or text[at] < _BLANK:
            return FAULTY
        told[_HIGH] |= text[at] & _BEYOND
        told[_FEWER] += size - 1
        at += size
    return at


@kernel("int64(Bytes(uint8, 1, 'C'), int64, int64[::1])")
def _end_of_string(text: bytes, start: int, told: Spans) -> int:
    """Where the quote is that ends a string; FAULTY, DENSE.

    Args:
        text: with a quote before `start`.
        start: of the string.
        told: (_TOLD,) takes what there is to say of it.
    """
    told[:] = 0
    at, slow, size = start, 0, len(text)
    while at + _BLOCK <= size:
        kind = _block_kind(text, np.uint64(at))
        told[_HIGH] |= kind & _BEYOND
        if kind & 1 == 0:
            at += _BLOCK
            continue
        # Whether a backslash before it goes on in the block is not known, if there is one.
        escapes = FAULTY if text[at - 1] == _ESCAPE else _escapes_in_block(text, np.uint64(at))
        if escapes != FAULTY:
            cut_off = text[at + _BLOCK - 1] == _ESCAPE
            told[_FEWER] += escapes - cut_off
            at += _BLOCK - cut_off
            continue
        until = at + _BLOCK
        at = _read_on(text, at, until, told)
        if at < until:
            return at
        slow += 1
        if _BLOCK * (4 * slow - _SPARED) > at - start:
            return DENSE
    at = _read_on(text, at, size, told)
    return at if at < size else FAULTY


@kernel("int64(Bytes(uint8, 1, 'C'), int64)")
def _next_quote(text: bytes, at: int) -> int:
    """Where the next quote is; the length of the text where none is."""
    size = len(text)
    while at < size and text[at] != _QUOTE:
        at += 1
    return at


@kernel("boolean(Bytes(uint8, 1, 'C'), int64)")
def _names_a_field(text: bytes, at: int) -> bool:
    """Whether the string that ends before `at` is the name of a field."""
    while at < len(text):
        byte = text[at]
        if byte not in (0x20, 0x0A, 0x0D, 0x09):
            return byte == 0x3A
        at += 1
    return False


@kernel("int64(Bytes(uint8, 1, 'C'), int64, int64, int64[:, ::1])")
def long_strings(text: bytes, least: int, most_other: int, found: Spans) -> int:
    """Finds strings that are long, and values: names of fields are none.

    Whoever puts others in their places has a text that is JSON if and only if this is, and says the
    same but for these strings: what stands in them was checked, escapes and UTF-8.

    Args:
        text: any bytes.
        least: of a long string, bytes between its quotes.
        most_other: bytes outside of long strings; of a text with more, none is told.
        found: (most, COLUMNS) takes what is found, in order; further ones are not looked for.

    Returns:
        How many there are. FAULTY, DENSE: the text is for others to judge.
    """
    at, count, cut, size = 0, 0, 0, len(text)
    told = np.zeros(_TOLD, np.int64)
    while count < len(found):
        quote = _next_quote(text, at)
        if quote == size or quote - cut > most_other:
            break
        start = quote + 1
        end = _end_of_string(text, start, told)
        if end < 0:
            return end
        at = end + 1
        if end - start < least or start < _LOOK_BACK or _names_a_field(text, at):
            continue
        chars = end - start - told[_FEWER]
        if told[_HIGH]:
            continuations = _continuations(text, start, end)
            if continuations == FAULTY:
                return FAULTY
            chars -= continuations
        found[count, START], found[count, END], found[count, CHARS] = start, end, chars
        count += 1
        cut += end - start
    return count if size - cut <= most_other else 0
