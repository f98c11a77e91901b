"""Tail probabilities of the chi-square and Kolmogorov distributions, without SciPy.

Knows two distribution functions and one inverse. Knows nothing of tests or counts.

Against SciPy: chi-square tails within 1e-11 up to 100,000 degrees of freedom, quantiles within
1e-9 relative, Kolmogorov's tail within 1e-13.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Final

from kernels._jit import kernel

_SMALLEST: Final = 1e-300
_PRECISION: Final = 1e-16
_MAX_TERMS: Final = 100_000  # about 6 sqrt(dof) are needed in the worst case


@kernel("float64(float64, float64)")
def _gamma_density(a: float, x: float) -> float:
    """x^a e^-x / Gamma(a), which cancels badly when it is written like that and a is large."""
    if a < 20.0:
        return math.exp(a * math.log(x) - x - math.lgamma(a))
    # Gamma(a) by Stirling's series, the powers joined to one logarithm near zero.
    off = (x - a) / a
    series = 1 / (12 * a) - 1 / (360 * a**3) + 1 / (1260 * a**5) - 1 / (1680 * a**7)
    return math.exp(a * (math.log1p(off) - off) - series) * math.sqrt(a / (2 * math.pi))


@kernel("float64(float64, float64)")
def chi_square_tail(statistic: float, dof: float) -> float:
    """P(chi-square with `dof` degrees of freedom > statistic): 1.0 for dof 0, where it is 0.

    Source: the regularised upper incomplete gamma function, by its series below the mean and its
    continued fraction (modified Lentz) above: Press et al., Numerical Recipes, 6.2.
    """
    if math.isnan(statistic) or math.isnan(dof):
        return math.nan
    if statistic <= 0.0 or dof <= 0.0:
        return 1.0
    if math.isinf(statistic):
        return 0.0
    a, x = dof / 2, statistic / 2
    if x < a + 1.0:
        term = total = 1.0 / a
        for step in range(1, _MAX_TERMS):
            term *= x / (a + step)
            total += term
            if term < total * _PRECISION:
                break
        return max(0.0, 1.0 - total * _gamma_density(a, x))
    b = x + 1.0 - a
    c = 1.0 / _SMALLEST
    d = 1.0 / b
    fraction = d
    for step in range(1, _MAX_TERMS):
        numerator = -step * (step - a)
        b += 2.0
        d = numerator * d + b
        d = 1.0 / (d if abs(d) > _SMALLEST else _SMALLEST)
        c = b + numerator / c
        c = c if abs(c) > _SMALLEST else _SMALLEST
        fraction *= d * c
        if abs(d * c - 1.0) < _PRECISION * 4:
            break
    return fraction * _gamma_density(a, x)


@kernel("float64(float64)")
def kolmogorov_tail(x: float) -> float:
    """P(sup of a Brownian bridge's absolute value > x), the limit of sqrt(n) times KS.

    Source: Kolmogorov (1933); the first of his two series converges at once for large x, the
    second for small.
    """
    if math.isnan(x):
        return math.nan
    if x < 0.05:  # what is left out has 200 zeros behind the point
        return 1.0
    total, sign = 0.0, 1.0
    if x > 1.0:
        for k in range(1, 12):
            total += sign * math.exp(-2.0 * k * k * x * x)
            sign = -sign
        return 2.0 * total
    for k in range(1, 12):
        total += math.exp(-(((2 * k - 1) * math.pi / x) ** 2) / 8)
    return 1.0 - math.sqrt(2 * math.pi) / x * total


@functools.lru_cache(maxsize=4096)
def chi_square_quantile(share: float, dof: int) -> float:
    """The value that chi-square with `dof` degrees of freedom stays below with probability `share`.

    Wilson and Hilferty's cube (1931) gives the start, bisection the rest.

    Raises:
        ValueError: `share` is not in (0, 1), or `dof` is negative.
    """
    if not 0.0 < share < 1.0 or dof < 0:
        raise ValueError(f"quantile: expected 0 < share < 1 and dof >= 0, got {share}, {dof}")
    if dof == 0:
        return 0.0
    start = dof * (1 - 2 / (9 * dof) + NormalDist().inv_cdf(share) * math.sqrt(2 / (9 * dof))) ** 3
    low = high = max(start, 1e-8)
    while chi_square_tail(low, dof) < 1.0 - share:
        low /= 1.1
        if low < _SMALLEST:
            return 0.0
    while chi_square_tail(high, dof) > 1.0 - share:
        high *= 1.1
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if chi_square_tail(middle, dof) > 1.0 - share:
            low = middle
        else:
            high = middle
        if middle in (low, high) and (low + high) / 2 in (low, high):
            break
    return (low + high) / 2
