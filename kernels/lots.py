"""How the variant of a row was chosen, in 24 bits: with which chance, and whom else it was said of.

Knows bits. Knows nothing of routes, of variants, or of who chose.

    bits 23..10  the chance that the row had to get the variant that it got, by logarithms: code c
                 is 2^-((c - 1) / 1024), within 0.04 % from 1 down to 1/65,000; 0: it was not left
                 to chance (its variant was asked for, or there is no route)
    bits 9..0    the unit that it belongs to, 1 to UNITS: rows of one sticky key are of one unit,
                 and many keys share one; 0: it has no key

They stand in the lower half of a record's TOP_AND_CORRECTIONS, above the corrections (`ledger`).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels.ledger import LOT_SHIFT, SEQUENCE, TOP_AND_CORRECTIONS, Reals, Words

UNIT_BITS: Final = 10
UNITS: Final = (1 << UNIT_BITS) - 1
_CODES: Final = 1 << 14
_STEPS: Final = 1024  # codes to a halving
_LOT_MASK: Final = (1 << 24) - 1
_MIXING: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 by the golden ratio
_TOP_TEN: Final = np.uint64(64 - UNIT_BITS)


def lot(chance: float, unit: int = 0) -> int:
    """The bits of a row that had this chance, above 0 and up to 1, of what it got.

    Args:
        chance: below 1/65,000 it is told as that.
        unit: 1 to UNITS; 0: none.
    """
    code = 1 + round(-math.log2(chance) * _STEPS)
    return min(code, _CODES - 1) << UNIT_BITS | unit


def told(chance: float) -> float:
    """What `chances` says of a row with that chance."""
    return float(chances(np.array([lot(chance)]))[0])


def lots_of(records: Words) -> Words:
    """(records,) the lot of each."""
    found: Words = records[:, TOP_AND_CORRECTIONS] >> LOT_SHIFT & _LOT_MASK
    return found


def codes(lots: Words) -> Words:
    """(rows,) what stands for the chance of each: equal ones are of equal chance; 0: of none."""
    return lots >> UNIT_BITS


def chances(lots: Words) -> Reals:
    """(rows,) the chance that each had of what it got; NaN: it was not left to chance."""
    found = codes(lots)
    return np.where(found > 0, np.exp2((1.0 - found) / _STEPS), np.nan)


def clusters(records: Words, lots: Words) -> Words:
    """(records,) 0 to UNITS: rows that may not be independent of each other have the same number.

    Args:
        records: (records, ledger.RECORD_WORDS).
        lots: of them. A row without a unit shares its number with the other rows of its request.
    """
    units = lots & UNITS
    mixed = records[:, SEQUENCE].astype(np.uint64) * _MIXING >> _TOP_TEN
    found: np.ndarray[Any, np.dtype[np.int64]] = np.where(units > 0, units, mixed.astype(np.int64))
    return found
