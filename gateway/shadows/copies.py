"""Has a version run what another has answered, and holds what it says against what was said.

Knows answered batches and a way aside of a deployment. Knows nothing of how batches are answered or
run, of how pairs are counted, or of plans.

    Tap       of one deployment that answers: hands its batches on once their answers are written
    Shadow    of one route and one version: what is copied, who waits, and what came of it

Nothing is copied but references: a copy is the arrays that its request was decoded to and those
that it was answered with. It waits within bounds; what finds no room is dropped, and counted.
Nothing here is waited for by anybody, and nothing that goes wrong here reaches a request.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from gateway import plan
from gateway.afterwards import one_by_one
from gateway.catalogue import Served
from gateway.inference import InferEndpoint
from gateway.monitor.capture import CaptureWriter
from gateway.monitor.different import Different, Row
from gateway.monitor.disagreements import MAX_AT_ONCE, Disagreements
from gateway.monitor.pairs import DISAGREE, Pairs, Unlikeness
from gateway.monitor.sketch import Arrays
from gateway.serving.aside import Aside, Beside, Deliver
from gateway.serving.execution import Execution
from gateway.serving.riders import Batch, Rider
from gateway.tensors import Array
from kernels.pairs import NO_NUMBER

log = logging.getLogger("penstock.worker")

# A string counts as much, whatever it holds: a copy's strings are its request's own.
OBJECT_BYTES: Final = 64


class _Nobody:
    """Whom a copy is for."""

    gone = False


NOBODY: Final = _Nobody()


@dataclass(frozen=True, slots=True)
class Pair:
    """A version that answers, and this shadow of it.

    Attributes:
        answered: the version.
        endpoint: of the version that answers.
        pairs: counts what they say.
        execution: how batches run at the version that answers.
        different: keeps the rows that they differ most about.
        disagreements: tells of rows that they class differently; None: they class none.
    """

    answered: int
    endpoint: InferEndpoint
    pairs: Pairs
    execution: Execution
    different: Different
    disagreements: Disagreements | None = None


class _Copy:
    """What waits with the inputs of a copy.

    Attributes:
        pair: whose it is.
        outputs: that were answered.
        requests: the sequence of each request, and how many rows it has.
        subjects: whom each is about, where disagreements are captured.
    """

    __slots__ = ("outputs", "pair", "requests", "subjects")

    def __init__(self, pair: Pair, outputs: Arrays, riders: list[Rider]) -> None:
        self.pair = pair
        self.outputs = outputs
        self.requests = [(rider.exchange.sequence, rider.rows) for rider in riders]
        self.subjects: list[bytes] | None = None
        writer = pair.endpoint.capture
        if writer is not None and writer.shadows and writer.subject is not None:
            self.subjects = [writer.subject(rider.request.parameters) for rider in riders]


class Shadow:
    """One version that runs copies of a route's requests."""

    def __init__(
        self,
        wanted: plan.Shadow,
        served: Served,
        pairs: Mapping[int, Pair],
        aside: Callable[[Deliver, Beside], Aside],
    ) -> None:
        """Begins.

        Args:
            wanted: its share and bounds.
            served: what runs the copies.
            pairs: by the version that answered.
            aside: makes the way that they run on.
        """
        self._wanted = wanted
        self._endpoint: InferEndpoint = served.endpoint
        self.pairs = pairs
        self._aside = aside(self._deliver, _beside)
        self._closed = False

    def close(self) -> None:
        """Takes no more; who waits is dropped."""
        self._closed = True
        for rider in self._aside.close():
            rider.request.pair.pairs.dropped(rider.rows)
        for pair in self.pairs.values():
            pair.pairs.close()

    # ---- in -------------------------------------------------------------------------------------

    def take(self, pair: Pair, batch: Batch, answered: list[Rider]) -> None:
        """Copies what is to be copied of a batch whose answers are written."""
        riders, most, share = batch.riders, self._aside.max_rows, self._wanted.share
        if (
            share >= 1.0
            and len(answered) == len(riders)
            and not batch.padded_cells
            and batch.trimmed is None
            and (batch.rows <= most or len(riders) == 1)
            and all(map(_routed, riders))
        ):
            self._add(pair, batch.inputs, batch.outputs, batch.rows, riders, batch.wanted)
            return
        awaited = {id(rider) for rider in answered}
        for rider, outputs in one_by_one(batch):
            wanted = id(rider) in awaited and _routed(rider)
            if wanted and (share >= 1.0 or random.random() < share):
                if len(riders) > 1:  # else all of the batch would wait with a part of it
                    outputs = [None if one is None else one.copy() for one in outputs]
                self._add(pair, rider.inputs, outputs, rider.rows, [rider], rider.wanted)

    def _add(
        self,
        pair: Pair,
        inputs: Sequence[Array],
        outputs: Arrays,
        rows: int,
        riders: list[Rider],
        wanted: tuple[int, ...],
    ) -> None:
        pair.pairs.copied(rows)
        bounds, aside = self._wanted, self._aside
        if rows > aside.max_rows > 0:
            pair.pairs.failed(rows)  # as a client's request of so many would
            return
        size = _size(inputs) + _size(outputs)
        if (
            aside.rows + rows > bounds.max_waiting_rows
            or aside.nbytes + size > bounds.max_waiting_bytes
        ):
            pair.pairs.dropped(rows)
            return
        copy = _Copy(pair, outputs, riders)
        aside.add(Rider(NOBODY, copy, tuple(inputs), rows, wanted), size)

    # ---- out ------------------------------------------------------------------------------------

    def _deliver(self, batch: Batch, other_s: float) -> None:
        """A batch of copies has run, or failed."""
        if self._closed:
            for rider in batch.riders:
                rider.request.pair.pairs.dropped(rider.rows)
            return
        if batch.error is not None:
            for rider in batch.riders:
                rider.request.pair.pairs.broke(rider.rows)
            return
        if other_s:
            batch.riders[0].request.pair.pairs.both_ran(batch.rows, other_s, batch.cpu_s)
        self._endpoint.count(batch)
        whole = batch.trimmed is None
        for pair, some in groupby(one_by_one(batch), lambda one: one[0].request.pair):
            self._compare(pair, list(some), batch, whole)

    def _compare(
        self, pair: Pair, some: list[tuple[Rider, Arrays]], batch: Batch, whole: bool
    ) -> None:
        """Of copies that follow one another, all of one version's answers."""
        rows = sum([rider.rows for rider, _ in some])
        pair.pairs.ran(len(some), rows, batch.cpu_s * rows / batch.rows)
        if whole and rows == batch.rows:
            self._hold_against(pair, [rider for rider, _ in some], batch.outputs, rows)
            return
        for rider, outputs in some:
            self._hold_against(pair, [rider], outputs, rider.rows)

    def _hold_against(self, pair: Pair, riders: list[Rider], outputs: Arrays, rows: int) -> None:
        unlikeness = pair.pairs.compare([rider.request.outputs for rider in riders], outputs, rows)
        if unlikeness is None:
            return
        different = pair.different
        for place in different.choose(unlikeness):
            rider, row = _find(riders, place)
            copy = rider.request
            sequence, own = _request(copy.requests, row)
            found = Row(rider.inputs, copy.outputs, row, outputs, place)
            different.tell(found, sequence, own, float(unlikeness[place]))
        writer = pair.endpoint.capture
        if writer is not None and writer.shadows:
            _capture(writer, riders, unlikeness)
        told = pair.disagreements
        if told is not None and pair.endpoint.recorded and told.due:
            _disagreed(told, riders, outputs, unlikeness)


