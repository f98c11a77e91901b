"""What becomes of a batch once its answers are written: counted, written down, captured.

Knows batches, riders, and what is wanted of each. Knows nothing of how values are counted, of where
records and rows go, or of how answers are written.

All of it runs on the worker's event loop, once per batch, and costs those who rode in it nothing.
What goes wrong is dealt with below: none of these raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.monitor.capture import CaptureWriter
from gateway.monitor.hold_out import HoldOut
from gateway.monitor.ledger import NO_MARKS, NOBODY, LedgerWriter, Marks
from gateway.monitor.parts import Marking, Parts
from gateway.monitor.sketch import Arrays, Taker
from gateway.serving.riders import Batch, Rider
from gateway.tensors import Array


@dataclass(frozen=True, slots=True)
class Afterwards:
    """Of one deployment.

    Attributes:
        takers: count the values of all rows.
        ledger: writes down what was answered; None: nobody does.
        parts: tells rows apart, and counts the values of their groups; None: they are all alike.
        capture: keeps inputs and outputs; None: nobody does.
    """

    takers: tuple[Taker, ...] = ()
    ledger: LedgerWriter | None = None
    parts: Parts | None = None
    capture: CaptureWriter | None = None

    @property
    def hold_out(self) -> HoldOut | None:
        """Who is held out: told in the answer, and written down with it; None: nobody."""
        return None if self.ledger is None else self.ledger.hold_out

    def close(self) -> None:
        """Takes no more."""
        for user in (*self.takers, self.ledger, self.parts, self.capture):
            if user is not None:
                user.close()

    def take(self, batch: Batch, answered: list[Rider], texts: Sequence[Array] = ()) -> None:
        """Takes a batch, and those of its riders who got an answer.

        Args:
            batch: of them.
            answered: riders.
            texts: (rows, 1) each, what was said beside each row; for `capture` alone.
        """
        for taker in self.takers:
            _count(taker, batch)
        parts = self.parts
        marks: Marks = NO_MARKS
        if parts is not None:
            marks = _marking(parts, batch.inputs, batch.riders)
            _count_parts(parts, batch, marks)
        if self.ledger is None and self.capture is None:
            return
        told = _told(batch.riders, answered)
        if self.ledger is not None:
            _record(self.ledger, parts, batch, told, marks)
        if self.capture is not None:
            _capture(self.capture, batch, told, texts)

    def count(self, batch: Batch) -> None:
        """Counts the values of a batch that nobody was answered with."""
        for taker in self.takers:
            _count(taker, batch)


NOTHING: Final = Afterwards()
"""Nobody wants to know."""


def made_elsewhere(
    asked: Sequence[Any], inputs: Arrays, outputs: Arrays, rows: int, now: float
) -> Batch:
    """A batch that no model ran here, of rows that were answered one by one.

    Args:
        asked: whoever asked for each row, as a rider has it; or one for all of them.
        inputs: the tensors that were asked about, in the signature's order.
        outputs: those that came of it.
        rows: in them.
        now: seconds.
    """
    each = rows // len(asked)
    batch = Batch([Rider(one, one, (), each, ()) for one in asked], rows, "idle", now)
    batch.inputs, batch.outputs = inputs, list(outputs)  # type: ignore[assignment]
    return batch


def _count(taker: Taker, batch: Batch) -> None:
    if not batch.padded_cells:
        taker.count(batch.inputs, batch.outputs, batch.rows)
        return
    for rider, outputs in one_by_one(batch):
        taker.count(rider.inputs, outputs, rider.rows)


def _count_parts(parts: Parts, batch: Batch, marking: Marking) -> None:
    if not batch.padded_cells:
        parts.count(batch.inputs, batch.outputs, batch.rows, marking)
        return
    for rider, outputs in one_by_one(batch):
        parts.count(rider.inputs, outputs, rider.rows, _marking(parts, rider.inputs, [rider]))


def _record(
    ledger: LedgerWriter,
    parts: Parts | None,
    batch: Batch,
    told: list[int],
    marks: Marks,
) -> None:
    riders = batch.riders
    ids = [rider.request.id for rider in riders] if ledger.client_ids else []
    lots = [rider.request.lot for rider in riders]
    if batch.trimmed is None:
        ledger.record(batch.outputs, told, [rider.rows for rider in riders], marks, ids, lots)
        return
    for place, (rider, number) in enumerate(zip(riders, told, strict=True)):
        if parts is not None:
            marks = _marking(parts, rider.inputs, [rider])
        own = ids[place : place + 1]
        its = lots[place : place + 1]
        ledger.record(batch.trimmed[place], [number], [rider.rows], marks, own, its)


def _capture(capture: CaptureWriter, batch: Batch, told: list[int], texts: Sequence[Array]) -> None:
    riders = batch.riders
    subjects = None
    if capture.subject is not None:
        subjects = [capture.subject(rider.request.parameters) for rider in riders]
    if not batch.padded_cells and batch.trimmed is None:
        rows = [rider.rows for rider in riders]
        capture.record(batch.inputs, (*batch.outputs, *texts), told, rows, subjects)
        return
    for place, (rider, outputs) in enumerate(one_by_one(batch)):
        own = None if subjects is None else [subjects[place]]
        capture.record(rider.inputs, outputs, [told[place]], [rider.rows], own)


def one_by_one(batch: Batch) -> Iterator[tuple[Rider, Arrays]]:
    """Each rider and its own outputs, for padding is nobody's value."""
    if len(batch.riders) == 1:  # which may be of a model whose outputs count no rows
        yield batch.riders[0], batch.outputs if batch.trimmed is None else batch.trimmed[0]
        return
    start = 0
    for place, rider in enumerate(batch.riders):
        first, start = start, start + rider.rows
        if batch.trimmed is not None:
            yield rider, batch.trimmed[place]
        else:
            yield rider, [None if one is None else one[first:start] for one in batch.outputs]


def _marking(parts: Parts, inputs: Sequence[Array], riders: list[Rider]) -> Marking:
    """What finds the groups of these riders' rows, once somebody wants them."""
    rows = [rider.rows for rider in riders]
    return parts.marking(inputs, rows, [rider.request.parameters for rider in riders])


def _told(riders: list[Rider], answered: list[Rider]) -> list[int]:
    """The number of each rider's request, NOBODY where it got no answer."""
    if len(answered) == len(riders):
        return [rider.exchange.sequence for rider in riders]
    awaited = {id(rider) for rider in answered}
    return [rider.exchange.sequence if id(rider) in awaited else NOBODY for rider in riders]
