"""Reads text eight bytes at a time, each eight as one 64-bit word.

Knows how a word holds decimal digits: the text's first byte is the lowest, as on every processor
that this runs on. Knows nothing of numbers' signs, points or rounding.

`word_at` and `trailing_zeros` are one machine instruction each, which no Python expression reliably
becomes: compiled code gets the instruction, and what is written is a plain twin that runs where
nothing is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from kernels._jit import kernel

_THREE: Final = np.uint64(3)
_EIGHT: Final = np.uint64(8)
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)

# A pattern in each byte, pair or four of a word.
_DIGITS: Final = np.uint64(0x3030303030303030)
_TO_TOP: Final = np.uint64(0x7676767676767676)
_TOPS: Final = np.uint64(0x8080808080808080)
_LOWER_HALVES: Final = np.uint64(0x0F0F0F0F0F0F0F0F)
_PAIRS: Final = np.uint64(0x00FF00FF00FF00FF)
_FOURS: Final = np.uint64(0x0000FFFF0000FFFF)


def word_at(text: bytes, at: Any) -> Any:
    """The eight bytes from `at` on; the caller makes sure that the text holds them.

    Raises:
        IndexError: it does not, and nothing is compiled. Compiled, nobody would notice.
    """
    if at + _EIGHT > len(text):
        raise IndexError(f"text of {len(text)} bytes: expected eight from {at} on")
    return np.uint64(int.from_bytes(text[at : at + _EIGHT], "little"))


def trailing_zeros(word: Any) -> Any:
    """How many bits stand below the lowest that is set; 64 where none is."""
    word = int(word)
    return np.uint64((word & -word).bit_length() - 1 if word else 64)


@overload(word_at, inline="always")
def _word_at(text: Any, at: Any) -> Callable[..., Any]:
    def compiled(text: Any, at: Any) -> Any:
        return _load(text, at)

    return compiled


@overload(trailing_zeros, inline="always")
def _trailing_zeros(word: Any) -> Callable[..., Any]:
    def compiled(word: Any) -> Any:
        return _count(word)

    return compiled


def _typed_load(_typing: Any, text: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array: Any = make_array(signature.args[0])  # type: ignore[no-untyped-call]
        place = builder.gep(array(context, builder, arguments[0]).data, [arguments[1]])
        word = builder.bitcast(place, context.get_value_type(types.uint64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(text, at), generate


def _typed_count(_typing: Any, word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.uint64(word), generate


_load: Any = intrinsic(_typed_load)
_count: Any = intrinsic(_typed_count)


@kernel("uint64(uint64)")
def leading_digits(word: Any) -> Any:
    """How many bytes are digits before the first that is none: 0 to 8."""
    # A digit's byte, less the digits' upper half, is at most 9 and stays below 128 after adding
    # 118. What a byte carries into the next comes after the first that is no digit.
    plain = word ^ _DIGITS
    return trailing_zeros(((plain + _TO_TOP) | plain) & _TOPS) >> _THREE


@kernel("uint64(uint64, uint64)")
def spelled(word: Any, digits: Any) -> Any:
    """The number that the first so many bytes spell, all of them digits; 0 for none."""
    # They go to the end, behind zeros; in two steps, as no word can be shifted by all 64 bits.
    half = (_EIGHT - digits) << np.uint64(2)
    word = ((word << half) << half) & _LOWER_HALVES
    # Neighbours are joined, all at once: digits to pairs, pairs to fours, fours to the eight.
    pairs = (word * np.uint64(10) + (word >> np.uint64(8))) & _PAIRS
    fours = (pairs * np.uint64(100) + (pairs >> np.uint64(16))) & _FOURS
    return (fours * np.uint64(10_000) + (fours >> _HALF)) & _LOW
