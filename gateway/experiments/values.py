"""What the number of a row is, as it is asked of the ledger: a figure of its outcome, or a metric.

Knows names of figures. Knows nothing of how numbers are read (`kernels.arms`).
"""

from __future__ import annotations

from typing import Final

from gateway.config.experiments import Figure, Measure
from kernels import arms

KINDS: Final[dict[Figure, frozenset[str]]] = {
    "outcome": frozenset({"binary", "value"}),
    "accuracy": frozenset({"binary", "multiclass"}),
    "error_rate": frozenset({"binary", "multiclass"}),
    "squared_error": frozenset({"binary", "value"}),
    "absolute_error": frozenset({"value"}),
}
"""The kinds of scores that a figure is of."""
_FIGURES: Final[dict[Figure, int]] = {
    "outcome": arms.ITS_OUTCOME,
    "accuracy": arms.ACCURACY,
    "error_rate": arms.ERROR,
    "squared_error": arms.SQUARED_ERROR,
    "absolute_error": arms.ABSOLUTE_ERROR,
}


def which(measure: Measure) -> int:
    """The number that `kernels.arms` is to find."""
    return arms.NUMBER if measure.figure is None else _FIGURES[measure.figure]
