"""A profile's frames as the kernels that count live rows take them.

Knows columns and the kernels' plans. Knows nothing of blocks' owners, nor of when rows are counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.profiles.values import CATEGORY, STRING, Column, Frame
from kernels import layouts
from kernels.columns import SLOT_HEAD
from kernels.layouts import Layout


def layouts_of(frames: Sequence[Frame]) -> list[Layout]:
    """One layout a frame, all of them in one slot; the first frame's calls count the rows.

    A frame's matrix is of `frame.matrix_type`, its columns as `plans.matrix_of` gives them; strings
    are ids, by `strings.ids_of` or `strings.bucket_of`.
    """
    found: list[Layout] = []
    at = SLOT_HEAD
    for place, frame in enumerate(frames):
        plans = [_plan(column) for column in frame.columns]
        found.append(layouts.compile_layout(plans, frame.matrix_type, at, counts_rows=place == 0))
        at = found[-1].block_words
    return found


def _plan(column: Column) -> layouts.ColumnPlan:
    if column.type == STRING:
        return layouts.Ids(column.bins)
    if column.kind == CATEGORY:
        return layouts.Categories(np.array(column.categories, column.type), column.centre)
    # Of a column without a finite value nothing is known: nothing is below or above it.
    low, high = column.moments.min, column.moments.max
    if low is None or high is None:
        low, high = _extremes(column.type)
    if len(column.points):
        return layouts.exact_points(column.points, low, high, column.centre)
    return layouts.Numeric(column.edges, low, high, column.centre)


def _extremes(type_: str) -> tuple[float, float]:
    if type_ == "int64":
        return -(2**63), 2**63 - 1
    most = float(np.finfo(type_).max)
    return -most, most
