"""Counts what a shadow says of the rows that another version has answered.

Knows outputs as arrays, how a score is read, and a block of the arena. Knows nothing of requests,
of how copies come to run, or of what follows from the counts.

As all that is counted: on the event loop or, where that would take long, on a thread; nothing that
goes wrong here reaches a request.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from gateway.monitor import layout
from gateway.monitor.scores import Reading
from gateway.monitor.sketch import THREAD_VALUES, Arrays
from gateway.monitor.slot import Slot
from gateway.tensors import Array
from kernels import answers, pairs

log = logging.getLogger("penstock.worker")

Reals = np.ndarray[Any, np.dtype[np.float64]]
Unlikeness = Reals
DISAGREE: Final = 1.0
"""Above it, rows do not agree."""


class PairCounts:
    """What becomes of the copies that a shadow gets of what one version answers, in one worker.

    Called on the event loop alone.
    """

    def __init__(self, slot: Slot) -> None:
        """Begins to count in the slot of their block."""
        self._slot = slot
        self._counts = slot.words.data  # a word of it costs a third of numpy's
        slot.use()

    def close(self) -> None:
        """Counts no more."""
        self._slot.leave()

    def copied(self, rows: int) -> None:
        """Rows are to be run once more."""
        self._counts[pairs.COPIED] += rows

    def dropped(self, rows: int) -> None:
        """They found no room."""
        self._counts[pairs.DROPPED] += rows

    def failed(self, rows: int) -> None:
        """The shadow could not answer them."""
        self._counts[pairs.FAILED] += rows

    def broke(self, rows: int) -> None:
        """The shadow has failed a copy of so many rows."""
        self.failed(rows)
        self._counts[pairs.BROKE] += 1

    def ran(self, copies: int, rows: int, cpu_s: float) -> None:
        """What a run took.

        Args:
            copies: in it, of these two versions.
            rows: of these.
            cpu_s: processor time that it took for these.
        """
        self._counts[pairs.RAN] += copies
        self._counts[pairs.RUN_ROWS] += rows
        self._counts[pairs.RUN_NS] += int(cpu_s * 1e9)

    def skipped(self, rows: int) -> None:
        """They were answered twice, but could not be compared."""
        self._counts[layout.SKETCH_SKIPPED] += rows


class AnswerPairs(PairCounts):
    """The same of a language model, whose rows are requests."""

    def compare(self, first: Reals, second: Reals, alike: Reals) -> Unlikeness:
        """Counts the answers to the same requests.

        Args:
            first: (requests, answers.COLUMNS) what was answered.
            second: the same of the shadow.
            alike: (requests,) how alike their texts are; NaN: there is none.

        Returns:
            (requests,) how different they are, above DISAGREE where they do not agree.
        """
        unlikeness = np.empty(len(first))
        answers.compare(self._slot.words, first, second, alike, unlikeness)
        return unlikeness


class Pairs(PairCounts):
    """Of one version and one of its shadows, in one worker. Called on the event loop alone."""

    def __init__(
        self, slot: Slot, reading: Reading | None, threshold: float, tolerance: float
    ) -> None:
        """Begins to count.

        Args:
            slot: of their block.
            reading: where scores are; None: nowhere, and whole answers are held against each other.
            threshold: above which the positive class is predicted.
            tolerance: numbers agree that differ by no more than this part of the larger.
        """
        super().__init__(slot)
        self._reading = reading
        self._threshold = threshold
        self._tolerance = tolerance
        self._complained = False

    def both_ran(self, rows: int, first_s: float, second_s: float) -> None:
        """The version that answered has made the same run beside it.

        Args:
            rows: in it.
            first_s: processor time of the version that answered.
            second_s: of the shadow.
        """
        self._counts[pairs.BOTH_ROWS] += rows
        self._counts[pairs.FIRST_NS] += int(first_s * 1e9)
        self._counts[pairs.SECOND_NS] += int(second_s * 1e9)

    def compare(self, first: Sequence[Arrays], second: Arrays, rows: int) -> Unlikeness | None:
        """Counts the answers to the same rows.

        Args:
            first: the outputs that were answered, copy by copy; None for what was not computed.
            second: the shadow's, of all these copies together.
            rows: in them.

        Returns:
            (rows,) how different they are, above DISAGREE where they do not agree; None where that
            is not known, or not yet.
        """
        try:
            reading = self._reading
            if reading is None:
                return self._compare_whole(first, second, rows)
            return self._compare_scores(reading, [one[reading.index] for one in first], second)
        except Exception:
            self.skipped(rows)
            self._complain()
            return None

    def _compare_scores(
        self, reading: Reading, first: Sequence[Array | None], second: Arrays
    ) -> Unlikeness | None:
        now = second[reading.index]
        known = [one for one in first if one is not None]
        if now is None or len(known) < len(first):
            self._counts[pairs.UNLIKE] += sum([1 if one is None else len(one) for one in first])
            return None
        was = known[0] if len(known) == 1 else np.concatenate(known)
        if self._slot.busy or was.size > THREAD_VALUES:
            work = partial(self._count_aside, reading, was, now)
            self._slot.line_up(work, len(was), was.nbytes + now.nbytes)
            return None
        return self._count(reading, was, now)

    def _count_aside(self, reading: Reading, was: Array, now: Array) -> int:
        """On a thread: never raises. How many rows could not be counted."""
        try:
            self._count(reading, was, now)
        except Exception:
            self._complain()
            return len(was)
        return 0

    def _count(self, reading: Reading, was: Array, now: Array) -> Unlikeness | None:
        unlikeness = np.empty(len(was))
        most = pairs.compare(
            self._slot.words,
            reading.matrix(was),
            reading.matrix(now),
            reading.column,
            reading.told,
            self._threshold,
            self._tolerance,
            unlikeness,
        )
        if most < 0.0:
            self._counts[pairs.UNLIKE] += len(was)
            return None
        return unlikeness

    def _compare_whole(self, first: Sequence[Arrays], second: Arrays, rows: int) -> Unlikeness:
        """Of models without scores: all that both have computed must be the same."""
        differ = np.zeros(rows, np.bool_)
        for index, now in enumerate(second):
            answered = [one[index] for one in first]
            known = [one for one in answered if one is not None]
            if now is None or len(known) < len(answered):
                continue
            was = known[0] if len(known) == 1 else np.concatenate(known)
            differ |= self._differ(was, now, rows)
        self._counts[pairs.ROWS] += rows
        self._counts[pairs.AGREED] += rows - int(differ.sum())
        return np.where(differ, 2.0 * DISAGREE, 0.0)

    def _differ(self, was: Array, now: Array, rows: int) -> Array:
        if was.shape != now.shape:
            return np.ones(rows, np.bool_)
        if was.dtype.kind == "f":
            same = np.isclose(now, was, rtol=self._tolerance, atol=1e-8, equal_nan=True)
        else:
            same = np.asarray(was == now)
        found: Array = ~np.all(same.reshape(rows, -1), axis=1)
        return found

    def _complain(self) -> None:
        """Inside an `except`: says once what went wrong."""
        if not self._complained:
            self._complained = True
            log.exception("a shadow's answers could not be compared; others are not told of")
