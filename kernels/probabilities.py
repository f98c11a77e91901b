"""Counts batches of class probabilities: each class, and what they say together, in one call.

Knows columns and the summary of probabilities. Knows nothing of which model they are of.

Most models that classify give these, and most batches are small: one call instead of three, each of
which costs as much as a few rows do.
"""

from __future__ import annotations

import numpy as np

from kernels._jit import kernel
from kernels.columns import STRIP, TYPED_ONE, Rows, Words, count_batch, count_strip, fits
from kernels.summaries import PROBABILITY_COLUMNS, summarize_probabilities

_FIGURES = len(PROBABILITY_COLUMNS)


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
    many, columns = rows.shape
    for words in (layout, summary):
        if words.view(np.float32)[(TYPED_ONE + 1) * 2 - 1] != 1:
            raise ValueError("count_probabilities: a layout is for another type")
    if not fits(block, layout, columns) or not fits(block, summary, _FIGURES):
        raise ValueError("count_probabilities: a layout is for other columns or block")
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
