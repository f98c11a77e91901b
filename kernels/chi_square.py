"""Pearson's chi-square on two sets of counts, and what PSI is when nothing has changed.

Knows counts on the same bins. Knows nothing of values, edges, or which p-value is too small.

`contingency` is the two-sample test, which knows that the reference is a sample as well. Taking the
reference's shares for the truth, as Evidently does, alarms too often where the reference is not
much larger than the window. Yates' correction is not applied (SciPy's `chi2_contingency` does for
two bins unless told otherwise).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kernels._counts import Counts, Floats, checked
from kernels._jit import kernel
from kernels.tails import chi_square_quantile, chi_square_tail


class ChiSquare(NamedTuple):
    """Each (columns,). NaN where a side holds no row; p is 1.0 where a single bin is in use."""

    statistic: Floats
    dof: Floats
    p_value: Floats


def contingency(expected: Counts, observed: Counts, bins: Counts) -> ChiSquare:
    """Two samples from one distribution? Bins that are empty on both sides do not count.

    Args:
        expected: (columns, width) reference counts.
        observed: (columns, width) live counts on the same bins.
        bins: (columns,) how many bins of its row each column has.

    Raises:
        ValueError: shapes differ, or a count is negative.
    """
    numbers, reference, live = checked(bins, expected, observed)
    out = np.empty((3, len(numbers)))
    _contingency(reference, live, numbers, out)
    return ChiSquare(*out)


def psi_null_quantile(
    reference_rows: Floats, rows: Floats, bins: Counts, share: float = 0.95
) -> Floats:
    """What PSI stays below with probability `share` when nothing has changed.

    Args:
        reference_rows: (columns,) rows counted in the reference's bins.
        rows: (columns,) rows counted in the live bins.
        bins: (columns,) bins in use.
        share: probability, in (0, 1).

    Returns:
        (columns,); NaN where a side holds no row. Good where bins expect some 10 rows or more; it
        is too small by a fifth with 10 bins, 1,000 reference rows and 100 live ones.

    Source: PSI is chi-square with bins - 1 degrees of freedom times 1/N + 1/M: Yurdakul (2018).
    """
    sizes, places = np.unique(np.asarray(bins, np.int64), return_inverse=True)
    each = np.array([chi_square_quantile(share, max(int(n) - 1, 0)) for n in sizes])
    quantiles = each[places]
    some = (np.asarray(reference_rows) > 0) & (np.asarray(rows) > 0)
    out = np.full(len(quantiles), np.nan)
    out[some] = quantiles[some] * (1 / reference_rows[some] + 1 / rows[some])
    return out


@kernel("void(int64[:, ::1], int64[:, ::1], int64[::1], float64[:, ::1])")
def _contingency(expected: Counts, observed: Counts, bins: Counts, out: Floats) -> None:
    for column in range(len(bins)):
        width = bins[column]
        expected_rows = float(expected[column, :width].sum())
        observed_rows = float(observed[column, :width].sum())
        if expected_rows == 0 or observed_rows == 0:
            out[:, column] = math.nan
            continue
        total, used = 0.0, 0
        for bin in range(width):
            both = expected[column, bin] + observed[column, bin]
            if both:
                used += 1
                apart = (
                    expected[column, bin] / expected_rows - observed[column, bin] / observed_rows
                )
                total += apart * apart / both
        out[0, column] = total * expected_rows * observed_rows
        out[1, column] = used - 1
        out[2, column] = chi_square_tail(out[0, column], out[1, column])
