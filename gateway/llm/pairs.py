"""Counts what shadows of language models say beside what was answered, by pairs of versions.

Knows copies of requests, which blocks of the arena they are counted in, and the thread that they
are compared on. Knows nothing of how a copy comes to be asked (`copies`), of what is compared of
two answers (`beside`), or of what follows from the counts.

Copies that were answered are gathered for a moment and compared on a thread; counted, and told of
where they differ most, they are on the event loop. What is told of them are features: no text
leaves the worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Protocol

import numpy as np

from gateway.llm.beside import Beside, Twice, beside
from gateway.llm.deployment import LlmDeployment
from gateway.llm.features import SIGNATURE
from gateway.llm.texts import worded
from gateway.llm.told import Happened
from gateway.monitor.arena import Arena
from gateway.monitor.different import Different, Row
from gateway.monitor.pairs import DISAGREE, AnswerPairs, Unlikeness
from gateway.monitor.slot import Slot
from gateway.plan import Split
from gateway.tensors import Array

log = logging.getLogger("penstock.llm")

MAX_ROWS: Final = 32  # some milliseconds of a thread
MAX_WAIT_S: Final = 0.25


class Copy(Protocol):
    """Of a request that was answered, as it is compared."""

    @property
    def sequence(self) -> int:
        """The number of the request."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the request says of itself."""

    @property
    def body(self) -> bytes:
        """The request."""

    @property
    def answered(self) -> Happened:
        """What happened to it."""

    @property
    def by(self) -> LlmDeployment:
        """The version that answered."""

    def done(self) -> None:
        """Nobody needs it any more."""


class Pair:
    """A version that answers, and one of its shadows, in one worker. Lives on its event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Executor,
        counts: AnswerPairs,
        different: Different,
    ) -> None:
        """Begins.

        Args:
            loop: the worker's.
            pool: compares.
            counts: counts.
            different: tells of the requests that both differ most about.
        """
        # fixed at start
        self._loop = loop
        self._pool = pool
        self._counts = counts
        self.different = different
        # of copies that are under way, or answered and not yet compared
        self._open = 0
        self._answered: list[tuple[Copy, Twice]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def close(self) -> None:
        """Counts no more: what is not known by now never will be."""
        self._counts.dropped(self._open)
        self._counts.close()
        self._closed = True

    def drawn(self, *, asked: bool) -> None:
        """A request is to be copied, and is, or finds no room."""
        self._counts.copied(1)
        if asked:
            self._open += 1
        else:
            self._counts.dropped(1)

    def failed(self, copy: Copy, *, at_fault: bool) -> None:
        """The shadow had no answer; where it is at fault for that, it is pulled one day."""
        if self._let_go(copy):
            (self._counts.broke if at_fault else self._counts.failed)(1)

    def crowded_out(self, copy: Copy) -> None:
        """There was no room for the shadow's answer."""
        if self._let_go(copy):
            self._counts.dropped(1)

    def _let_go(self, copy: Copy) -> bool:
        """Whether what becomes of it is still counted."""
        copy.done()
        if self._closed:
            return False
        self._open -= 1
        return True

    def answers(self, copy: Copy, said: Happened) -> None:
        """The shadow has answered, too."""
        self._answered.append((copy, (copy.answered, said)))
        if len(self._answered) >= MAX_ROWS:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(MAX_WAIT_S, self.flush)

    def flush(self) -> None:
        """Has compared what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answered, self._answered = self._answered, []
        if not answered:
            return
        copies, pairs = zip(*answered, strict=True)
        for happened in (one for pair in pairs for one in pair):
            # Both are read when somebody first asks, which must not be two threads at once.
            _ = happened.reading, happened.call.prompt
        comparing = self._loop.run_in_executor(self._pool, beside, copies[0].by.phrases, pairs)
        comparing.add_done_callback(lambda done: self._compared(copies, done))

    def _compared(self, copies: Sequence[Copy], done: asyncio.Future[Beside]) -> None:
        for copy in copies:
            copy.done()
        if self._closed:
            return
        self._open -= len(copies)
        self._counts.ran(len(copies), len(copies), 0.0)
        try:
            self._count(copies, done.result())
        except Exception:
            self._counts.skipped(len(copies))
            log.exception("answers of a shadow could not be compared")

    def _count(self, copies: Sequence[Copy], found: Beside) -> None:
        unlikeness = self._counts.compare(found.first, found.second, found.alike)
        for place in self.different.choose(unlikeness):
            row = Row(found.inputs, found.outputs, place, found.shadow, place)
            self.different.tell(row, copies[place].sequence, 0, float(unlikeness[place]))
        _capture(copies, found, unlikeness)


def _capture(copies: Sequence[Copy], found: Beside, unlikeness: Unlikeness) -> None:
    """Keeps what was answered and is said otherwise, where that is wanted."""
    writer = copies[-1].by.afterwards.capture
    places = np.flatnonzero(unlikeness > DISAGREE)
    if writer is None or not writer.shadows or not len(places):
        return
    about = writer.subject
    subjects = None if about is None else [about(one.parameters) for one in copies]
    sequences = [one.sequence for one in copies]
    said: list[Array] = []
    if writer.texts:
        said = worded([one.body for one in copies], [one.answered.reading for one in copies])
    outputs = [*found.outputs, *said]
    writer.keep(found.inputs, outputs, sequences, [1] * len(copies), subjects, places)


class Pairs:
    """Of all language models of one worker. Lives on its event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        arena: Arena,
        worker: int,
        pool: Executor,
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        """Takes its collaborators.

        Args:
            loop: the worker's.
            arena: pairs are counted there, in the slots of `worker`.
            worker: number of the slot.
            pool: compares.
            tell: takes the requests that differ most.
        """
        self._loop = loop
        self._arena = arena
        self._worker = worker
        self._pool = pool
        self._tell = tell
        self._pairs: dict[tuple[str, int, int], tuple[int, Pair]] = {}

    def find(self, model: str, answered: int, shadow: int) -> Pair | None:
        """The pair of two versions; None: they are not held against each other."""
        found = self._pairs.get((model, answered, shadow))
        return None if found is None else found[1]

    def follow(self, divided: Iterable[tuple[str, Split]]) -> None:
        """Brings pairs to what the plan wants: of each route, its model and how it is divided."""
        before, self._pairs = self._pairs, {}
        for model, split in divided:
            for shadow in split.shadows:
                for answered, block in shadow.blocks:
                    key = model, answered, shadow.version
                    kept = before.get(key)
                    if kept is not None and kept[0] == block:
                        self._pairs[key] = before.pop(key)
                    else:
                        self._pairs[key] = block, self._pair(*key, block)
        for _, pair in before.values():
            pair.close()

    def begin_anew(self) -> None:
        """Who is told of requests has forgotten all of them."""
        for _, pair in self._pairs.values():
            pair.different.begin_anew()

    def close(self) -> None:
        """Nobody is asked any more."""
        self.follow(())

    def _pair(self, model: str, answered: int, shadow: int, block: int) -> Pair:
        slot = Slot(self._arena.array(block, self._worker), self._pool)
        different = Different(model, answered, shadow, SIGNATURE, self._tell)
        return Pair(self._loop, self._pool, AnswerPairs(slot), different)
