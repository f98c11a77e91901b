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
from typing import Final

import numpy as np

from kernels.ledger import Reals, Words

UNIT_BITS: Final = 10
UNITS: Final = (1 << UNIT_BITS) - 1
LOT_MASK: Final = (1 << 24) - 1
_CODES: Final = 1 << 14
_STEPS: Final = 1024  # codes to a halving


def lot(chance: float, unit: int = 0) -> int:
    """The bits of a row that had this chance, above 0 and up to 1, of what it got.

    Args:
        chance: below 1/65,000 it is told as that.
        unit: 1 to UNITS; 0: none.
    """
    return code_of(chance) << UNIT_BITS | unit


def code_of(chance: float) -> int:
    """What stands for a chance, above 0 and up to 1."""
    return min(1 + round(-math.log2(chance) * _STEPS), _CODES - 1)


def chances(codes: Words) -> Reals:
    """(rows,) the chance that each had of what it got; NaN: it was not left to chance."""
    return np.where(codes > 0, np.exp2((1.0 - codes) / _STEPS), np.nan)
