"""The verdict on each column of a window.

Knows a baseline, a window's counts and the rules. Knows nothing of how long the window is or where
it is kept: the same counts always give the same verdict, so there is no state to lose.

    too_few_rows     fewer rows than the rules ask for, no reference, or too few seconds with
                     rows so far to tell how much they depend on each other
    drift            the evidence suffices, however often one looks, and the distance is large
    watch            one of the two: sure but small, or large but not sure yet
    ok               neither
    self_referenced  neither, and the reference is the model's own first traffic: nobody has said
                     that it was good
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.drift.baseline import Baseline, Counts, Floats, joined
from gateway.drift.rules import DEFAULT, Rules
from kernels import divergences, evidence, ordered

TOO_FEW_ROWS: Final = "too_few_rows"
OK: Final = "ok"
SELF_REFERENCED: Final = "self_referenced"
WATCH: Final = "watch"
DRIFT: Final = "drift"
VERDICTS: Final = (TOO_FEW_ROWS, OK, SELF_REFERENCED, WATCH, DRIFT)
"""From the least to the most alarming."""

Names = np.ndarray[Any, np.dtype[np.str_]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Each (columns,)."""

    rows: Counts
    """In the column's bins: missing values and unseen categories are in none."""
    log10_e: Floats
    """Evidence; NaN where it cannot be told yet."""
    distance: Floats
    """KS from bins; for categories, which have no order, the largest difference of a share."""
    verdicts: Names


def overall(verdicts: Sequence[str]) -> str:
    """The most alarming of all: what e-BH lets pass holds for all columns together."""
    return max(verdicts, key=VERDICTS.index, default=TOO_FEW_ROWS)


def judge(baseline: Baseline, window: Counts, effect: Floats, rules: Rules = DEFAULT) -> Judgement:
    """Holds a window against its baseline.

    Args:
        baseline: what it should look like.
        window: (columns, width) counts on the baseline's bins.
        effect: (columns,) design effects of live rows, as estimated; NaN where not known.
        rules: when to call it drift.

    Raises:
        ValueError: the window's shape is not the baseline's.
    """
    distance = _distance(baseline, window)
    rows = window.sum(axis=1)
    known = ~np.isnan(effect)
    log10_e = evidence.log10_e(
        baseline.grouped,
        joined(window, baseline.group_of),
        baseline.groups,
        baseline.effect,
        np.where(known, effect, 1.0),
    )
    log10_e[~known] = np.nan
    enough = (rows >= rules.min_rows) & ~np.isnan(log10_e) & ~np.isnan(distance)
    sure = evidence.e_bh(np.where(enough, log10_e, np.nan), rules.log10_level)
    large = distance >= rules.ks_floor
    likely = log10_e >= rules.watch_log10_e
    verdicts = np.select(
        [~enough, sure & large, sure | (likely & large)],
        [TOO_FEW_ROWS, DRIFT, WATCH],
        SELF_REFERENCED if baseline.own else OK,
    )
    return Judgement(rows, log10_e, distance, verdicts)


def _distance(baseline: Baseline, window: Counts) -> Floats:
    distance = ordered.kolmogorov_smirnov(baseline.counts, window, baseline.bins).low
    free = ~baseline.ordered
    if free.any():
        apart = divergences.divergences(baseline.counts[free], window[free], baseline.bins[free])
        distance[free] = apart.l_infinity
    return distance
