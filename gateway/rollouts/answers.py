"""What a shadow of a language model says beside what was answered, as figures that hold.

Knows sums of pairs of answers (`kernels.answers`). Knows nothing of who counted them, of windows or
of routes.

As of all pairs every interval holds at all times at once, with probability 1 - alpha, however often
one looks, and takes requests as independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from gateway.outcomes.intervals import Figure, bounded_mean, rate
from gateway.rollouts.sides import log10_e
from kernels import answers as a

Reals = np.ndarray[Any, np.dtype[np.float64]]
Bin = tuple[float | None, float | None, int]
"""Above, up to, and how many; None: no bound."""

FLAGS: Final = ("refused", "empty", "json_valid")
"""Aspects that an answer has or has not."""


@dataclass(frozen=True, slots=True)
class Aspect:
    """One of what of two answers agrees or does not.

    Attributes:
        name: of it.
        count: answers of which it does not.
        differing: their share.
        sides: answers that have it where the other one has not: what was answered, the shadow's;
            None: it is none that an answer has or has not.
    """

    name: str
    count: int
    differing: Figure
    sides: tuple[int, int] | None

    @property
    def log10_e(self) -> float | None:
        """Evidence that one of the two has it more often."""
        return None if self.sides is None else log10_e(*self.sides)


@dataclass(frozen=True, slots=True)
class Measure:
    """One of what there is more or less of.

    Attributes:
        name: of it.
        known: pairs of which both are known; at least one.
        sums: of what was answered, and of the shadow's.
        ratio: the geometric mean of the shadow's over what was answered.
        higher, lower: answers of which the shadow has more, or less.
        bins: answers by that ratio.
    """

    name: str
    known: int
    sums: tuple[float, float]
    ratio: Figure
    higher: int
    lower: int
    bins: list[Bin]

    @property
    def means(self) -> tuple[float, float]:
        """Of what was answered, and of the shadow's."""
        return self.sums[0] / self.known, self.sums[1] / self.known

    @property
    def log10_e(self) -> float:
        """Evidence that the shadow has more, or less, more often than by chance."""
        return log10_e(self.higher, self.lower)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of a language model and of its shadow to the same requests.

    Attributes:
        values: (kernels.answers.WORDS,), what each word stands for.
    """

    values: Reals

    @property
    def known(self) -> bool:
        """There are any: each has taken its time."""
        return any(one.known for one in self.measures)

    @property
    def aspects(self) -> Iterator[Aspect]:
        """Each of `kernels.answers.ASPECTS`, where it was compared at all."""
        table = self.values[a.ASPECTS_FIRST : a.MEASURES_FIRST].reshape(-1, a.ASPECT_WIDTH)
        for name, (compared, differing, risen) in zip(a.ASPECTS, table.tolist(), strict=True):
            if compared:
                sides = (int(differing - risen), int(risen)) if name in FLAGS else None
                yield Aspect(name, int(differing), rate(differing, compared), sides)

    @property
    def measures(self) -> Iterator[Measure]:
        """Each of `kernels.answers.MEASURES`, where it is known of any."""
        table = self.values[a.MEASURES_FIRST : a.LIKENESS].reshape(-1, a.MEASURE_WIDTH)
        for name, words in zip(a.MEASURES, table, strict=True):
            known = int(words[a.KNOWN])
            if known:
                yield Measure(
                    name,
                    known,
                    (float(words[a.FIRST_SUM]), float(words[a.SECOND_SUM])),
                    _ratio(words),
                    int(words[a.HIGHER]),
                    int(words[a.LOWER]),
                    _by_ratio(words[a.RATIOS :]),
                )

    @property
    def likeness(self) -> Figure:
        """How alike texts are, on the average of answers of which one at least has any."""
        missing = bounded_mean(
            float(self.values[a.TEXTS]),
            float(self.values[a.MISSING]),
            float(self.values[a.MISSING_SQUARES]),
            0.0,
            1.0,
        )
        if missing.value is None or missing.interval is None:
            return missing
        low, high = missing.interval
        return Figure(1.0 - missing.value, missing.n, (1.0 - high, 1.0 - low))

    @property
    def by_likeness(self) -> list[Bin]:
        """Answers by how alike the two texts are."""
        counts = self.values[a.BY_LIKENESS : a.BY_LIKENESS + a.LIKENESS_BINS].tolist()
        return [
            (place / a.LIKENESS_BINS, (place + 1) / a.LIKENESS_BINS, int(count))
            for place, count in enumerate(counts)
        ]


def _ratio(words: Reals) -> Figure:
    """The geometric mean; a ratio above `kernels.answers.LARGEST` is taken for that."""
    steps = float(words[a.UP] - words[a.DOWN])
    found = bounded_mean(float(words[a.KNOWN]), steps, float(words[a.SQUARES]), -1.0, 1.0)
    if found.value is None or found.interval is None:
        return found
    low, high = found.interval
    return Figure(a.LARGEST**found.value, found.n, (a.LARGEST**low, a.LARGEST**high))


def _by_ratio(counts: Reals) -> list[Bin]:
    ends = [None, *(1.0 / edge for edge in reversed(a.EDGES)), *a.EDGES, None]
    return [(low, high, int(n)) for (low, high), n in zip(pairwise(ends), counts, strict=True)]
