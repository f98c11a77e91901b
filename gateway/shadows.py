"""Has other versions run what was answered, and holds what they say against what was said.

Knows routes' shadows, answered batches, and the ways aside of deployments. Knows nothing of how
batches are answered or run, of how pairs are counted, or of who reads the counts.

    Shadows   of one worker: follows the plan, lives on the event loop
    Tap       of one deployment that answers: picks what is copied once answers are written
    Shadow    of one route and one version: who waits, and what came of it

Nothing is copied but references: a copy is the arrays that its request was decoded to and those
that it was answered with. It waits within bounds; what finds no room is dropped, and counted.
Nothing here is waited for by anybody, and nothing that goes wrong here reaches a request.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from gateway import plan
from gateway.afterwards import one_by_one
from gateway.catalogue import Served
from gateway.inference import InferEndpoint
from gateway.monitor.arena import Arena
from gateway.monitor.different import Different, Row
from gateway.monitor.pairs import Pairs
from gateway.monitor.scores import Reading, reading
from gateway.monitor.sketch import Arrays
from gateway.monitor.slot import Slot
from gateway.plan import Split
from gateway.serving.aside import Aside
from gateway.serving.cost import CostModel
from gateway.serving.deployment import Deployment
from gateway.serving.riders import Batch, Rider
from gateway.tensors import Array

log = logging.getLogger("penstock.worker")

Divided = Iterable[tuple[str, Split, Mapping[int, Served]]]
"""Of each route: its model, how its requests are divided, and the versions that serve here."""
Tell = Callable[[dict[str, Any]], None]

# A string counts as much, whatever it holds: a copy's strings are its request's own.
OBJECT_BYTES: Final = 64


class _Nobody:
    """Whom a copy is for."""

    gone = False


NOBODY: Final = _Nobody()


@dataclass(frozen=True, slots=True)
class _Pair:
    """A version that answers, and this shadow of it.

    Attributes:
        answered: the version.
        pairs: counts what they say.
        hold: what the version that answers takes for a run.
        different: keeps the rows that they differ most about.
    """

    answered: int
    pairs: Pairs
    hold: CostModel
    different: Different


class _Copy:
    """What waits with the inputs of a copy.

    Attributes:
        pair: whose it is.
        outputs: that were answered.
        requests: the sequence of each request, and how many rows it has.
    """

    __slots__ = ("outputs", "pair", "requests")

    def __init__(self, pair: _Pair, outputs: Arrays, requests: list[tuple[int, int]]) -> None:
        self.pair = pair
        self.outputs = outputs
        self.requests = requests


class Shadow:
    """One version that runs copies of a route's requests."""

    def __init__(
        self,
        wanted: plan.Shadow,
        served: Served,
        pairs: Mapping[int, _Pair],
        aside: Callable[[Callable[[Batch], None]], Aside],
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
        self._aside = aside(self._deliver)
        self._closed = False

    def close(self) -> None:
        """Takes no more; who waits is dropped."""
        self._closed = True
        for rider in self._aside.close():
            rider.request.pair.pairs.dropped(rider.rows)
        for pair in self.pairs.values():
            pair.pairs.close()

    # ---- in -------------------------------------------------------------------------------------

    def take(self, pair: _Pair, batch: Batch, answered: list[Rider]) -> None:
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
                self._add(pair, rider.inputs, outputs, rider.rows, [rider], rider.wanted)

    def _add(
        self,
        pair: _Pair,
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
        requests = [(rider.exchange.sequence, rider.rows) for rider in riders]
        copy = _Copy(pair, outputs, requests)
        aside.add(Rider(NOBODY, copy, tuple(inputs), rows, wanted), size)

    # ---- out ------------------------------------------------------------------------------------

    def _deliver(self, batch: Batch) -> None:
        """A batch of copies has run, or failed."""
        if self._closed:
            for rider in batch.riders:
                rider.request.pair.pairs.dropped(rider.rows)
            return
        if batch.error is not None:
            for rider in batch.riders:
                rider.request.pair.pairs.failed(rider.rows)
            return
        self._endpoint.count(batch)
        whole = batch.trimmed is None
        for pair, some in groupby(one_by_one(batch), lambda one: one[0].request.pair):
            self._compare(pair, list(some), batch, whole)

    def _compare(
        self, pair: _Pair, some: list[tuple[Rider, Arrays]], batch: Batch, whole: bool
    ) -> None:
        """Of copies that follow one another, all of one version's answers."""
        rows = sum([rider.rows for rider, _ in some])
        share = rows / batch.rows
        pair.pairs.ran(rows, batch.cpu_s * share, pair.hold.estimate(batch.rows) * share)
        if whole and rows == batch.rows:
            self._hold_against(pair, [rider for rider, _ in some], batch.outputs, rows)
            return
        for rider, outputs in some:
            self._hold_against(pair, [rider], outputs, rider.rows)

    def _hold_against(self, pair: _Pair, riders: list[Rider], outputs: Arrays, rows: int) -> None:
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

    def __init__(self, shadows: Sequence[tuple[Shadow, _Pair]]) -> None:
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


class Shadows:
    """Lives on the worker's event loop."""

    def __init__(
        self,
        arena: Arena,
        worker: int,
        pool: Executor,
        mark: Callable[[int], Callable[[int], None]],
        tell: Tell,
        cores: float,
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: pairs are counted there, in the slots of `worker`.
            worker: number of the slot.
            pool: counts what would hold the loop.
            mark: what says that the model runs whose counters are at an offset.
            tell: takes the rows that differ most.
            cores: that this process may keep busy.
        """
        self._arena = arena
        self._worker = worker
        self._pool = pool
        self._mark = mark
        self._tell = tell
        self._cores = cores
        self._running: dict[tuple[str, int], tuple[Any, Shadow]] = {}
        self._tapped: dict[str, InferEndpoint] = {}
        self._slots: dict[int, Slot] = {}

    def follow(self, divided: Divided) -> None:
        """Brings copying to what the plan wants, as far as this worker has what it names."""
        before, self._running = self._running, {}
        taps: dict[str, tuple[InferEndpoint, list[tuple[Shadow, _Pair]]]] = {}
        for model, split, versions in divided:
            for wanted in split.shadows:
                if wanted.version in versions:
                    answering = _answering(model, split, wanted, versions)
                    shadow = self._shadow(model, wanted, versions, answering, before)
                    for served in answering:
                        _, some = taps.setdefault(served.held.id, (served.endpoint, []))
                        some.append((shadow, shadow.pairs[served.held.version]))
        for held_id, endpoint in self._tapped.items():
            if held_id not in taps:
                endpoint.copy(None)
        for endpoint, some in taps.values():
            endpoint.copy(Tap(some))
        self._tapped = {held_id: endpoint for held_id, (endpoint, _) in taps.items()}
        for _, shadow in before.values():
            shadow.close()
        self._slots = {block: slot for block, slot in self._slots.items() if slot.used}

    def _shadow(
        self,
        model: str,
        wanted: plan.Shadow,
        versions: Mapping[int, Served],
        answering: Sequence[Served],
        before: dict[tuple[str, int], tuple[Any, Shadow]],
    ) -> Shadow:
        """The one that runs already, if that is what is wanted of it."""
        served = versions[wanted.version]
        what = wanted, served.held.id, tuple(one.held.id for one in answering)
        key = model, wanted.version
        if key in before and before[key][0] == what:
            self._running[key] = before.pop(key)
            return self._running[key][1]
        found = _reading(wanted, served.deployment)
        blocks = dict(wanted.blocks)
        pairs = {
            one.held.version: _Pair(
                one.held.version,
                Pairs(
                    self._slot(blocks[one.held.version]), found, wanted.threshold, wanted.tolerance
                ),
                one.deployment.batcher.hold,
                Different(
                    model,
                    one.held.version,
                    wanted.version,
                    served.deployment.signature,
                    self._tell,
                ),
            )
            for one in answering
        }
        mark = self._mark(served.held.block)
        shadow = Shadow(
            wanted,
            served,
            pairs,
            lambda deliver: served.deployment.aside(deliver, mark, self._cores),
        )
        self._running[key] = what, shadow
        return shadow

    def _slot(self, block: int) -> Slot:
        """One for each block: what leaves it and what comes know of one another."""
        if block not in self._slots:
            words = self._arena.array(block, self._worker)
            self._slots[block] = Slot(words, self._pool)
        return self._slots[block]


def _answering(
    model: str, split: Split, wanted: plan.Shadow, versions: Mapping[int, Served]
) -> list[Served]:
    """Whose answers a shadow's are held against: of every variant that takes what it takes."""
    shadow, blocks = versions[wanted.version], dict(wanted.blocks)
    found = []
    for version in dict.fromkeys(one.version for one in split.variants):
        served = versions.get(version)
        if served is None or version == wanted.version or version not in blocks:
            continue
        if served.deployment.signature == shadow.deployment.signature:
            found.append(served)
        else:
            log.warning(
                "route '%s': shadow %d takes or gives other tensors than version %d: it gets no"
                " copies of what that answers",
                *(model, wanted.version, version),
            )
    return found


def _reading(wanted: plan.Shadow, deployment: Deployment) -> Reading | None:
    try:
        return reading(deployment.signature, wanted.kind, wanted.output, wanted.positive)
    except ValueError:
        return None
