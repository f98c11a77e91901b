"""Counts batches of class probabilities: each class, and what they say together, in one call.

Knows columns and the summary of probabilities. Knows nothing of which model they are of.

Most models that classify give these, and most take one table of numbers; most batches are small. So
there is one call for all of that, where each call costs as much as a few rows do.
"""

from __future__ import annotations

import numpy as np

from kernels._jit import kernel
from kernels.columns import (
    STRIP,
    TYPED_ONE,
    Rows,
    Words,
    count_batch,
    count_rows,
    count_strip,
    fits,
)
from kernels.summaries import PROBABILITY_COLUMNS, summarize_probabilities

_FIGURES = len(PROBABILITY_COLUMNS)


@kernel("boolean(int64, int64[::1], int64[::1], int64[::1])")
def _suit(classes: int, block: Words, layout: Words, summary: Words) -> bool:
    """Whether the layouts are about such probabilities and such a block."""
    place = (TYPED_ONE + 1) * 2 - 1
    typed = layout.view(np.float32)[place] == 1 and summary.view(np.float32)[place] == 1
    return bool(typed and fits(block, layout, classes) and fits(block, summary, _FIGURES))


@kernel("int64(float32[:, ::1], int64[::1], int64[::1], int64[::1], int64, int64)")
def count_probabilities(
    rows: Rows, block: Words, layout: Words, summary: Words, tick: int, now_ms: int
) -> int:
    """Counts a batch as `columns.count_rows` does its rows and then their summary.

    Args:
        rows: (rows, classes) float32, as `summaries.probability_summary` takes them.
        block: a slot, of this one writer.
        layout: of the classes' columns.
        summary: of the columns of their summary, in the same block.
        tick: what moments belong to.
        now_ms: wall clock.

    Returns:
        How many values are unusual.

    Raises:
        ValueError: a layout is for other columns, another type or a larger block.
    """
    many = len(rows)
    if not _suit(rows.shape[1], block, layout, summary):
        raise ValueError("count_probabilities: a layout is for other columns, type or block")
    count_batch(block, layout, many, tick, now_ms)
    count_batch(block, summary, many, tick, now_ms)
    figures = np.empty((min(many, STRIP), _FIGURES), np.float32)
    unusual = 0
    for start in range(0, many, STRIP):
        stop = min(start + STRIP, many)
        summarize_probabilities(rows, start, stop, figures)
        unusual += count_strip(rows, start, stop, block, layout, tick)
        unusual += count_strip(figures, 0, stop - start, block, summary, tick)
    return unusual


@kernel(
    "int64(float32[:, ::1], float32[:, ::1], int64[::1], int64[::1], int64[::1], int64[::1], int64,"
    " int64)"
)
def count_classified(
    rows: Rows,
    scores: Rows,
    block: Words,
    layout: Words,
    of_scores: Words,
    summary: Words,
    tick: int,
    now_ms: int,
) -> int:
    """Counts a batch as `columns.count_rows` does what was asked, and its probabilities as above.

    Args:
        rows: (rows, features) float32.
        scores: (rows, classes) float32.
        block: a slot, of this one writer.
        layout: of the features' columns.
        of_scores: of the classes' columns, in the same block.
        summary: of the columns of their summary.
        tick: what moments belong to.
        now_ms: wall clock.

    Returns:
        How many values of the features are unusual.

    Raises:
        ValueError: a layout is for other columns, another type or a larger block.
    """
    if not _suit(scores.shape[1], block, of_scores, summary):
        raise ValueError("count_classified: a layout is for other columns, type or block")
    unusual = count_rows(rows, block, layout, tick, now_ms)
    count_probabilities(scores, block, of_scores, summary, tick, now_ms)
    return unusual
