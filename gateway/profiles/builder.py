"""Builds a profile out of rows that come in chunks and may be more than memory holds.

Knows frames, spools and bins. Knows nothing of where rows come from, or of models.

Rows are spooled to disk as the matrices that are to be counted. Once all are there, edges and
categories are taken from them: from all rows, where they are few, else from a seeded uniform
sample; then every row is counted. Spooled, because the other way, to read the data twice, would run
the model twice, cannot read a pipe, and counts what changed in between. In memory are a sample of
one frame (at most `SAMPLE_BYTES`), one block of rows, and the names of strings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from gateway.errors import InvalidParameter
from gateway.profiles import bins as binning
from gateway.profiles import counting
from gateway.profiles.bins import Bins
from gateway.profiles.counting import Counter
from gateway.profiles.plans import FramePlan
from gateway.profiles.spool import Spool
from gateway.profiles.strings import Strings
from gateway.profiles.values import (
    BINS,
    COARSE_BINS,
    FEATURE,
    MAX_DETAILED,
    STRING,
    Calibration,
    Frame,
    Profile,
)
from gateway.tensors import Array

# 60 quantiles of 200,000 rows lie within 0.3 % of their rank, 99 times of 100.
SAMPLE_ROWS = 200_000
SAMPLE_BYTES = 256 << 20
Nulls = Mapping[str, Array]
"""By input: (columns,) how many of its NaN stand for cells that were empty."""


class Builder:
    """Takes rows in, gives a profile.

    Args:
        plans: the frames to be.
        bins: of a numeric column, at most; also the buckets of a hashed one.
        seed: of the sample.
        sample_rows: to take edges from, at most.
        exact: names of columns that are counted at points, too.
    """

    def __init__(
        self,
        plans: Sequence[FramePlan],
        bins: int = BINS,
        seed: int = 0,
        sample_rows: int = SAMPLE_ROWS,
        exact: Collection[str] = (),
    ) -> None:
        if bins < 1:
            raise InvalidParameter(f"bins: expected a whole number from 1 on, got {bins}")
        self._bins, self._seed, self._sample_rows = bins, seed, sample_rows
        self._open = ExitStack()
        self._frames = [_Frame(plan, self._open, exact) for plan in plans]
        self.rows = 0

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(
        self,
        rows: int,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        nulls: Nulls | None = None,
    ) -> None:
        """Takes rows in.

        Args:
            rows: how many; at least 1.
            inputs: by tensor, (rows, ...) each.
            outputs: the same of what the model answered.
            nulls: of the inputs.

        Raises:
            StoreFailed: there is no room to spool them.
        """
        for frame in self._frames:
            arrays = inputs if frame.plan.role == FEATURE else outputs
            frame.add(arrays[frame.plan.tensor], (nulls or {}).get(frame.plan.tensor))
        self.rows += rows

    def take(
        self, rows: int, matrices: Mapping[str, Array], checks: Mapping[str, Array] | None = None
    ) -> None:
        """Takes rows in that are matrices already.

        Args:
            rows: how many; at least 1.
            matrices: by frame, as `FramePlan.matrix` makes them.
            checks: by frame of strings, the CRC-32 of each, where long ones were cut short.

        Raises:
            StoreFailed: there is no room to spool them.
        """
        for frame in self._frames:
            frame.take(matrices[frame.plan.name], (checks or {}).get(frame.plan.name))
        self.rows += rows

    def build(
        self,
        progress: Callable[[int, int], None] | None = None,
        calibration: Calibration | None = None,
    ) -> Profile:
        """The profile of all rows so far.

        Args:
            progress: told (bytes counted, bytes in all).
            calibration: of the model's scores, where the rows had labels.

        Raises:
            InvalidParameter: there are none.
        """
        if not self.rows:
            raise InvalidParameter("a profile needs at least one row, got none")
        widest = max((frame.spool.row_bytes for frame in self._frames), default=0)
        size = min(self.rows, self._sample_rows, max(1, SAMPLE_BYTES // max(1, widest)))
        picked = _sample(self.rows, size, self._seed)
        told = _Told(progress, sum(self.rows * frame.spool.row_bytes for frame in self._frames))
        return Profile(
            self.rows,
            tuple(frame.build(picked, self._bins, told) for frame in self._frames),
            self._bins,
            size,
            self._seed,
            calibration=calibration,
        )


def _sample(rows: int, size: int, seed: int) -> Array:
    """`size` different row numbers, ascending."""
    if size == rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False, shuffle=False))


class _Told:
    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, amount: int) -> None:
        self._done += amount
        if self._progress is not None:
            self._progress(self._done, self._total)


class _Frame:
    """One frame's rows."""

    def __init__(self, plan: FramePlan, stack: ExitStack, exact: Collection[str]) -> None:
        self.plan = plan
        self._exact = exact
        self._strings = [Strings() for _ in plan.columns] if plan.type == STRING else []
        self._nulls = np.zeros(len(plan.columns), np.int64)
        width = len(plan.columns) * (2 if self._strings else 1)
        dtype = np.dtype(np.int64 if self._strings else plan.type)
        self.spool = stack.enter_context(Spool(width, dtype))

    def add(self, array: Array, nulls: Array | None) -> None:
        if nulls is not None and self.plan.summary is None and not self._strings:
            self._nulls += nulls
        self.take(self.plan.matrix(array), None)

    def take(self, matrix: Array, checks: Array | None) -> None:
        if self._strings:
            coded = [
                strings.encode(
                    matrix[:, place].tolist(),
                    None if checks is None else checks[:, place].tolist(),
                )
                for place, strings in enumerate(self._strings)
            ]
            matrix = np.concatenate(coded, axis=1)
        self.spool.add(matrix)

    def build(self, picked: Array, bins: int, told: Callable[[int], None]) -> Frame:
        counter = self._counter(self.spool.pick(picked), bins)
        for block in self.spool.blocks():
            counter.add(block)
            told(block.nbytes)
        plan = self.plan
        return Frame(
            plan.name,
            plan.tensor,
            plan.role,
            plan.datatype,
            plan.shape,
            tuple(
                counter.column(place, name, int(self._nulls[place]))
                for place, name in enumerate(plan.columns)
            ),
            plan.summary,
        )

    def _counter(self, sample: Array, bins: int) -> Counter:
        limits = [
            bins if place < MAX_DETAILED else min(bins, COARSE_BINS)
            for place in range(len(self.plan.columns))
        ]
        if self._strings:
            pairs = enumerate(zip(self._strings, limits, strict=True))
            return counting.Strings(
                [strings.bins(sample[:, 2 * place], limit) for place, (strings, limit) in pairs]
            )
        # Columns lie together in memory now, which sorting each of them likes.
        columns = np.ascontiguousarray(sample.T)
        names = zip(self.plan.columns, columns, limits, strict=True)
        found = [self._number_bins(name, values, limit) for name, values, limit in names]
        return counting.Numbers(found, [_centre(values) for values in columns], sample.dtype)

    def _number_bins(self, name: str, values: Array, bins: int) -> Bins:
        plan = self.plan
        if name in plan.categories or (plan.labels and len(np.unique(values)) <= bins):
            return binning.whole_categories(values, plan.datatype == "BOOL")
        return binning.numeric(values, bins, name in self._exact)


def _centre(values: Array) -> float:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not len(finite):
        return 0.0
    doubles = finite.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(doubles))
    # Of the largest doubles the sum may pass what a double holds, when their mean does not.
    return mean if math.isfinite(mean) else float(np.sum(doubles / len(doubles)))
