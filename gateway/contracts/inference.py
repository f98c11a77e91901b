"""A contract out of a profile: what the reference held, widened as far as is sensible.

Knows profiles. Knows nothing of models, of files, or of how live values are held against a
contract. The same profile always gives the same contract.

- Range: the reference's least and greatest value and a tenth of the distance between them more on
  either side, since a sample of n rows is passed by one row of n / 2 that follow it. Nothing that
  was never below zero may become so, nor above. Whole numbers keep whole bounds.
- A column of one value may hold that value alone.
- Missing values, infinities and fractions are taken where the reference had some.
- Categories are those of the reference; others are taken where the reference had more than are
  kept, or where strings are hashed.
- From fewer than MIN_ROWS rows none of this is inferred: they show what may be, not what may not.
- Only tensors whose own values are the columns have terms; of images, embeddings and lengths no
  more is asked than the signature does.
"""

from __future__ import annotations

import math

import numpy as np

from gateway.contracts.values import Choice, Column, Contract, Range, Tensor
from gateway.profiles import values as profiles
from gateway.profiles.values import CATEGORY, FEATURE, Profile

WIDENING = 0.1
# What 30 rows never show is less than a tenth of all rows, 95 times of 100.
MIN_ROWS = 30


def infer(profile: Profile) -> Contract:
    """The contract of what a profile saw."""
    return Contract(
        tuple(
            Tensor(frame.tensor, frame.datatype, tuple(_column(column) for column in frame.columns))
            for frame in profile.frames
            if frame.role == FEATURE and frame.summary is None
        )
    )


def _column(column: profiles.Column) -> Column:
    enough = column.rows >= MIN_ROWS
    missing = column.missing > 0 or not enough
    if column.kind == CATEGORY:
        others = bool(column.specials.unseen or column.buckets) or not enough
        return Choice(column.name, column.categories, others, missing)
    if not enough:
        return Range(column.name)
    low, high = _bounds(column)
    infinite = column.specials.pos_inf + column.specials.neg_inf > 0
    whole = column.whole or column.type == "int64"
    return Range(column.name, low, high, whole, missing, infinite)


def _bounds(column: profiles.Column) -> tuple[float | int | None, float | int | None]:
    low, high = column.moments.min, column.moments.max
    if low is None or high is None or low == high:
        return low, high
    if column.type == "int64":
        margin = -(-(int(high) - int(low)) // round(1 / WIDENING))
        least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
        return int(max(_kept(low, low - margin), least)), int(min(_kept(high, high + margin), most))
    # Halved first, so that the largest doubles do not pass what a double holds.
    away = (high / 2 - low / 2) * WIDENING * 2
    return _own(column, low, _kept(low, low - away)), _own(column, high, _kept(high, high + away))


def _kept(bound: float, wide: float) -> float:
    """A bound that is further out, but not on the other side of zero."""
    return 0 if bound == 0 or (bound > 0) != (wide > 0) else wide


def _own(column: profiles.Column, bound: float, wide: float) -> float:
    """A widened bound in the column's own type."""
    if column.whole and math.isfinite(wide):
        wide = float(math.floor(wide) if wide < bound else math.ceil(wide))
    limits = np.finfo(column.type)
    return float(np.dtype(column.type).type(np.clip(wide, limits.min, limits.max)))
