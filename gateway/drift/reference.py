"""A profile as the matrices that windows of counts are compared with.

Knows profiles, and where their counts stand in the vector that is counted. Knows nothing of time.
Made once per profile; everything here is by column, features and outputs in the profile's order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gateway.drift.baseline import Baseline, Counts, Floats
from gateway.profiles.live import Places
from gateway.profiles.points import in_bins
from gateway.profiles.values import NUMERIC, Column, Frame, Profile
from kernels import columns as words

SPECIALS = words.UNSEEN + 1


@dataclass(frozen=True, slots=True)
class Exact:
    """A column that is counted at points, too, of which KS is known exactly.

    Attributes:
        place: of the column.
        counts: (2 R + 1,) of the reference, at points and in gaps.
        at: (2 R + 1,) where the same counts of live rows stand in their vector.
    """

    place: int
    counts: Counts
    at: Counts


@dataclass(frozen=True, slots=True)
class Reference:
    """What live counts are held against.

    Attributes:
        profile: where it comes from.
        rows: that its counts are of.
        columns: with the frame of each.
        baseline: counts of its bins, ready to be judged against.
        kinds: counts of values in bins, missing ones and others, ready to be judged against.
        ranges: the same of values within the reference's range, below and above it.
        edges: (columns, width + 1) from minimum to maximum; zeros for categories.
        std: (columns,) NaN where there is none.
        centres: (columns,) what live sums are of: value - centre.
        numeric: (columns,) whether a column has moments and an axis.
        ordered: (columns,) whether its bins have an order.
        exact: the columns that are counted at points, too.
    """

    profile: Profile
    rows: int
    columns: tuple[tuple[Frame, Column], ...]
    baseline: Baseline
    kinds: Baseline
    ranges: Baseline
    edges: Floats
    std: Floats
    centres: Floats
    numeric: Floats
    exact: tuple[Exact, ...]
    _bins_at: Counts
    _specials_at: Counts

    @classmethod
    def of(cls, profile: Profile, places: Places) -> Reference:
        """Prepares a profile whose counts stand at these places."""
        columns = tuple(profile.columns())
        many, width = len(columns), max([1, *(c.bins for _, c in columns)])
        counts = np.zeros((many, width), np.int64)
        edges = np.zeros((many, width + 1))
        # What lies behind a column's bins is taken from a word that is always zero.
        bins_at = np.full((many, width), places.words, np.int64)
        exact = []
        for place, (_, column) in enumerate(columns):
            counts[place, : column.bins] = column.counts
            first = places.specials[place] + SPECIALS
            if len(column.points):
                at = first + np.arange(len(column.point_counts))
                exact.append(Exact(place, column.point_counts, at))
            else:
                bins_at[place, : column.bins] = first + np.arange(column.bins)
            if _has_axis(column):
                ends = (column.moments.min, *column.edges, column.moments.max)
                edges[place, : len(ends)] = np.maximum.accumulate(np.array(ends, np.float64))
        kinds = [(c.counts.sum(), c.missing, c.specials.total - c.missing) for _, c in columns]
        ranges = [(c.counts.sum(), 0, 0) for _, c in columns]
        numeric = np.array([_has_axis(column) for _, column in columns], bool)
        bins = np.array([column.bins for _, column in columns], np.int64)
        return cls(
            profile=profile,
            rows=profile.rows,
            columns=columns,
            baseline=Baseline.of(counts, bins, numeric, own=profile.self_referenced),
            kinds=_of_three(np.array(kinds, np.int64).reshape(many, 3), profile.self_referenced),
            ranges=_of_three(np.array(ranges, np.int64).reshape(many, 3), profile.self_referenced),
            edges=edges,
            std=np.array([_or_nan(column.moments.std) for _, column in columns], float),
            centres=np.array([column.centre for _, column in columns], float),
            numeric=numeric,
            exact=tuple(exact),
            _bins_at=bins_at,
            _specials_at=places.specials[:, np.newaxis] + np.arange(SPECIALS),
        )

    @property
    def live(self) -> bool:
        """Its rows were live traffic, which nobody vouched for, rather than a data set."""
        return self.baseline.own

    def with_effect(self, effect: Floats) -> Reference:
        """The same; rows of live traffic depend on each other as live rows do now.

        Args:
            effect: (columns,) as estimated; NaN where not known.
        """
        if not self.live:
            return self
        return replace(
            self,
            baseline=self.baseline.with_effect(effect),
            ranges=self.ranges.with_effect(effect),
        )

    def rolled(self, vector: Counts, rows: int) -> Reference:
        """The same edges with the counts of earlier live traffic in the place of the profile's.

        Args:
            vector: (words,) what was counted then.
            rows: of it.
        """
        before = self.baseline
        counts = self.bins_of(vector)
        rolled = Baseline.of(counts, before.bins, before.ordered, own=True)
        kinds = _of_three(self.kinds_of(vector), own=True)
        ranges = _of_three(self.ranges_of(vector), own=True)
        exact = tuple(replace(one, counts=vector[one.at]) for one in self.exact)
        return replace(self, rows=rows, baseline=rolled, kinds=kinds, ranges=ranges, exact=exact)

    def trusted(self) -> Reference:
        """The same; to be like it is all right, whoever has vouched for it."""
        parts = (self.baseline, self.kinds, self.ranges)
        baseline, kinds, ranges = (replace(one, own=False) for one in parts)
        return replace(self, baseline=baseline, kinds=kinds, ranges=ranges)

    def bins_of(self, vector: Counts) -> Counts:
        """(columns, width) live counts of the bins, padded with zeros."""
        found: Counts = np.append(vector, 0)[self._bins_at]
        for one in self.exact:
            _, column = self.columns[one.place]
            found[one.place, : column.bins] = in_bins(vector[one.at], column.points, column.edges)
        return found

    def open_bins_of(self, vector: Counts) -> Counts:
        """(columns, width + 2) the same, with what lies below the reference's range and above it.

        That is told apart where bins have an order, in bins before and behind the others: a column
        that was constant has one bin alone, and would seem to have no other value ever.
        """
        bins = self.bins_of(vector)
        found: Counts = np.pad(bins, ((0, 0), (0, 2)))
        outside = self.specials_of(vector)[:, [words.BELOW, words.ABOVE]]
        many = self.baseline.bins
        for place in np.flatnonzero(self.baseline.ordered):
            below, above = outside[place]
            last = many[place]
            found[place, 1 : last + 1] = bins[place, :last]
            found[place, 0] = below
            found[place, last + 1] = above
            found[place, 1] -= below
            found[place, last] -= above
        return found

    def kinds_of(self, vector: Counts) -> Counts:
        """(columns, 3) live values in bins, missing ones, and others."""
        specials = self.specials_of(vector)
        missing = specials[:, words.NAN] + specials[:, words.NULL]
        # What is below or above is in a bin.
        beside = specials.sum(axis=1) - specials[:, words.BELOW] - specials[:, words.ABOVE]
        return np.stack([self.bins_of(vector).sum(axis=1), missing, beside - missing], axis=1)

    def ranges_of(self, vector: Counts) -> Counts:
        """(columns, 3) live values in bins: within the reference's range, below it, above it."""
        outside = self.specials_of(vector)[:, [words.BELOW, words.ABOVE]]
        within = self.bins_of(vector).sum(axis=1) - outside.sum(axis=1)
        return np.column_stack([within, outside])

    def specials_of(self, vector: Counts) -> Counts:
        """(columns, SPECIALS) live values beside the bins, in the order of the kernels' words."""
        found: Counts = vector[self._specials_at]
        return found


def _of_three(counts: Counts, own: bool) -> Baseline:
    """(columns, 3) counts that have no order."""
    many = len(counts)
    return Baseline.of(counts, np.full(many, 3), np.zeros(many, bool), own=own)


def _has_axis(column: Column) -> bool:
    return column.kind == NUMERIC and column.moments.min is not None


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
