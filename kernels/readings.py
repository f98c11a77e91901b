"""Reads what the counting kernels left in a slot, and adds readings up.

Knows the words of a slot and of a layout's columns. Knows nothing of windows or statistics.
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


def merge(one: Reading, other: Reading) -> Reading:
    """Both together: two workers' slots, or two hosts', of equal layout.

    Counts come out the same in any order; sums of floats do but for their last bits.

    Raises:
        ValueError: they are of different layouts.
    """
    if one.special.shape != other.special.shape or one.bins.shape != other.bins.shape:
        raise ValueError(
            f"merge: expected {one.special.shape[0]} columns and {len(one.bins)} bins,"
            f" got {other.special.shape[0]} and {len(other.bins)}"
        )
    return Reading(
        one.rows + other.rows,
        one.batches + other.batches,
        max(one.last_ms, other.last_ms),
        one.special + other.special,
        one.bins + other.bins,
        merge_moments(one.moments, other.moments),
    )


def merge_moments(one: Moments, other: Moments) -> Moments:
    """Of both one's values and the other's."""
    return Moments(
        one.n + other.n,
        one.total + other.total,
        one.squares + other.squares,
        np.minimum(one.least, other.least),
        np.maximum(one.most, other.most),
    )
