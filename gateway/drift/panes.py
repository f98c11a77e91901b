"""What was counted in a stretch of time, and how stretches are put together.

Knows a vector of counts and the moments beside it. Knows nothing of what a word of them means, of
clocks or of where panes are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Vector = np.ndarray[Any, np.dtype[Any]]
Moments = np.ndarray[Any, np.dtype[np.float64]]

# Columns of moments: of finite values, the sums of their distance from the column's centre.
N, SUM, SUM_SQ, MIN, MAX = range(5)
MOMENTS: Final = 5


@dataclass(frozen=True, slots=True)
class Pane:
    """What was counted from `start_s` on, for `length_s`.

    Attributes:
        start_s, length_s: whole seconds; a pane begins at a multiple of its length.
        counts: (words,) of the narrowest integers that hold them.
        moments: (columns, MOMENTS).
    """

    start_s: int
    length_s: int
    counts: Vector
    moments: Moments

    @property
    def end_s(self) -> int:
        """Where the next pane begins."""
        return self.start_s + self.length_s

    @property
    def nbytes(self) -> int:
        """Memory that its numbers take."""
        return self.counts.nbytes + self.moments.nbytes


def no_moments(columns: int) -> Moments:
    """Moments of nothing: adding them to others changes nothing."""
    moments = np.zeros((columns, MOMENTS))
    moments[:, MIN], moments[:, MAX] = np.inf, -np.inf
    return moments


def add_moments(into: Moments, more: Moments) -> None:
    """Adds `more` to `into`, in place."""
    # Sums that passed what a double holds, on either side, are none together.
    with np.errstate(invalid="ignore"):
        into[:, :MIN] += more[:, :MIN]
    np.minimum(into[:, MIN], more[:, MIN], out=into[:, MIN])
    np.maximum(into[:, MAX], more[:, MAX], out=into[:, MAX])


def packed(counts: Vector) -> Vector:
    """A copy in the narrowest integers that hold every count.

    Most panes are short and most bins of them small: a third of the memory of 64 bits.
    """
    narrowest = np.min_scalar_type(int(counts.max(initial=0)))
    # Eight bytes have their sign: NumPy adds others to such as they are only by way of floats.
    return counts.astype(narrowest if narrowest.itemsize < 8 else np.int64)


def merged(panes: Iterable[Pane], words: int, columns: int) -> tuple[Vector, Moments]:
    """Counts as int64, and moments, of all panes together; the order does not matter to counts."""
    counts, moments = np.zeros(words, np.int64), no_moments(columns)
    for pane in panes:
        counts += pane.counts
        add_moments(moments, pane.moments)
    return counts, moments
