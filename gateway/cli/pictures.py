"""Distributions as a few characters.

Knows bins and block characters. Knows nothing of profiles' origin or of terminals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.profiles.values import CATEGORY, Column
from gateway.tensors import Array

_BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 16


def bars(heights: Sequence[float] | Array) -> str:
    """One block a height, the highest full; what is not nothing can be seen."""
    most = max(heights, default=0.0)
    if most <= 0:
        return _BLOCKS[0] * len(heights)
    top = len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[max(1, round(top * height / most)) if height > 0 else 0] for height in heights
    )


def of_column(column: Column, width: int = WIDTH) -> str:
    """A column's distribution: a bar a bin where there are few, else its density.

    Bins of equal mass are equally high. The density spreads each over its width, between the first
    and the last edge: what lies beyond them can be as far as it likes.
    """
    if column.kind == CATEGORY:
        return bars(np.sort(column.counts)[::-1][:width])
    if column.bins <= width:
        return bars(column.counts)
    return bars(density(column, width))


def density(column: Column, cells: int) -> Array:
    """(cells,) of the mass between the first and the last edge, by equal widths."""
    edges = column.edges.astype(np.float64)
    inner = np.concatenate([[0], np.cumsum(column.counts[1:-1])])
    with np.errstate(over="ignore"):
        span = edges[-1] - edges[0]
    # Beyond what a double holds there is nothing to divide evenly.
    grid = np.linspace(edges[0], edges[-1], cells + 1) if np.isfinite(span) else edges
    mass: Array = np.diff(np.interp(grid, edges, inner))
    return mass
