"""Keeps inputs and outputs of what was answered, all rows or those that a rule takes.

Knows a ring in the arena, the schema and scores. Knows nothing of requests but their numbers, of
files, or of who reads what is kept.

As all that is counted: after the answers of a batch are written, on the event loop or, where that
would take long, on a thread; nothing that goes wrong here reaches a request. What is to be left
empty is emptied before it comes into the ring.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from gateway.capture.frames import ALARM, FULL, SAMPLE, SHADOW, UNSURE, encode
from gateway.capture.ring import ALARM as ALARM_WORD
from gateway.capture.ring import Ring
from gateway.capture.schema import FEATURE, Part, Schema
from gateway.monitor import layout
from gateway.monitor.ledger import NOBODY
from gateway.monitor.scores import Reading
from gateway.monitor.sketch import Arrays
from gateway.monitor.slot import Slot
from gateway.tensors import Array, Signature
from kernels.ring import BEST

log = logging.getLogger("penstock.worker")

# Some 0.1 ms of the event loop.
THREAD_BYTES: Final = 1 << 20
# Of a ring: an empty one always has room for such a frame, wherever it begins.
_FRAME_SHARE: Final = 4
# Rows: many times as many as wait for a shadow.
MAX_REMEMBERED: Final = 65_536

Address = tuple[int, int]
"""The sequence of a request, and a row's number in it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are kept.

    Attributes:
        everything: all of them.
        share: of those that nothing else takes, each by itself.
        below: a classifier's probability of what it predicted.
        between: the score.
        alarms: all of them while an alarm of the model fires.
        shadows: those of which a shadow says something else, once it does.
    """

    everything: bool
    share: float = 0.0
    below: float | None = None
    between: tuple[float, float] | None = None
    alarms: bool = False
    shadows: bool = False


Subject = Callable[[Mapping[str, Any]], bytes]
"""Whom a request is about, by its parameters, as `capture.frames` keeps it."""


class CaptureWriter:
    """Of one deployment in one worker. Called on the event loop alone.

    Attributes:
        subject: what it wants to know of each request; None: nothing.
        shadows: it wants to be told of which rows shadows say something else.
        texts: it wants what was said beside each row.
    """

    def __init__(
        self,
        schema: Schema,
        signature: Signature,
        reading: Reading | None,
        choice: Choice,
        slot: Slot,
        epoch: int,
        wall: Callable[[], float] = time.time,
        seed: int | None = None,
        subject: Subject | None = None,
    ) -> None:
        """Begins to keep rows.

        Args:
            schema: what is kept of them.
            signature: of the deployment.
            reading: where its scores are; None: it has none, and rules about them take nothing.
            choice: which are kept.
            slot: this worker's of the version's ring.
            epoch: of this worker process.
            wall: seconds since 1970.
            seed: of the sample.
            subject: whom a request is about; None: nobody asks.

        Raises:
            ValueError: the deployment has not the schema's tensors.
        """
        self._batched = schema.batched
        self._sources = list(_sources(schema, signature))
        self.texts = bool(schema.texts)
        self._reading = reading
        self._choice = choice
        self._slot = slot
        self._ring = Ring(slot.words)
        self._epoch = epoch
        self._wall = wall
        self._random = np.random.default_rng(seed)
        self.subject = subject
        self.shadows = choice.shadows
        self._kept: dict[Address, None] = {}
        """Rows that were kept lately, the oldest first, where shadows may disagree with them."""
        self._complained = False
        slot.use()

    def close(self) -> None:
        """Keeps no more."""
        self._slot.leave()

    def record(
        self,
        inputs: Arrays,
        outputs: Arrays,
        sequences: Sequence[int],
        rows: Sequence[int],
        subjects: Sequence[bytes] | None = None,
    ) -> None:
        """Takes a batch.

        Args:
            inputs: the tensors that ran, in the signature's order.
            outputs: the same, None for what was not computed; behind them the texts of the schema.
            sequences: the number of each request, NOBODY where it was not answered.
            rows: of each request, in the order in which they stand in the tensors.
            subjects: whom each is about, as `frames` has them; None: none says so.
        """
        try:
            chosen, why = self._choose(outputs, sequences, rows)
        except Exception:
            self._complain()
            self._slot.words[layout.SKETCH_SKIPPED] += sum(rows)
            return
        if chosen is not None and not len(chosen):
            return
        if self.shadows and chosen is not None:
            self._remember(_addresses(sequences, rows, chosen))
        self._write(inputs, outputs, sequences, rows, subjects, chosen, why)

    def keep(
        self,
        inputs: Arrays,
        outputs: Arrays,
        sequences: Sequence[int],
        rows: Sequence[int],
        subjects: Sequence[bytes] | None,
        chosen: Array,
    ) -> None:
        """Takes rows of an earlier batch of which a shadow says something else.

        Args:
            inputs: as `record` has them.
            outputs: as `record` has them.
            sequences: of the requests, all of which were answered.
            rows: of each.
            subjects: whom each is about.
            chosen: places of the rows.
        """
        addresses = _addresses(sequences, rows, chosen)
        chosen = chosen[[one not in self._kept for one in addresses]]
        if len(chosen):
            self._remember(addresses)
            self._write(inputs, outputs, sequences, rows, subjects, chosen, SHADOW)

    def _remember(self, addresses: Sequence[Address]) -> None:
        self._kept |= dict.fromkeys(addresses)
        while len(self._kept) > MAX_REMEMBERED:
            del self._kept[next(iter(self._kept))]

    def _write(
        self,
        inputs: Arrays,
        outputs: Arrays,
        sequences: Sequence[int],
        rows: Sequence[int],
        subjects: Sequence[bytes] | None,
        chosen: Array | None,
        why: int | Array,
    ) -> None:
        """Now or, where that would hold the loop, on a thread."""
        at_ms = int(self._wall() * 1000.0)
        size = sum([_size(array) for array in (*inputs, *outputs) if array is not None])
        work = partial(self._append, inputs, outputs, sequences, rows, subjects, chosen, why, at_ms)
        kept = sum(rows) if chosen is None else len(chosen)
        if self._slot.busy or size > THREAD_BYTES:
            self._slot.line_up(work, kept, size)
        elif skipped := work():
            self._slot.words[layout.SKETCH_SKIPPED] += skipped

    # ---- which ----------------------------------------------------------------------------------

    def _choose(
        self, outputs: Arrays, sequences: Sequence[int], rows: Sequence[int]
    ) -> tuple[Array | None, int | Array]:
        """Places of the rows that are kept, None for all; and why each is."""
        choice, all_answered = self._choice, NOBODY not in sequences
        if choice.everything:
            if all_answered:
                return None, FULL
            return np.flatnonzero(_answered(sequences, rows)), FULL
        why = np.zeros(sum(rows), np.uint8)
        if choice.share:
            why[self._random.random(len(why)) < choice.share] = SAMPLE
        if choice.alarms and self._slot.words[ALARM_WORD]:
            why |= ALARM
        if choice.below is not None or choice.between is not None:
            self._look(outputs, why)
        if not all_answered:
            why[~_answered(sequences, rows)] = 0
        chosen = np.flatnonzero(why)
        return chosen, why[chosen]

    def _look(self, outputs: Arrays, why: Array) -> None:
        """Marks the rows whose score a rule takes; one that is no number is never sure."""
        reading, choice = self._reading, self._choice
        output = None if reading is None else outputs[reading.index]
        if reading is None or output is None:
            return
        _, scores = reading.answers(output)
        if choice.below is not None and reading.classifies:
            confidence = scores if reading.column == BEST else np.maximum(scores, 1.0 - scores)
            why[~(confidence >= choice.below)] |= UNSURE
        if choice.between is not None:
            low, high = choice.between
            why[~((scores < low) | (scores > high))] |= UNSURE

    # ---- into the ring --------------------------------------------------------------------------

    def _append(
        self,
        inputs: Arrays,
        outputs: Arrays,
        sequences: Sequence[int],
        rows: Sequence[int],
        subjects: Sequence[bytes] | None,
        chosen: Array | None,
        why: int | Array,
        at_ms: int,
    ) -> int:
        """On the loop or on a thread: never raises. How many rows could not be written."""
        try:
            arrays = [
                self._taken((outputs if output else inputs)[index], part, chosen)
                for output, index, part in self._sources
            ]
            frame = encode(arrays, sequences, rows, at_ms, self._epoch, why, chosen, subjects)
            kept = sum(rows) if chosen is None else len(chosen)
            if len(frame) <= self._ring.capacity // _FRAME_SHARE or kept < 2:
                self._ring.put(frame, kept)
                return 0
            places = np.arange(kept) if chosen is None else chosen
            skipped = 0
            for half in (slice(0, kept // 2), slice(kept // 2, kept)):
                reasons = why if isinstance(why, int) else why[half]
                skipped += self._append(
                    inputs, outputs, sequences, rows, subjects, places[half], reasons, at_ms
                )
            return skipped
        except Exception:
            self._complain()
            return sum(rows) if chosen is None else len(chosen)

    def _taken(self, array: Array | None, part: Part, chosen: Array | None) -> Array | None:
        if array is None:
            return None
        if not self._batched:
            array = array[None]
        if chosen is not None:
            array = array[chosen]
        return _emptied(array, part) if part.masked else array

    def _complain(self) -> None:
        """Inside an `except`: says once what went wrong."""
        if not self._complained:
            self._complained = True
            log.exception("a batch is not captured; others like it are not told of")


def _sources(schema: Schema, signature: Signature) -> Iterator[tuple[bool, int, Part]]:
    """Of each part: whether it is an output, its place in the signature, itself."""
    texts = itertools.count(len(signature.outputs))
    for part in schema.parts:
        if part.text:
            yield True, next(texts), part
            continue
        output = part.role != FEATURE
        specs = signature.outputs if output else signature.inputs
        places = [
            place
            for place, spec in enumerate(specs)
            if (spec.name, spec.datatype) == (part.tensor, part.datatype)
        ]
        if not places or schema.batched != signature.batched:
            raise ValueError(f"{part.role} '{part.tensor}': not what is to be captured")
        yield output, places[0], part


def _addresses(sequences: Sequence[int], rows: Sequence[int], chosen: Array) -> list[Address]:
    """Of the rows at these places."""
    whose = np.repeat(sequences, rows)[chosen].tolist()
    first = np.repeat(np.cumsum(rows) - rows, rows)
    return list(zip(whose, (chosen - first[chosen]).tolist(), strict=True))


def _size(array: Array) -> int:
    if array.dtype != object:
        return array.nbytes
    return sum([len(value) for value in array.ravel().tolist() if value is not None])


def _answered(sequences: Sequence[int], rows: Sequence[int]) -> Array:
    return np.repeat([sequence != NOBODY for sequence in sequences], rows)


def _emptied(array: Array, part: Part) -> Array:
    """Without what nobody may see; a list is left without values."""
    if part.many:
        return np.zeros((len(array), *([0] * (array.ndim - 1))), array.dtype)
    table = array.reshape(len(array), -1).copy()
    table[:, list(part.masked)] = b"" if array.dtype == object else 0
    return table.reshape(array.shape)
