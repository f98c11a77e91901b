"""Whether something falls to one of two sides more often than a fair coin would have it.

Knows counts. Knows nothing of what they are of.

Source: a uniform mixture against a fair coin, as an e-value (Robbins 1970).
"""

from __future__ import annotations

import math

from kernels.rates import log_mixture


def log10_e(one: float, other: float) -> float:
    """Evidence that one side is the more frequent one; 1.3 is 20 to 1.

    However often one looks, that is reached by a fair coin with a probability of 1 / 20 at most.

    Args:
        one: how often it fell to one side.
        other: to the other.
    """
    both = one + other
    return (log_mixture(one, both) + both * math.log(2.0)) / math.log(10.0)
