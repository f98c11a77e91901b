"""What is said of a row beside its score, in one word: its groups, and how it was chosen.

Knows bits. Knows nothing of slices, of policies, or of who chose.

    upper half   the chance that the row was held out, or that it was not, whichever it is, in units
                 of 2^-31; 0: nothing was left to chance
    bit 30       it was held out
    bits 29..0   of each of GROUPINGS slicings the group that the row is in, GROUP_BITS each, the
                 first in the lowest; 0: in none

A set of rows is chosen by a mask and what the word is under it (`grouped`, `HELD_OUT`).
"""

from __future__ import annotations

from typing import Final

GROUPINGS: Final = 6
GROUP_BITS: Final = 5
MAX_GROUPS: Final = (1 << GROUP_BITS) - 1
HELD_OUT: Final = 1 << 30
_HALF: Final = 32
_CERTAIN: Final = 1 << 31
# Under this mask stands what `chosen` gives.
BY_CHANCE: Final = (_CERTAIN - 1) << _HALF | HELD_OUT


def grouped(grouping: int, group: int) -> tuple[int, int]:
    """Mask and value of the rows that are in a group of a slicing.

    Args:
        grouping: which slicing, from 0 on.
        group: which of its groups, from 1 on; 0: those in none.
    """
    shift = grouping * GROUP_BITS
    return MAX_GROUPS << shift, group << shift


def chosen(chance: float, held_out: bool) -> int:
    """The bits of a row for which that had that chance, above 0 and below 1."""
    units = min(max(round(chance * _CERTAIN), 1), _CERTAIN - 1)
    return units << _HALF | (HELD_OUT if held_out else 0)


def chance(word: int) -> float | None:
    """How probable it was that the row was held out, or was not, whichever it is; None: certain."""
    units = word >> _HALF
    return units / _CERTAIN if units else None
