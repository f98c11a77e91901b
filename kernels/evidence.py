"""Evidence that live counts do not come from where the reference came from, at any time.

Knows counts on the same groups of bins. Knows nothing of windows, verdicts or thresholds.

**The e-value.** The reference is a sample: which shares it came from is known only as a Dirichlet
distribution whose parameters are its counts (plus one half each, Jeffreys' prior). For a continuous
column cut at order statistics of the reference this is no belief but a fact, whatever its
distribution: shares between order statistics are Dirichlet with the counts as parameters. Live
rows of the same source therefore have Dirichlet-multinomial counts. Against that stands a change of
unknown direction: shares scattered around the reference's as those of a sample of `concentration`
rows would be. The e-value is the ratio of the two probabilities of what was counted; fed row by row
it is a nonnegative martingale that starts at 1, so that, however often one looks, it passes 1/alpha
with probability alpha at most (Ville). It stays finite as rows come in: a reference of 5,000 rows
cannot witness differences finer than its own.

By enumeration over references and windows of one fixed source, its mean is at most 1 where the
reference expects a row or more in each group; a group of which it expects a fifth of a row can take
the mean to 1.22.

**Dependent rows** count for less: with a design effect d, counts enter divided by d. Then it is an
e-value as far as d is at least the true one, and approximately, no longer exactly.

Sources: the multinomial e-process against shares that are known: Lindon and Malek (2022); e-values
under any dependence and e-BH: Wang and Ramdas (2022).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels._counts import Counts, Floats, checked
from kernels._jit import kernel

Flags = np.ndarray[Any, np.dtype[np.bool_]]

CONCENTRATION: Final = 200.0
"""Sees shifts of a tenth to a half standard deviation within 10 % of the rows that the best value
for each would need, against references of 5,000 and 20,000 rows; 1,000 needs half as many again."""
MAX_PART: Final = 0.25
"""Of the reference's rows that the concentration may be: the two sides must differ."""


def log10_e(
    expected: Counts,
    observed: Counts,
    groups: Counts,
    reference_effect: Floats,
    effect: Floats,
    concentration: float = CONCENTRATION,
) -> Floats:
    """Evidence against "nothing has changed" for each column, as log10 of its e-value.

    Args:
        expected: (columns, width) reference counts.
        observed: (columns, width) live counts on the same groups.
        groups: (columns,) how many groups of its row each column has. Ten tell shifts apart best.
        reference_effect: (columns,) design effect of the reference's rows, >= 1; 1 if independent.
        effect: (columns,) design effect of the live rows, >= 1.
        concentration: rows of a sample that would scatter as changes do.

    Returns:
        (columns,) log10 e; 0.0 without live rows, NaN without a reference.

    Raises:
        ValueError: shapes differ, or a count is negative.
    """
    numbers, reference, live = checked(groups, expected, observed)
    for name, given in (("reference_effect", reference_effect), ("effect", effect)):
        if given.shape != numbers.shape:
            raise ValueError(f"{name}: expected {list(numbers.shape)}, got {list(given.shape)}")
    out = np.empty(len(numbers))
    _log10_e(
        reference,
        live,
        numbers,
        np.ascontiguousarray(reference_effect, np.float64),
        np.ascontiguousarray(effect, np.float64),
        concentration,
        out,
    )
    return out


def e_bh(log10_values: Floats, log10_level: float) -> Flags:
    """Which columns have changed, by e-BH: true whatever their dependence.

    Args:
        log10_values: (columns,) log10 of e-values; NaN takes part as no evidence.
        log10_level: log10 of alpha. Of the columns that are named, a share of alpha at most, in
            expectation, has not changed; where none has, any is named with probability alpha.

    Returns:
        (columns,) flags: the k largest, for the largest k with e_(k) >= columns / (alpha k).
    """
    columns = len(log10_values)
    found: Flags = np.zeros(columns, np.bool_)
    order = np.argsort(-np.nan_to_num(log10_values, nan=-np.inf), kind="stable")
    ranks = np.arange(1, columns + 1)
    with np.errstate(invalid="ignore"):
        enough = log10_values[order] >= np.log10(columns / ranks) - log10_level
    if enough.any():
        found[order[: np.flatnonzero(enough)[-1] + 1]] = True
    return found


@kernel("float64(int64[::1], int64[::1], int64, float64, float64, float64)")
def column_log_e(
    expected: Counts,
    observed: Counts,
    groups: int,
    reference_effect: float,
    effect: float,
    concentration: float,
) -> float:
    """The natural logarithm of one column's e-value; see `log10_e`."""
    reference_rows, rows = 0, 0
    for group in range(groups):
        reference_rows += expected[group]
        rows += observed[group]
    if reference_rows == 0:
        return math.nan
    null = reference_rows / reference_effect + groups * 0.5
    change = min(concentration, null * MAX_PART)
    n = rows / effect
    total = math.lgamma(change) - math.lgamma(change + n)
    total -= math.lgamma(null) - math.lgamma(null + n)
    for group in range(groups):
        if observed[group]:
            count = observed[group] / effect
            unchanged = expected[group] / reference_effect + 0.5
            changed = change * unchanged / null
            total += math.lgamma(changed + count) - math.lgamma(changed)
            total -= math.lgamma(unchanged + count) - math.lgamma(unchanged)
    return total


@kernel(
    "void(int64[:, ::1], int64[:, ::1], int64[::1], float64[::1], float64[::1], float64,"
    " float64[::1])"
)
def _log10_e(
    expected: Counts,
    observed: Counts,
    groups: Counts,
    reference_effect: Floats,
    effect: Floats,
    concentration: float,
    out: Floats,
) -> None:
    for column in range(len(groups)):
        out[column] = column_log_e(
            expected[column],
            observed[column],
            groups[column],
            reference_effect[column],
            effect[column],
            concentration,
        ) / math.log(10.0)
