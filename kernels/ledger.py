"""Finds records of a ledger by their address, and writes outcomes into them.

Knows the words of a record. Knows nothing of files, of ids as text, or of what an outcome means.

A record is RECORD_WORDS words of 64 bits, the same in memory and on disk. Records are found by
binary search over (sequence, row), in the order that they have or in one that is given.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Words = np.ndarray[Any, np.dtype[np.int64]]
Reals = np.ndarray[Any, np.dtype[np.float64]]

# Words of a record. Two narrow numbers share a word: the first in the upper half. The lower half
# of TOP_AND_CORRECTIONS has 8 bits of corrections and, above them, 24 of how the row's variant was
# chosen (`kernels.lots`), which were 0 before there were routes.
SEQUENCE, TIME_MS, SERIES_AND_ROW, SCORE, TOP_AND_CORRECTIONS, OUTCOME, OUTCOME_MS, MARKS = range(8)
RECORD_WORDS: Final = 8
MAX_CORRECTIONS: Final = 0xFF
LOT_SHIFT: Final = 8
_HALF: Final = 32
_LOW: Final = 0xFFFFFFFF

# What became of an outcome.
ACCEPTED, DUPLICATE, CORRECTED = range(3)

# Words of what is looked for, and was found: a record, its row, its place and the file it is in.
ROW, PLACE, FILE = range(RECORD_WORDS, RECORD_WORDS + 3)
FOUND_WORDS: Final = RECORD_WORDS + 3
NOT_THERE: Final = -1


def series_of(records: Words) -> Words:
    """(records,) the number of the series that each is of."""
    return records[:, SERIES_AND_ROW] >> _HALF


def rows_of(records: Words) -> Words:
    """(records,) which row of its request each is of."""
    return records[:, SERIES_AND_ROW] & _LOW


def series_and_rows(series: Words | int, rows: Words) -> Words:
    """(records,) the words that hold both."""
    return series << _HALF | rows


def wanted(sequences: Words, rows: Words) -> Words:
    """(wanted, FOUND_WORDS) to look for: none was found yet."""
    found = np.empty((len(sequences), FOUND_WORDS), np.int64)
    found[:, SEQUENCE], found[:, ROW], found[:, FILE] = sequences, rows, NOT_THERE
    return found


def address_order(words: Words) -> Words:
    """(records,) places in the order of (sequence, row); of equal ones the first comes first."""
    order: Words = np.lexsort((rows_of(words), words[:, SEQUENCE]))
    return order


@kernel("void(int64[:, ::1], int64[::1], int64[::1], int64[:, ::1], int64)")
def gather(words: Words, order: Words, chosen: Words, found: Words, file: int) -> None:
    """Copies out the records that are looked for and here.

    Args:
        words: (records, RECORD_WORDS).
        order: (records,) their places by address; or none, where they lie in that order.
        chosen: (chosen,) which of `found` to look for; those that have a file are passed over.
        found: (wanted, FOUND_WORDS) with SEQUENCE and ROW of each. Where it is here, its record,
            PLACE and `file` are filled in.
        file: the number of this file.
    """
    count = len(words)
    ordered = len(order) > 0
    for one in chosen:
        if found[one, FILE] != NOT_THERE:
            continue
        sequence, row = found[one, SEQUENCE], found[one, ROW]
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            place = order[middle] if ordered else middle
            there = words[place, SEQUENCE]
            if there < sequence or (
                there == sequence and (words[place, SERIES_AND_ROW] & _LOW) < row
            ):
                low = middle + 1
            else:
                high = middle
        if low == count:
            continue
        place = order[low] if ordered else low
        if words[place, SEQUENCE] == sequence and (words[place, SERIES_AND_ROW] & _LOW) == row:
            for word in range(RECORD_WORDS):
                found[one, word] = words[place, word]
            found[one, PLACE] = place
            found[one, FILE] = file


@kernel("void(int64[:, ::1], float64[:, ::1], int64[::1], float64[::1], int64[::1], int64[::1])")
def write_outcomes(
    words: Words, reals: Reals, places: Words, outcomes: Reals, at_ms: Words, became: Words
) -> None:
    """Writes outcomes into their records, one after the other: the last of several stands.

    Args:
        words: (records, RECORD_WORDS).
        reals: the same memory.
        places: (outcomes,) of their records.
        outcomes: (outcomes,) none of them NaN, which stands for none.
        at_ms: (outcomes,) when each was known.
        became: (outcomes,) filled with ACCEPTED, DUPLICATE (the same stood there) or CORRECTED.
    """
    for one in range(len(places)):
        place = places[one]
        stood = reals[place, OUTCOME]
        if stood == outcomes[one]:
            became[one] = DUPLICATE
            continue
        if math.isnan(stood):
            became[one] = ACCEPTED
        else:
            became[one] = CORRECTED
            if words[place, TOP_AND_CORRECTIONS] & MAX_CORRECTIONS < MAX_CORRECTIONS:
                words[place, TOP_AND_CORRECTIONS] += 1
        words[place, OUTCOME_MS] = at_ms[one]
        reals[place, OUTCOME] = outcomes[one]
