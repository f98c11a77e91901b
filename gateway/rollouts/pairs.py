"""What a shadow says beside what was answered, as figures, and how sure they are.

Knows sums of pairs (`kernels.pairs`). Knows nothing of who counted them, of windows or of routes.

Sums only grow: what came in between two looks is their difference. Every interval holds at all
times at once, with probability 1 - alpha, however often one looks, and takes rows as independent:
rows of one request that are alike make it narrower than it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from gateway.outcomes.intervals import Figure, bounded_mean, mean, rate
from gateway.rollouts.answers import Answers
from gateway.rollouts.sides import log10_e
from kernels import answers as a
from kernels import pairs as p

Reals = np.ndarray[Any, np.dtype[np.float64]]
Words = np.ndarray[Any, np.dtype[np.int64]]

PROBABILITIES, VALUES, WHOLE = "probabilities", "values", "whole answers"
"""What was compared."""

_FLOATS: Final = [*p.FLOATS, *a.FLOATS]


def added_up(slots: Words) -> Reals:
    """(workers, WORDS) of one block, as the values that they stand for, added up."""
    found = slots.astype(np.float64)
    found[:, _FLOATS] = slots.view(np.float64)[:, _FLOATS]
    total: Reals = found.sum(axis=0)
    return total


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows that a version answered and its shadow was to run.

    Attributes:
        values: (kernels.answers.WORDS,), what each word stands for.
    """

    values: Reals

    @classmethod
    def nothing(cls) -> Pairs:
        """Before the first row."""
        return cls(np.zeros(a.WORDS))

    @classmethod
    def of(cls, values: Sequence[float]) -> Pairs:
        """Of plain values; those that are not like ours are nothing."""
        return cls(np.array(values, float)) if len(values) == a.WORDS else cls.nothing()

    def plain(self) -> list[float]:
        """As JSON has it; `of` is its inverse."""
        found: list[float] = self.values.tolist()
        return found

    def and_(self, others: Pairs) -> Pairs:
        """Both together."""
        return Pairs(self.values + others.values)

    def since(self, before: Pairs) -> Pairs:
        """What has come in since an earlier look; all of it where counts have begun anew."""
        return self if self.copied < before.copied else Pairs(self.values - before.values)

    # ---- what became of copies ------------------------------------------------------------------

    @property
    def copied(self) -> int:
        """Rows that were to be run."""
        return self._count(p.COPIED)

    @property
    def rows(self) -> int:
        """Rows that were compared."""
        return self._count(p.ROWS)

    @property
    def dropped(self) -> int:
        """Rows that found no room."""
        return self._count(p.DROPPED)

    @property
    def failed(self) -> int:
        """Rows that the shadow could not answer."""
        return self._count(p.FAILED)

    @property
    def copies(self) -> tuple[int, int]:
        """Copies (a request, or several that shared a run) that went well, and that failed."""
        return self._count(p.RAN), self._count(p.BROKE)

    @property
    def unlike(self) -> int:
        """Rows one of whose scores is no number."""
        return self._count(p.UNLIKE)

    @property
    def waiting(self) -> int:
        """Rows of which nothing is known yet; those of a worker that died stay among them."""
        known = self.rows + self.dropped + self.failed + self.unlike + self._count(_SKIPPED)
        return max(self.copied - known, 0)

    @property
    def failures(self) -> Figure:
        """The share of rows that were answered and that the shadow cannot answer so."""
        bad = self.failed + self.unlike
        return rate(bad, bad + self.rows)

    # ---- what both say --------------------------------------------------------------------------

    @property
    def compared(self) -> str:
        """PROBABILITIES, VALUES or WHOLE."""
        if self.values[p.DIFFERENCES : p.DIFFERENCES + p.BINS].sum() < self.rows:
            return WHOLE
        return PROBABILITIES if self._calibration[:, 0].sum() else VALUES

    @property
    def disagreeing(self) -> int:
        """Rows that both answered, but not alike."""
        return self.rows - self._count(p.AGREED)

    @property
    def disagreement(self) -> Figure:
        """Their share."""
        return rate(self.disagreeing, self.rows)

    @property
    def difference(self) -> Figure:
        """The mean of the shadow's score less the one that was answered."""
        if self.compared == WHOLE:
            return Figure(None, 0)
        total = float(self.values[p.UP] - self.values[p.DOWN])
        squares = float(self.values[p.SQUARES])
        if self.compared == PROBABILITIES:
            return bounded_mean(self.rows, total, squares, -1.0, 1.0)
        return mean(self.rows, total, squares)

    @property
    def higher(self) -> int:
        """Rows whose score is higher at the shadow."""
        return self._count(p.HIGHER)

    @property
    def lower(self) -> int:
        """Rows whose score is lower there."""
        return self._count(p.LOWER)

    @property
    def log10_e(self) -> float:
        """Evidence that the shadow's scores are higher, or lower, more often than by chance."""
        return log10_e(self.higher, self.lower)

    @property
    def histogram(self) -> list[tuple[float | None, float | None, int]]:
        """Rows by the shadow's score less the one that was answered: above, up to, how many.

        Of predicted numbers by the difference's part of the larger one. None: no bound.
        """
        counts = self.values[p.DIFFERENCES : p.DIFFERENCES + p.BINS]
        ends = [None, *(-edge for edge in reversed(p.EDGES)), *p.EDGES, None]
        return [
            (low, high, int(rows)) for (low, high), rows in zip(pairwise(ends), counts, strict=True)
        ]

    @property
    def calibration(self) -> list[tuple[float, float, int, float, float]]:
        """By the shadow's probability: from, to, rows, and both means, where there are rows."""
        wide = 1.0 / p.CALIBRATION_BINS
        return [
            (place * wide, (place + 1) * wide, int(rows), first / rows, second / rows)
            for place, (rows, first, second) in enumerate(self._calibration.tolist())
            if rows
        ]

    @property
    def calibration_gap(self) -> float | None:
        """By how much both means lie apart, on the average of rows; None without probabilities."""
        table = self._calibration
        rows = float(table[:, 0].sum())
        return float(np.abs(table[:, 2] - table[:, 1]).sum() / rows) if rows else None

    @property
    def _calibration(self) -> Reals:
        table = self.values[p.CALIBRATION : p.WORDS]
        return table.reshape(p.CALIBRATION_BINS, p.CALIBRATION_WIDTH)

    @property
    def answers(self) -> Answers | None:
        """The same of a language model's answers; None: nothing of any was compared."""
        found = Answers(self.values)
        return found if found.known else None

    # ---- what it costs --------------------------------------------------------------------------

    @property
    def run_s(self) -> float:
        """Processor time of the shadow's runs, seconds."""
        return float(self.values[p.RUN_NS]) / 1e9

    @property
    def paired_s(self) -> tuple[float, float]:
        """Processor time of runs that both have made: of the one that answered, of the shadow."""
        return float(self.values[p.FIRST_NS]) / 1e9, float(self.values[p.SECOND_NS]) / 1e9

    @property
    def row_s(self) -> float | None:
        """Processor time of a row at the shadow, seconds, of runs that both have made."""
        return self._per_row(p.SECOND_NS)

    @property
    def answered_row_s(self) -> float | None:
        """That of the version that answered."""
        return self._per_row(p.FIRST_NS)

    @property
    def cost_ratio(self) -> float | None:
        """How many times as long the shadow takes."""
        first = float(self.values[p.FIRST_NS])
        return float(self.values[p.SECOND_NS]) / first if first else None

    def _per_row(self, word: int) -> float | None:
        rows = float(self.values[p.BOTH_ROWS])
        return float(self.values[word]) / rows / 1e9 if rows else None

    def _count(self, word: int) -> int:
        return int(self.values[word])


_SKIPPED: Final = 4  # a word that every block has: rows that were not counted
