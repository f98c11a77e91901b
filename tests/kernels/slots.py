"""Reads what the counting kernels left in a slot, word by word as `kernels.columns` lays them out.

The product reads all slots of a block at once (`gateway.profiles.live.Places`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kernels import columns
from kernels.columns import Reals, Words
from kernels.layouts import Layout

SPECIALS: Final = 8


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the finite values of one tick or of several, (columns,) each.

    Attributes:
        n: how many values.
        total: sum of value - centre.
        squares: sum of its square; inf where that is too large for a float.
        least: inf where there are no values.
        most: -inf where there are none.
    """

    n: Words
    total: Reals
    squares: Reals
    least: Reals
    most: Reals


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted so far of one tensor's columns.

    Attributes:
        rows: of the whole slot, as batches and last_ms are.
        last_ms: wall clock of the newest batch.
        special: (columns, SPECIALS) values beside the bins, in the order of columns.NAN to UNSEEN.
        bins: (all bins,) the columns' bins, one column's behind the other's.
        moments: of the one tick that was asked for.
    """

    rows: int
    batches: int
    last_ms: int
    special: Words
    bins: Words
    moments: Moments


def read_block(block: Words, layout: Layout, tick: int) -> Reading:
    """A copy of what one slot holds.

    Args:
        block: the slot. Its writer may be writing: a batch being counted is read in part.
        layout: which of its words are about which column.
        tick: whose moments are read. Those of the tick before the newest are complete, but for a
            batch that was being counted when the tick was raised.

    Raises:
        ValueError: the slot is smaller than the layout.
    """
    if len(block) < layout.block_words:
        raise ValueError(f"slot: expected {layout.block_words} words, got {len(block)}")
    special = block[layout.offsets[:, np.newaxis] + np.arange(SPECIALS)]
    return Reading(
        int(block[columns.ROWS]),
        int(block[columns.BATCHES]),
        int(block[columns.LAST_MS]),
        special,
        block[layout.bin_places],
        _moments(block, layout.offsets, tick),
    )


def _moments(block: Words, offsets: Words, tick: int) -> Moments:
    parity = tick & 1
    there = block[offsets + columns.SET_TICK + parity] == tick + 1
    places = offsets + columns.MOMENTS + parity * columns.SET_WORDS

    def word(number: int, empty: float) -> Any:
        return np.where(there, block[places + number].view(np.float64), empty)

    return Moments(
        np.where(there, block[places], 0),
        word(1, 0.0),
        word(2, 0.0),
        word(3, np.inf),
        word(4, -np.inf),
    )
