"""Which groups, or pairs of them, a model serves worse than all other rows, beyond chance.

Knows cells (`kernels.groups`), intervals and evidence. Knows nothing of where they come from.

Whoever looks at many slices finds a bad one by chance alone. So each slice gets an e-value against
"no worse than the rest": the likelihood of what was counted, the rates of both being drawn evenly,
by the largest that it has where the slice's is no worse. Under that it passes 1 / a with
probability a at most, whenever one looks, and e-BH over all slices looked at names those that are
worse: of the named, ALPHA are not at most, in expectation. Slices overlap, which e-BH allows.

What is averaged lies between 0 and 1. Where it is not only 0 or 1 the same holds, the likelihood
ratio being convex in it; the evidence is then weaker than it might be.

Sources: Wasserman, Ramdas and Balakrishnan (2020), Universal inference; Wang and Ramdas (2022),
False discovery rate control with e-values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from gateway.outcomes.fairness import MIN_ROWS, RATES, Trials
from gateway.outcomes.intervals import ALPHA, rate_interval
from kernels.evidence import e_bh
from kernels.groups import APART, LABELLED, SQUARES, WRONG, Reals

HIGHER: Final = 1
LOWER: Final = -1
FURTHER: Final = 0


class Figure(NamedTuple):
    """One that slices are held against.

    Attributes:
        trials: its sum over a cell's rows, each between 0 and 1, and how many these are.
        worse: HIGHER, LOWER, or FURTHER from 0.
        width, least: what a mean of 0 to 1 is times and plus, as it is told.
    """

    trials: Callable[[Reals], Trials]
    worse: int = HIGHER
    width: float = 1.0
    least: float = 0.0


def _missed(cell: Reals) -> Trials:
    hits, positives = RATES["true_positive_rate"](cell)
    return positives - hits, positives


FIGURES: Final[Mapping[str, Figure]] = {
    "error_rate": Figure(lambda cell: (cell[WRONG], cell[LABELLED])),
    "squared_error": Figure(lambda cell: (cell[SQUARES], cell[LABELLED])),
    "false_negative_rate": Figure(_missed),
    "false_positive_rate": Figure(RATES["false_positive_rate"]),
    "selection_rate": Figure(RATES["selection_rate"], LOWER),
    # Outcome less score lies between -1 and 1.
    "calibration_gap": Figure(
        lambda cell: ((cell[LABELLED] + cell[APART]) / 2.0, cell[LABELLED]), FURTHER, 2.0, -1.0
    ),
}


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows that are worse off than the rest.

    Attributes:
        groups: a group by its slicing; of one slicing or of two.
        n: rows that its figure is of.
        value, low, high: its figure, and where that lies.
        rest: the figure of all other rows.
        difference, difference_low, difference_high: of both, and where that lies.
        log10_e: evidence that it is worse.
    """

    groups: dict[str, str]
    n: int
    value: float
    low: float
    high: float
    rest: float
    difference: float
    difference_low: float
    difference_high: float
    log10_e: float


@dataclass(frozen=True, slots=True)
class Worst:
    """What a search found.

    Attributes:
        figure: one of FIGURES.
        looked_at: slices with rows enough, beside as many others.
        slices: those that are worse beyond chance, the largest difference first.
    """

    figure: str
    looked_at: int
    slices: list[Slice]


class _Candidate(NamedTuple):
    groups: dict[str, str]
    inside: Trials
    outside: Trials
    log10_e: float


def worst_slices(
    figure: str,
    slicings: Sequence[tuple[str, Sequence[str]]],
    cells: Reals,
    min_rows: int = MIN_ROWS,
) -> Worst:
    """Searches single groups and pairs of groups of different slicings.

    Args:
        figure: one of FIGURES.
        slicings: their names, and those of their groups, in the order of the cells.
        cells: as `kernels.groups` has them.
        min_rows: slices of fewer, or with fewer beside them, are not looked at.
    """
    chosen = FIGURES[figure]
    some = list(_candidates(chosen, slicings, cells, max(min_rows, 1)))
    if not some:
        return Worst(figure, 0, [])
    named = e_bh(np.array([one.log10_e for one in some]), math.log10(ALPHA))
    found = [_told(chosen, some[place], len(some)) for place in np.flatnonzero(named).tolist()]
    found.sort(key=lambda one: -abs(one.difference))
    return Worst(figure, len(some), found)


def _candidates(
    figure: Figure, slicings: Sequence[tuple[str, Sequence[str]]], cells: Reals, min_rows: int
) -> Iterator[_Candidate]:
    if not slicings:
        return
    whole = figure.trials(np.diagonal(cells[0, 0]).sum(axis=1))
    for groups, cell in _slices(slicings, cells):
        inside = figure.trials(cell)
        outside = whole[0] - inside[0], whole[1] - inside[1]
        if min(inside[1], outside[1]) >= min_rows:
            yield _Candidate(groups, inside, outside, _log10_e(figure, inside, outside))


def _slices(
    slicings: Sequence[tuple[str, Sequence[str]]], cells: Reals
) -> Iterator[tuple[dict[str, str], Reals]]:
    for first, (name, names) in enumerate(slicings):
        for group, called in enumerate(names, 1):
            yield {name: called}, cells[first, first, group, group]
            for second in range(first + 1, len(slicings)):
                other, others = slicings[second]
                for beside, its in enumerate(others, 1):
                    yield {name: called, other: its}, cells[first, second, group, beside]


def _log10_e(figure: Figure, inside: Trials, outside: Trials) -> float:
    """Evidence that a slice is worse than the rest; none where it is not."""
    (x, n), (y, m) = inside, outside
    null = _log_likelihood(x + y, n + m)
    if figure.worse == FURTHER:
        worse = abs(_shown(figure, x / n)) > abs(_shown(figure, y / m))
        # As far off as the rest may be off to the other side.
        null = max(null, _log_likelihood(x + m - y, n + m))
    else:
        worse = (x / n - y / m) * figure.worse > 0.0
    if not worse:
        return -math.inf
    return (_log_mixture(x, n) + _log_mixture(y, m) - null) / math.log(10.0)


def _log_mixture(hits: float, trials: float) -> float:
    misses = trials - hits
    return math.lgamma(hits + 1.0) + math.lgamma(misses + 1.0) - math.lgamma(trials + 2.0)


def _log_likelihood(hits: float, trials: float) -> float:
    """At the rate at which it is largest."""
    misses = trials - hits
    one = hits * math.log(hits / trials) if hits > 0.0 else 0.0
    return one + (misses * math.log(misses / trials) if misses > 0.0 else 0.0)


def _told(figure: Figure, one: _Candidate, looked_at: int) -> Slice:
    alpha = ALPHA / (2 * looked_at)  # all that might have been told are right together
    (x, n), (y, m) = one.inside, one.outside
    low, high = rate_interval(x, n, alpha) or (0.0, 1.0)
    rest_low, rest_high = rate_interval(y, m, alpha) or (0.0, 1.0)
    return Slice(
        one.groups,
        int(n),
        _shown(figure, x / n),
        _shown(figure, low),
        _shown(figure, high),
        _shown(figure, y / m),
        figure.width * (x / n - y / m),
        figure.width * (low - rest_high),
        figure.width * (high - rest_low),
        one.log10_e,
    )


def _shown(figure: Figure, mean: float) -> float:
    return float(figure.width * mean + figure.least)
