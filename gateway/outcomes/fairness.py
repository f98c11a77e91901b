"""How groups of rows fare beside one another: rates by group, and how far these lie apart.

Knows cells (`kernels.groups`) and intervals. Knows nothing of where they come from, or of whom the
groups are made up.

Every interval holds at all times at once. Those of single rates are right one by one with
probability 1 - ALPHA; those of a disparity are made of narrower chances of error for each rate that
it is of, so that all of these, and with them the disparity, are right together.

Sources: disparities as Fairlearn calls them; Hardt, Price and Srebro (2016), Equality of
opportunity in supervised learning; union bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.outcomes.intervals import ALPHA, rate_interval
from kernels.groups import (
    BINARIES,
    FALSE_HITS,
    HITS,
    LABELLED,
    POSITIVE,
    SELECTED,
    WRONG,
    N,
    Reals,
)

# Fewer say so little of a group that what they would say beside others is left out.
MIN_ROWS: Final = 50

Trials = tuple[float, float]
"""How many there were of something, and among how many."""

RATES: Final[Mapping[str, Callable[[Reals], Trials]]] = {
    "selection_rate": lambda cell: (cell[SELECTED], cell[BINARIES]),
    "base_rate": lambda cell: (cell[POSITIVE], _positives(cell) + _negatives(cell)),
    "true_positive_rate": lambda cell: (cell[HITS], _positives(cell)),
    "false_positive_rate": lambda cell: (cell[FALSE_HITS], _negatives(cell)),
    "accuracy": lambda cell: (cell[LABELLED] - cell[WRONG], cell[LABELLED]),
}
_SELECTION = ("selection_rate",)
_OPPORTUNITY = ("true_positive_rate",)
_ODDS = ("true_positive_rate", "false_positive_rate")
DISPARITIES: Final = {
    "demographic_parity_difference": _SELECTION,
    "demographic_parity_ratio": _SELECTION,
    "equal_opportunity_difference": _OPPORTUNITY,
    "equal_opportunity_ratio": _OPPORTUNITY,
    "equalized_odds_difference": _ODDS,
    "equalized_odds_ratio": _ODDS,
}
"""Of which rates each is made: the largest less, or the smallest by, the other end's; of two rates
the worse."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something was so.

    Attributes:
        value: None where it never could.
        low, high: where it lies.
        trials: of how many rows it is.
        compared: these are enough for it to be held beside other groups'.
    """

    value: float | None
    low: float | None
    high: float | None
    trials: int
    compared: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one group.

    Attributes:
        name: of the group.
        n: of them that were answered, with a score.
        labelled: whose outcome is known.
        rates: by RATES.
    """

    name: str
    n: int
    labelled: int
    rates: dict[str, Rate]


@dataclass(frozen=True, slots=True)
class Disparity:
    """How far groups lie apart.

    Attributes:
        value: of what was counted; None where fewer than two groups can be compared, or where, for
            a ratio, no group has any.
        low, high: where it lies.
        groups: how many were compared.
    """

    value: float | None
    low: float | None
    high: float | None
    groups: int


@dataclass(frozen=True, slots=True)
class Fairness:
    """One slicing.

    Attributes:
        slicing: its name.
        groups: in their order; last the rows that are in none, which are compared with nobody.
        disparities: by DISPARITIES.
    """

    slicing: str
    groups: list[Group]
    disparities: dict[str, Disparity]


def fairness(
    slicing: str, names: Sequence[str], cells: Reals, min_rows: int = MIN_ROWS, other: str = "other"
) -> Fairness:
    """Rates of each group, and how far these lie apart.

    Args:
        slicing: its name.
        names: of its groups.
        cells: (kernels.groups.GROUPS, CELL_SUMS), first of the rows that are in none.
        min_rows: a rate of fewer is not compared.
        other: what the rows in none are called.
    """
    places = [*range(1, len(names) + 1), 0]
    groups = [
        _group(name, cells[place], min_rows if place else None)
        for name, place in zip((*names, other), places, strict=True)
    ]
    told = {
        rate: [RATES[rate](cells[place]) for place in places[:-1]]
        for rate in dict.fromkeys(one for some in DISPARITIES.values() for one in some)
    }
    some = {
        rate: [one for one in trials if one[1] >= max(min_rows, 1)] for rate, trials in told.items()
    }
    found = {
        name: _disparity([some[rate] for rate in rates], name.endswith("ratio"))
        for name, rates in DISPARITIES.items()
    }
    return Fairness(slicing, groups, found)


def _group(name: str, cell: Reals, min_rows: int | None) -> Group:
    rates = {rate: _rate(*trials(cell), min_rows) for rate, trials in RATES.items()}
    return Group(name, int(cell[N]), int(cell[LABELLED]), rates)


def _rate(hits: float, trials: float, min_rows: int | None) -> Rate:
    ends = rate_interval(hits, trials)
    if ends is None:
        return Rate(None, None, None, 0, False)
    return Rate(
        hits / trials, *ends, int(trials), compared=min_rows is not None and trials >= min_rows
    )


def _disparity(rates: Sequence[Sequence[Trials]], ratio: bool) -> Disparity:
    """Of each rate its trials in every group."""
    groups = min(len(some) for some in rates)
    if groups < 2:
        return Disparity(None, None, None, groups)
    alpha = ALPHA / sum(len(some) for some in rates)
    parts = [_ratio(some, alpha) if ratio else _difference(some, alpha) for some in rates]
    worst = min if ratio else max
    values = [value for value, _, _ in parts if value is not None]
    low, high = worst(low for _, low, _ in parts), worst(high for _, _, high in parts)
    return Disparity(worst(values) if len(values) == len(parts) else None, low, high, groups)


def _difference(some: Sequence[Trials], alpha: float) -> tuple[float, float, float]:
    values, lows, highs = _ends(some, alpha)
    apart = max(values) - min(values)
    return apart, max(0.0, max(lows) - min(highs)), max(highs) - min(lows)


def _ratio(some: Sequence[Trials], alpha: float) -> tuple[float | None, float, float]:
    values, lows, highs = _ends(some, alpha)
    # The smallest rate lies between the smallest ends, the largest between the largest.
    low = min(lows) / max(highs) if max(highs) else 0.0
    high = min(1.0, min(highs) / max(lows)) if max(lows) else 1.0
    return min(values) / max(values) if max(values) else None, low, high


def _ends(some: Sequence[Trials], alpha: float) -> tuple[list[float], list[float], list[float]]:
    ends = [rate_interval(hits, trials, alpha) or (0.0, 1.0) for hits, trials in some]
    values = [float(hits / trials) for hits, trials in some]
    return values, [low for low, _ in ends], [high for _, high in ends]


def _positives(cell: Reals) -> float:
    return float(cell[POSITIVE])


def _negatives(cell: Reals) -> float:
    """Labelled rows of a negative class; none where there are more than two."""
    return float(cell[LABELLED] - cell[POSITIVE]) if cell[BINARIES] else 0.0