def _capture(writer: CaptureWriter, riders: list[Rider], unlikeness: Unlikeness) -> None:
    """Keeps what was answered and is said otherwise."""
    start = 0
    for rider in riders:
        first, start = start, start + rider.rows
        places = np.flatnonzero(unlikeness[first:start] > DISAGREE)
        if len(places):
            copy = rider.request
            sequences, rows = zip(*copy.requests, strict=True)
            writer.keep(rider.inputs, copy.outputs, sequences, rows, copy.subjects, places)


def _beside(batch: Batch) -> Execution | None:
    """The version that answered all of a batch runs it beside the shadow, to be timed."""
    pair: Pair = batch.riders[0].request.pair
    alike = all(rider.request.pair is pair for rider in batch.riders)
    return pair.execution if alike else None


def _disagreed(
    told: Disagreements, riders: list[Rider], outputs: Arrays, unlikeness: Unlikeness
) -> None:
    """Tells of some rows that are classed differently."""
    rows = []
    there = (unlikeness > DISAGREE) & (unlikeness < NO_NUMBER)
    for place in np.flatnonzero(there)[:MAX_AT_ONCE].tolist():
        rider, row = _find(riders, place)
        was, now = rider.request.outputs[told.index], outputs[told.index]
        if was is not None and now is not None:
            labels = told.labels(was[row : row + 1], now[place : place + 1])
            rows.append((*_request(rider.request.requests, row), *labels))
    if rows:
        told.tell(rows)


def _routed(rider: Rider) -> bool:
    """Who named a version came past the route."""
    return rider.request.variant is not None


def _find(riders: list[Rider], place: int) -> tuple[Rider, int]:
    """Whose row this is, and which of its."""
    for rider in riders:
        if place < rider.rows:
            return rider, place
        place -= rider.rows
    raise IndexError(place)


def _request(requests: list[tuple[int, int]], row: int) -> tuple[int, int]:
    """The sequence of the request that a row is of, and its number in it."""
    for sequence, rows in requests:
        if row < rows:
            return sequence, row
        row -= rows
    raise IndexError(row)


def _size(arrays: Arrays) -> int:
    return sum(
        [
            array.nbytes if array.dtype != object else array.size * OBJECT_BYTES
            for array in arrays
            if array is not None
        ]
    )


class Tap:
    """Of one deployment that answers requests of a route."""

    def __init__(self, shadows: Sequence[tuple[Shadow, Pair]]) -> None:
        """Copies for these."""
        self._shadows = shadows
        self._complained = False

    def __call__(self, batch: Batch, answered: list[Rider]) -> None:
        """Takes a batch whose answers are written. Never raises."""
        try:
            for shadow, pair in self._shadows:
                shadow.take(pair, batch, answered)
        except Exception:
            if not self._complained:
                self._complained = True
                log.exception("a batch could not be copied; others are not told of")
