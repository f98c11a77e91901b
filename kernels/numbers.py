"""Reads JSON arrays of numbers straight from their text.

Knows the grammar of JSON numbers and how to round them. Knows nothing of what they mean.

Every number read here is exactly what `float()` makes of its text, rounded once more where the
array is of float32. What is unusual (more than 19 significant digits, results that are subnormal or
too large, other tokens) is not read at all: the caller has a slower way that takes everything.

Source: D. Lemire, Number Parsing at a Gigabyte per Second (2021), for `_rounded`; W. D. Clinger,
How to Read Floating Point Numbers Accurately (1990), for the exact case before it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._jit import kernel
from kernels._words import leading_digits, spelled, word_at

Array = np.ndarray[Any, np.dtype[Any]]

MAX_RANK: Final = 16
_MIN_POWER: Final = -342  # below it a mantissa of 19 digits is zero
_MAX_POWER: Final = 308
_MAX_DIGITS: Final = np.uint64(19)  # as many always fit 64 bits

_LOW: Final = np.uint64(0xFFFFFFFF)
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_EIGHT: Final = np.uint64(8)
_TEN: Final = np.uint64(10)
_HALF: Final = np.uint64(32)
_TOP: Final = np.uint64(63)
# A product's upper word holds the float's 53 bits, one to round by, and at least 9 to decide with.
_SPARE: Final = np.uint64(9)
_UNDECIDED: Final = np.uint64((1 << 9) - 1)
_EXACT: Final = np.uint64(1 << 53)
_HIDDEN: Final = np.uint64(1 << 52)
_FRACTION: Final = np.uint64((1 << 52) - 1)
_FRACTION_BITS: Final = np.uint64(52)

_POWERS: Final = np.array([10**power for power in range(9)], np.uint64)
"""What a mantissa grows by for so many digits."""

_TENS: Final = np.array([10.0**power for power in range(23)])
"""Powers of ten that a float64 holds exactly."""


def _power_of_five(power: int) -> tuple[int, int]:
    """The leading 128 bits of 5**power, upper and lower half; cut off, or rounded up below zero."""
    if power >= 0:
        value = 5**power
        length = value.bit_length()
        bits = value << (128 - length) if length <= 128 else value >> (length - 128)
    else:
        divisor = 5**-power
        bits = (1 << (divisor.bit_length() + 127)) // divisor + 1
        bits >>= bits.bit_length() - 128
    return bits >> 64, bits & ((1 << 64) - 1)


_FIVES: Final = np.array(
    [_power_of_five(power) for power in range(_MIN_POWER, _MAX_POWER + 1)], np.uint64
)


@kernel("UniTuple(uint64, 2)(uint64, uint64)")
def _product(left: Any, right: Any) -> tuple[Any, Any]:
    """The upper and lower word of a 128-bit product."""
    left_high, left_low = left >> _HALF, left & _LOW
    right_high, right_low = right >> _HALF, right & _LOW
    low = left_low * right_low
    cross = left_high * right_low
    other = left_low * right_high
    middle = (low >> _HALF) + (cross & _LOW) + (other & _LOW)
    high = left_high * right_high + (cross >> _HALF) + (other >> _HALF) + (middle >> _HALF)
    return high, (middle << _HALF) | (low & _LOW)


@kernel("float64(uint64, int64)")
def _rounded(mantissa: Any, power: Any) -> float:
    """The float64 nearest to mantissa * 10**power, ties to even; inf where this cannot tell."""
    if power < _MIN_POWER or power > _MAX_POWER:
        return np.inf
    # A float64's exponent is the bit length, or one more where the mantissa is rounded up to it.
    length = (np.float64(mantissa).view(np.int64) >> 52) - 1022
    shift = np.uint64(64 - length) if length < 64 else _ZERO
    if not (mantissa << shift) >> _TOP:
        shift += _ONE
    mantissa <<= shift
    high, low = _product(mantissa, _FIVES[power - _MIN_POWER, 0])
    if high & _UNDECIDED == _UNDECIDED:
        # What the lower half of the power adds might still carry into the bits that count.
        more, _ = _product(mantissa, _FIVES[power - _MIN_POWER, 1])
        if low > _ALL - more:
            high += _ONE
            low -= _ALL - more + _ONE
        else:
            low += more
        if low == _ALL and (power < -27 or power > 55):
            return np.inf
    upper = high >> _TOP
    bits = high >> (upper + _SPARE)
    # 217706 / 2**16 is log2(10) closely enough for every power in the table.
    exponent = ((217706 * power) >> 16) + 63 + np.int64(upper) - np.int64(shift) + 1023
    if exponent <= 0:
        return np.inf
    half_way = low <= _ONE and -4 <= power <= 23 and bits << (upper + _SPARE) == high
    if half_way and bits & np.uint64(3) == _ONE:
        bits -= _ONE  # else it would be rounded up, away from its even neighbour
    bits = (bits + (bits & _ONE)) >> _ONE
    if bits == _EXACT:
        bits = _HIDDEN
        exponent += 1
    if exponent >= 2047:
        return np.inf
    word = (np.uint64(exponent) << _FRACTION_BITS) | (bits & _FRACTION)
    value: float = np.uint64(word).view(np.float64)
    return value


@kernel("float64(uint64, int64)")
def _scaled(mantissa: Any, power: Any) -> float:
    """The value of mantissa * 10**power as `float()` has it, or inf where this cannot tell."""
    if mantissa == _ZERO:
        return 0.0
    if mantissa > _EXACT or power < -22 or power > 22:
        return _rounded(mantissa, power)
    # Both are exact, so that the one operation rounds once.
    exact: float = np.float64(mantissa)
    return exact * float(_TENS[power]) if power >= 0 else exact / float(_TENS[-power])


# One loop for all of it: a kernel that is handed the text counts a reference to it, and at one or
# two calls for each number that takes longer than reading the number.
@kernel(
    "boolean(Bytes(uint8, 1, 'C'), uint64, uint64, int64[::1], float32[::1])",
    "boolean(Bytes(uint8, 1, 'C'), uint64, uint64, int64[::1], float64[::1])",
)
def _read(text: Any, at: Any, stop: Any, shape: Array, out: Array) -> bool:
    """Reads nested arrays; false at the first thing that is not as it should be.

    `text[stop - 1]` is a closing bracket, at which every inner loop ends.
    """
    rank = len(shape)
    counts = np.zeros(MAX_RANK + 1, np.int64)
    depth = 0
    filled = 0
    while at < stop:
        # ---- a value: an array that opens, or a number
        while text[at] <= 32:
            if text[at] != 32 and text[at] != 10 and text[at] != 13 and text[at] != 9:
                return False
            at += _ONE
        if text[at] == 91:  # [
            if depth == rank:
                return False
            depth += 1
            counts[depth] = 0
            at += _ONE
            while text[at] == 32 or text[at] == 10 or text[at] == 13 or text[at] == 9:
                at += _ONE
            if text[at] != 93:
                continue
        else:
            if depth != rank or filled == len(out):
                return False
            run = 0
            while True:
                negative = text[at] == 45  # -
                if negative:
                    at += _ONE
                first = at
                point = _ZERO
                mantissa = _ZERO
                while 48 <= text[at] <= 57:
                    mantissa = mantissa * _TEN + np.uint64(text[at] - 48)
                    at += _ONE
                if text[at] == 46:  # .
                    at += _ONE
                    point = at
                    while at + _EIGHT <= stop:
                        # As many digits as come, without a branch on how many: that varies.
                        word = word_at(text, at)
                        taken = leading_digits(word)
                        mantissa = mantissa * _POWERS[taken] + spelled(word, taken)
                        at += taken
                        if text[at] < 48 or text[at] > 57:
                            break
                    while 48 <= text[at] <= 57:  # the last few bytes of the text
                        mantissa = mantissa * _TEN + np.uint64(text[at] - 48)
                        at += _ONE
                digits = at - first
                power = np.int64(0)
                if point != _ZERO:
                    digits -= _ONE
                    power = np.int64(point) - np.int64(at)
                    if power == 0 or point - first < 2:
                        return False
                if digits == _ZERO or (text[first] == 48 and digits > _ONE and point - first != 2):
                    return False
                if digits > _MAX_DIGITS:
                    # The mantissa may have wrapped, unless the first of these digits are zeros.
                    zeros = first
                    while text[zeros] == 48 or text[zeros] == 46:
                        zeros += _ONE
                    if at - zeros > _MAX_DIGITS:
                        return False
                whole = point == _ZERO
                if text[at] == 101 or text[at] == 69:  # e, E
                    whole = False
                    at += _ONE
                    down = text[at] == 45
                    if down or text[at] == 43:
                        at += _ONE
                    first = at
                    exponent = np.int64(0)
                    while 48 <= text[at] <= 57:
                        if exponent < 10_000:
                            exponent = exponent * 10 + np.int64(text[at] - 48)
                        at += _ONE
                    if at == first:
                        return False
                    power += -exponent if down else exponent
                value = _scaled(mantissa, power)
                # The integer -0 is 0, as a JSON decoder has it; the number -0.0 keeps its sign.
                out[filled] = -value if negative and not (whole and mantissa == _ZERO) else value
                if np.isinf(out[filled]):
                    return False
                filled += 1
                run += 1
                # Mostly another number follows at once.
                if text[at] != 44 or filled == len(out):
                    break
                following = text[at + _ONE]
                if following != 45 and (following < 48 or following > 57):
                    break
                at += _ONE
            counts[depth] += run
        # ---- what follows a value: the arrays that it closes, then a comma or the end
        while True:
            while text[at] == 32 or text[at] == 10 or text[at] == 13 or text[at] == 9:
                at += _ONE
            if text[at] == 44:  # ,
                at += _ONE
                break
            if text[at] != 93 or counts[depth] != shape[depth - 1]:
                return False
            depth -= 1
            at += _ONE
            if depth == 0:
                return at == stop and filled == len(out)
            if at == stop:
                return False
            counts[depth] += 1
    return False


def read_floats(text: bytes, start: int, stop: int, shape: tuple[int, ...], out: Array) -> bool:
    """Reads an array of numbers from JSON text.

    Args:
        text: holds the array at [start, stop), brackets included.
        start: where its opening bracket stands.
        stop: behind its closing bracket.
        shape: how the brackets nest: `(count,)` for a flat one.
        out: flat float32 or float64, one element for each number; its values mean nothing where
            the answer is false.

    Returns:
        Whether every number was read; false also for what is no such array.

    Raises:
        ValueError: the span is outside the text, or the shape has no or too many axes.
    """
    if not 0 <= start < stop <= len(text):
        raise ValueError(
            f"span of {len(text)} bytes: expected 0 <= start < stop, got {start}, {stop}"
        )
    if not 1 <= len(shape) <= MAX_RANK:
        raise ValueError(f"shape: expected 1 to {MAX_RANK} axes, got {len(shape)}")
    if text[start] != 91 or text[stop - 1] != 93:
        return False
    with np.errstate(over="ignore"):  # words wrap where nothing is compiled
        return bool(_read(text, np.uint64(start), np.uint64(stop), np.array(shape, np.int64), out))
