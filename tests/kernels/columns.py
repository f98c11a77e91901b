"""Counts of a few columns, as hypothesis draws them and as kernels take them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

COUNT = st.one_of(st.integers(0, 5), st.integers(0, 10_000_000))
PAIR = st.lists(st.tuples(COUNT, COUNT), min_size=1, max_size=70).filter(
    lambda pairs: all(map(sum, zip(*pairs, strict=True)))
)
"""(reference, live) counts of each bin of a column; no side is empty."""


def matrix(*columns):
    """Columns of any lengths as (columns, width), zeros behind each."""
    out = np.zeros((len(columns), max(map(len, columns))), np.int64)
    for row, counts in zip(out, columns, strict=True):
        row[: len(counts)] = counts
    return out


def sides(pairs):
    """A drawn column's reference counts, and its live ones."""
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def both(pairs):
    """A drawn column as (reference, live, bins) matrices of that one column."""
    reference, live = sides(pairs)
    return matrix(reference), matrix(live), np.array([len(pairs)])
