"""What came of a prediction, as the number that its score takes.

Knows kinds of scores and names of classes. Knows nothing of files, or of who sends what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.outcomes.arrivals import NONE, Arrivals, Reals, Words
from kernels.performance import BINARY, VALUE

_CLASSES: Final = 2.0**31


class About(NamedTuple):
    """What has to be known of a series.

    Attributes:
        model: whose answers they are.
        classes: names of its classes, and their numbers.
        metrics: that its rows may have a number of; None: any.
    """

    model: str
    classes: Mapping[str, int]
    metrics: Collection[str] | None = None


def name_classes(
    values: Reals,
    arrivals: Arrivals,
    there: Words,
    series: Words,
    about: Mapping[int, About],
) -> None:
    """Puts the numbers of classes in place of their names, in place.

    Args:
        values: (there,).
        arrivals: of all.
        there: which of them.
        series: (there,) of their records; NONE where it has no classes.
        about: of each.
    """
    words = arrivals.word[there]
    named = words != NONE
    if not named.any():
        return
    for number, one in about.items():
        numbers = np.array([one.classes.get(word, np.nan) for word in arrivals.words])
        its = named & (series == number)
        values[its] = numbers[words[its]]


def fitting(outcomes: Reals, tops: Words) -> Any:
    """(outcomes,) whether the scores of those tops take them; NaN is a name that is nobody's."""
    whole = (outcomes >= 0) & (outcomes < _CLASSES) & (outcomes == np.floor(outcomes))
    whole &= (tops != BINARY) | (outcomes <= 1)
    return np.where(tops == VALUE, outcomes == outcomes, whole)


def taken_by(top: int) -> str:
    """What a score of that top takes."""
    if top == VALUE:
        return "a number"
    return "0, 1 or the name of a class" if top == BINARY else "the number or name of a class"
