"""How much less rows tell than as many independent ones would, from the scatter between batches.

Knows counts on groups of bins, tick by tick. Knows nothing of time or of what the rows are.

The design effect is the variance of a batch's shares, divided by what it would be for independent
rows: 19 for a mean of rows that follow each other with correlation 0.9. Short batches hide most of
it, so batches of 1, 2, 4 .. 2**13 ticks are watched side by side. Scatter is measured between
neighbours (von Neumann's successive differences), so that one lasting change, which is what
monitoring looks for, enters once and does not pass for dependence.

Readings of each difference between neighbours, the first three 1 in expectation for independent
rows:

    0, 1   along two given scores of the groups: where a slow mean and a slow spread show
    2      all groups alike (chi-square over its degrees of freedom)
    3      rows of a batch, the harmonic mean of the two

Groups without an order have no scores to look along, and their rows may depend along one direction
that nobody knows (groups cut from something slow). Their differences are kept as a matrix, and
reading 2 is along the direction in which they scatter most.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels._counts import Counts, Floats
from kernels._jit import kernel

Ints = np.ndarray[Any, np.dtype[np.int64]]

SCALES: Final = 14  # 2**13 s are 2.3 hours; slower swings are seasons
READINGS: Final = 4
MEMORY: Final = 1024  # pairs of a scale, after which what is older counts half
SQUARINGS: Final = 6  # of a matrix: with ten groups its largest eigenvalue is at most 4 % too large


@kernel("void(int64[::1], int64[::1], int64, float64[::1], float64[:, ::1], float64[::1])")
def compare(
    one: Counts, other: Counts, groups: int, shares: Floats, scores: Floats, readings: Floats
) -> None:
    """Adds what the difference of two batches reads to `readings`, (READINGS,); both hold rows."""
    rows, other_rows = 0, 0
    for group in range(groups):
        rows += one[group]
        other_rows += other[group]
    expected = 1.0 / rows + 1.0 / other_rows
    first = second = whole = 0.0
    for group in range(groups):
        if shares[group] > 0.0:
            apart = one[group] / rows - other[group] / other_rows
            first += scores[0, group] * apart
            second += scores[1, group] * apart
            whole += apart * apart / shares[group]
    readings[0] += first * first / expected
    readings[1] += second * second / expected
    if groups > 1:
        readings[2] += whole / (groups - 1) / expected
    readings[3] += 2.0 / expected


@kernel("void(int64[::1], int64[::1], int64, float64[::1], float64[:, ::1])")
def scatter(one: Counts, other: Counts, groups: int, shares: Floats, matrix: Floats) -> None:
    """Adds the products of two batches' differences to `matrix`, (groups, groups).

    In units of what independent rows would differ by: then they add 1 along every direction.
    """
    rows, other_rows = 0, 0
    for group in range(groups):
        rows += one[group]
        other_rows += other[group]
    expected = 1.0 / rows + 1.0 / other_rows
    for group in range(groups):
        for beside in range(groups):
            unit = np.sqrt(shares[group] * shares[beside]) * expected
            if unit > 0.0:
                apart = one[group] / rows - other[group] / other_rows
                matrix[group, beside] += (
                    apart * (one[beside] / rows - other[beside] / other_rows) / unit
                )


# Plain loops, and not array expressions: those would take seconds to compile.
@kernel("float64(float64[:, ::1], int64)")
def largest_eigenvalue(matrix: Floats, size: int) -> float:
    """Of a symmetric matrix without negative eigenvalues, by the trace of a high power of it."""
    trace = 0.0
    for at in range(size):
        trace += matrix[at, at]
    if trace <= 0.0:
        return 0.0
    power, square = np.empty((size, size)), np.empty((size, size))
    for row in range(size):
        for column in range(size):
            power[row, column] = matrix[row, column] / trace
    for _ in range(SQUARINGS):
        for row in range(size):
            for column in range(size):
                total = 0.0
                for between in range(size):
                    total += power[row, between] * power[between, column]
                square[row, column] = total
        power, square = square, power
    high = 0.0
    for at in range(size):
        high += power[at, at]
    return float(trace * high ** (1.0 / 2**SQUARINGS))


@kernel("float64(float64[:, ::1], int64, float64[::1], int64)")
def along_the_widest(matrix: Floats, groups: int, shares: Floats, pairs: int) -> float:
    """Reading 2 of groups without order, summed over `pairs`: along what scatters most.

    The largest eigenvalue of few differences is large by chance: those of independent rows lie
    between two edges (Marchenko and Pastur 1967), further apart the more directions there are for
    each pair. What is beyond the upper edge counts in full where it is far (it stands for
    one direction that sticks out), and from nothing on near it.
    """
    directions, trace = -1, 0.0
    for group in range(groups):
        directions += shares[group] > 0.0
        trace += matrix[group, group]
    if trace <= 0.0:
        return 0.0
    directions = max(directions, 1)  # a constant scatters by what it never was before
    mean = trace / directions
    # Neighbouring differences share a batch: of their squares n tell as much as n / 1.5 would.
    noise = np.sqrt(1.5 * directions / pairs)
    ratio = largest_eigenvalue(matrix, groups) / mean
    beyond = ratio - (1.0 + noise) ** 2
    if beyond <= 0.0:
        return float(mean)
    return float(mean * (1.0 + np.sqrt(beyond * (ratio - (1.0 - noise) ** 2))))


@kernel("boolean(int64[::1])")
def _any(counts: Counts) -> bool:
    for count in counts:  # noqa: SIM110
        if count:
            return True
    return False


@kernel("void(int64[::1], int64[::1])")
def _add(total: Counts, counts: Counts) -> None:
    for group in range(len(counts)):
        total[group] += counts[group]


@kernel("void(int64[::1], int64[::1])")
def _move(to: Counts, counts: Counts) -> None:
    """Leaves no count behind."""
    for group in range(len(counts)):
        to[group] = counts[group]
        counts[group] = 0


@kernel("void(float64[:, ::1])")
def _halve(matrix: Floats) -> None:
    for row in range(len(matrix)):
        for column in range(len(matrix)):
            matrix[row, column] *= 0.5


@kernel(
    "void(int64, int64[:, ::1], int64[::1], float64[:, ::1], float64[:, :, ::1], int64[::1],"
    " int64[:, :, ::1], int64[:, :, ::1], float64[:, :, ::1], int64[:, ::1],"
    " float64[:, :, :, ::1])"
)
def tick(
    number: int,
    fresh: Counts,
    groups: Ints,
    shares: Floats,
    scores: Floats,
    places: Ints,
    filling: Counts,
    previous: Counts,
    sums: Floats,
    pairs: Ints,
    matrices: Floats,
) -> None:
    """Takes one tick's counts of all columns.

    Args:
        number: of this tick, from 1 on, without a gap.
        fresh: (columns, width) counts of the tick.
        groups: (columns,) how many groups of its row each column has.
        shares: (columns, width) the reference's shares.
        scores: (columns, 2, width) with mean 0 and variance 1 under them; all 0 where there is no
            order.
        places: (columns,) where in `matrices` a column without order is; -1 where there is one.
        filling: (SCALES, columns, width) the batch that each scale is filling.
        previous: (SCALES, columns, width) the last one that held a row.
        sums: (SCALES, columns, READINGS) of the readings.
        pairs: (SCALES, columns) how many differences went into them.
        matrices: (SCALES, columns without order, most groups of one, the same) of `scatter`.
    """
    for column in range(len(groups)):
        _add(filling[0, column], fresh[column])
    for scale in range(len(filling)):
        if number % (1 << scale):
            break
        for column in range(len(groups)):
            batch, last = filling[scale, column], previous[scale, column]
            if scale + 1 < len(filling):
                _add(filling[scale + 1, column], batch)
            if not _any(batch):
                continue
            if _any(last):
                readings = sums[scale, column]
                compare(batch, last, groups[column], shares[column], scores[column], readings)
                pairs[scale, column] += 1
                place = places[column]
                if place >= 0:
                    scatter(batch, last, groups[column], shares[column], matrices[scale, place])
                if pairs[scale, column] == MEMORY:
                    pairs[scale, column] //= 2
                    for reading in range(READINGS):
                        readings[reading] *= 0.5
                    if place >= 0:
                        _halve(matrices[scale, place])
                if place >= 0:
                    readings[2] = along_the_widest(
                        matrices[scale, place],
                        groups[column],
                        shares[column],
                        pairs[scale, column],
                    )
            _move(last, batch)


@kernel("void(float64[:, :, ::1], int64[:, ::1], int64, float64, float64, float64[::1])")
def estimate(
    sums: Floats, pairs: Ints, min_pairs: int, min_batch: float, caution: float, out: Floats
) -> None:
    """The largest design effect that any scale and reading shows, at least 1; NaN if none can tell.

    A mean of n squared differences is off by sqrt(3 / n) of itself, so it is taken down by
    `caution` times that before the largest is sought: else the noise of the longest batches, of
    which there are few, would pass for dependence in independent rows.

    Batches that are short against what they measure hide most of it: unless those of the longest
    scale that has `min_pairs` hold `min_batch` rows for each unit of what it may be (taken up this
    time, as the first few pairs may all agree by chance), it is unknown.
    """
    for column in range(len(out)):
        largest, most, batch = 1.0, 1.0, 0.0
        for scale in range(len(pairs)):
            n = pairs[scale, column]
            if n >= min_pairs:
                one, two, whole, rows = sums[scale, column]
                mean, off = max(one, two, whole) / n, 1.0 + caution * np.sqrt(3.0 / n)
                largest, most, batch = max(largest, mean / off), max(most, mean * off), rows / n
        out[column] = largest if batch >= min_batch * most else np.nan
