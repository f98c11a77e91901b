"""A reference, prepared for being compared with: its bins joined to few groups.

Knows reference counts and whether bins have an order. Knows nothing of live counts.

Evidence is best on about ten groups: sixty bins scatter in sixty directions, and a shift must stand
out against all of them. Bins keep their detail for what is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

Counts = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

GROUPS: Final = 10


@dataclass(frozen=True, slots=True)
class Baseline:
    """What live counts are held against. Everything is by column, padded with zeros."""

    counts: Counts
    """(columns, width) reference counts."""
    bins: Counts
    """(columns,) bins of each column."""
    ordered: Flags
    """(columns,) whether a later bin means a larger value."""
    group_of: Counts
    """(columns, width) the group of each bin."""
    groups: Counts
    """(columns,) groups of each column, at most GROUPS."""
    grouped: Counts
    """(columns, GROUPS) reference counts of the groups."""
    scores: Floats
    """(columns, 2, GROUPS) mean and spread of ranks, standardised; 0 where there is no order."""
    effect: Floats
    """(columns,) design effect of the reference's rows."""
    own: bool
    """Whether the reference is the model's own first traffic rather than a data set."""

    @classmethod
    def of(
        cls,
        counts: Counts,
        bins: Counts,
        ordered: Flags,
        *,
        effect: Floats | None = None,
        own: bool = False,
    ) -> Baseline:
        """Prepares a reference.

        Args:
            counts: (columns, width) reference counts.
            bins: (columns,) bins of each column.
            ordered: (columns,) false for categories.
            effect: (columns,) design effect of the reference's rows. Rows of a data set are taken
                to be independent; those of live traffic have the effect that was estimated then.
            own: the reference is the model's own first traffic.
        """
        width = counts.shape[1]
        group_of = np.zeros((len(counts), width), np.int64)
        for column, row in enumerate(counts):
            some = row[: bins[column]]
            group_of[column, : len(some)] = (
                _neighbours(some) if ordered[column] else _commonest(some)
            )
        grouped = joined(counts, group_of)
        return cls(
            counts=np.ascontiguousarray(counts, np.int64),
            bins=np.ascontiguousarray(bins, np.int64),
            ordered=np.ascontiguousarray(ordered, np.bool_),
            group_of=group_of,
            groups=np.where(bins > 0, group_of.max(axis=1, initial=0) + 1, 0),
            grouped=grouped,
            scores=_scores(grouped, ordered),
            effect=np.ones(len(counts)) if effect is None else np.maximum(effect, 1.0),
            own=own,
        )

    def with_effect(self, effect: Floats) -> Baseline:
        """The same, of rows that depend on each other.

        Args:
            effect: (columns,) design effect of the reference's rows; NaN where it is not known.
        """
        return replace(self, effect=np.maximum(np.nan_to_num(effect, nan=1.0), 1.0))

    @property
    def shares(self) -> Floats:
        """(columns, GROUPS) shares of the groups; 0 without a reference."""
        shares: Floats = self.grouped / np.maximum(self.grouped.sum(axis=1, keepdims=True), 1)
        return shares


def joined(counts: Counts, group_of: Counts) -> Counts:
    """Counts of bins as counts of groups: (columns, width) to (columns, GROUPS)."""
    out = np.zeros((len(counts), GROUPS), np.int64)
    np.add.at(out, (np.arange(len(counts))[:, None], group_of), counts)
    return out


def _neighbours(counts: Counts) -> Counts:
    """Neighbouring bins joined to groups of about equal share, none of them empty."""
    middle = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1)
    wanted = np.minimum((middle * GROUPS).astype(np.int64), GROUPS - 1)
    filled = np.flatnonzero(counts)
    if len(filled) == 0:
        return np.zeros(len(counts), np.int64)
    # An empty bin goes with the next one that is not; groups that got none are left out.
    takes = filled[np.minimum(np.searchsorted(filled, np.arange(len(counts))), len(filled) - 1)]
    found: Counts = np.searchsorted(np.unique(wanted[filled]), wanted[takes])
    return found


def _commonest(counts: Counts) -> Counts:
    """A group for each of the commonest categories, and the last for all others."""
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.minimum(rank, GROUPS - 1)


def _scores(grouped: Counts, ordered: Flags) -> Floats:
    shares = grouped / np.maximum(grouped.sum(axis=1, keepdims=True), 1)
    rank = np.cumsum(shares, axis=1) - shares / 2 - 0.5
    out = np.zeros((len(grouped), 2, GROUPS))
    for place, raw in enumerate((rank, rank * rank)):
        centred = raw - (shares * raw).sum(axis=1, keepdims=True)
        deviation = np.sqrt((shares * centred**2).sum(axis=1, keepdims=True))
        usable = ordered[:, None] & (deviation > 1e-9)
        out[:, place] = np.where(usable, centred / np.where(usable, deviation, 1.0), 0.0)
    return out
