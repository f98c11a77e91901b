"""Chooses the map from a column's numbers to the cells of its table.

Knows edges. Knows nothing of words, of rows, or of how a value is compared within its cell.

The map bends as the column needs it: evenly spaced cells from the lowest edge on, or wider and
wider ones from the lowest, the highest or the middle edge. Of those, the one is taken that leaves
the fewest edges in its fullest cell: one, for normal, uniform and log-normal columns. At worst,
edges in clusters that no such map takes apart, all edges share a cell, and it takes as many steps
as halving takes without a table: 6 for 60 bins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kernels.columns import Reals, Words

Values = np.ndarray[Any, np.dtype[Any]]

_CELLS_A_BIN: Final = 4  # on each side of the base
_MIN_CELLS: Final = 128  # a power of two, as all numbers of cells
_FRACTION_BITS: Final = 52
_DOUBLINGS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""How often cells double their width from the base to the farthest edge; 1: not even once."""

# Smaller scales would be subnormal, which some threads treat as zero.
_SCALES: Final = (float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max))


@dataclass(frozen=True, slots=True)
class Warp:
    """The arguments of `kernels.columns.cell`, and how many cells it has on either side."""

    base: float
    scale: float
    ceiling: float
    shift: int
    unit: int
    cells: int

    def of(self, x: Values) -> Words:
        """The cells of numbers: `kernels.columns.cell` of each, operation by operation."""
        with np.errstate(over="ignore"):
            y = (x - self.base) * self.scale
        far = np.minimum(np.abs(y) + 1.0, self.ceiling)
        return ((far.view(np.int64) >> self.shift) - self.unit) ^ (y.view(np.int64) >> 63)


def best_warp(edges: Reals) -> tuple[Warp, Words]:
    """The map that leaves the fewest edges in its fullest cell, and the edges' cells."""
    best: tuple[int, Warp, Words] | None = None
    for warp in _choices(edges):
        cells = warp.of(edges)
        fullest = int(np.unique(cells, return_counts=True)[1].max()) if len(edges) else 0
        if best is None or fullest.bit_length() < best[0]:
            best = fullest.bit_length(), warp, cells
        if best[0] <= 1:
            break
    assert best is not None
    return best[1], best[2]


def _choices(edges: Reals) -> Iterator[Warp]:
    """Maps to choose from, simple ones first."""
    finite = edges[np.isfinite(edges)]
    low, high = (finite[0], finite[-1]) if len(finite) else np.zeros(2)
    middle = finite[len(finite) // 2] if len(finite) else 0.0
    cells = max(_MIN_CELLS, 1 << (_CELLS_A_BIN * (len(edges) + 1) - 1).bit_length())
    for doublings in [doublings for doublings in _DOUBLINGS if doublings <= cells]:
        bits = (cells // doublings).bit_length() - 1
        shift, unit = _FRACTION_BITS - bits, 1023 << bits
        ceiling = np.int64(((unit + cells) << shift) - 1).view(np.float64)
        for base in (low, middle, high):
            with np.errstate(over="ignore"):
                span = max(high - base, base - low)
                scale = np.clip((2.0**doublings - 1.0) / span, *_SCALES) if span else 1.0
            yield Warp(float(base), float(scale), float(ceiling), shift, unit, cells)
