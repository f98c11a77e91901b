"""How far the shares of live bins lie from the reference's, whatever the order of the bins.

Knows two sets of counts on the same bins. Knows nothing of values, edges, or what is too far.

p are the reference's shares, q the live ones; logarithms are natural. Each is 0.0, exactly, for
equal shares, and NaN where a side holds no row. Conventions:

    psi              sum of (p - q) ln(p / q), each share at least `floor`, not renormalised
    kl               of the live rows from the reference: sum of p ln(p / q) - p + q, shares floored
                     as for PSI. Where no share was floored this is the usual KL(p || q); with
                     floors, the added terms keep it from falling below zero, and KL(p || q) +
                     KL(q || p) is PSI either way
    js_divergence    (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2: 0 to ln 2, no floor
    js_distance      its root, as SciPy and Evidently report it: 0 to 0.8326
    hellinger        sqrt(sum of (sqrt p - sqrt q)^2 / 2): 0 to 1
    total_variation  sum of |p - q| / 2: 0 to 1
    l_infinity       largest |p - q|: 0 to 1

Sources: PSI is Jeffreys' divergence of the shares, in scoring practice: Siddiqi, Credit Risk
Scorecards (2006); Jensen-Shannon: Lin (1991); distances: Gibbs and Su (2002).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from kernels._counts import Counts, Floats, checked
from kernels._jit import kernel

FLOOR: Final = 1e-4  # one row in ten thousand, which no window of a few thousand can tell from none


class Divergences(NamedTuple):
    """Each (columns,); the module says how each is defined."""

    psi: Floats
    kl: Floats
    js_divergence: Floats
    js_distance: Floats
    hellinger: Floats
    total_variation: Floats
    l_infinity: Floats


def divergences(
    expected: Counts, observed: Counts, bins: Counts, floor: float = FLOOR
) -> Divergences:
    """All divergences of all columns, in one call.

    Args:
        expected: (columns, width) reference counts.
        observed: (columns, width) live counts on the same bins.
        bins: (columns,) how many bins of its row each column has.
        floor: smallest share that a bin takes in PSI and KL; above 0, it keeps empty bins finite.

    Raises:
        ValueError: shapes differ, a count is negative, or the floor is not in (0, 1).
    """
    numbers, reference, live = checked(bins, expected, observed)
    if not 0.0 < floor < 1.0:
        raise ValueError(f"floor: expected a share in (0, 1), got {floor}")
    out = np.empty((len(Divergences._fields), len(numbers)))
    _divergences(reference, live, numbers, floor, out)
    return Divergences(*out)


@kernel("float64(float64, float64)")
def _jensen_shannon(p: float, q: float) -> float:
    """One bin's part of JS: (p ln(p/m) + q ln(q/m)) / 2, which cancels badly for close shares."""
    if p == q:
        return 0.0
    m = (p + q) / 2
    t = (p - q) / (p + q)
    if abs(t) < 0.5:
        return m * (2.0 * t * math.atanh(t) + math.log1p(-t * t)) / 2
    total = p * math.log(p / m) if p > 0.0 else 0.0
    return (total + q * math.log(q / m) if q > 0.0 else total) / 2


@kernel("void(int64[:, ::1], int64[:, ::1], int64[::1], float64, float64[:, ::1])")
def _divergences(
    expected: Counts, observed: Counts, bins: Counts, floor: float, out: Floats
) -> None:
    for column in range(len(bins)):
        width = bins[column]
        expected_rows = expected[column, :width].sum()
        observed_rows = observed[column, :width].sum()
        if expected_rows == 0 or observed_rows == 0:
            out[:, column] = math.nan
            continue
        psi = kl = js = hellinger = variation = largest = 0.0
        for bin in range(width):
            p = expected[column, bin] / expected_rows
            q = observed[column, bin] / observed_rows
            js += _jensen_shannon(p, q)
            hellinger += (math.sqrt(p) - math.sqrt(q)) ** 2
            variation += abs(p - q)
            largest = max(largest, abs(p - q))
            p, q = max(p, floor), max(q, floor)
            ratio = math.log(p / q)
            psi += (p - q) * ratio
            kl += p * ratio - p + q
        out[0, column] = psi
        out[1, column] = max(kl, 0.0)  # rounding alone takes it below
        out[2, column] = js
        out[3, column] = math.sqrt(js)
        out[4, column] = math.sqrt(hellinger / 2)
        out[5, column] = variation / 2
        out[6, column] = largest
