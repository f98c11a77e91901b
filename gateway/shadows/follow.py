"""Follows the plan's shadows: which deployments are tapped, and which run copies.

Knows routes, deployments and blocks of the arena. Knows nothing of how copies are made, run or
compared (`copies`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from gateway import plan
from gateway.catalogue import Served
from gateway.inference import InferEndpoint
from gateway.monitor.arena import Arena
from gateway.monitor.different import Different
from gateway.monitor.disagreements import Disagreements
from gateway.monitor.pairs import Pairs
from gateway.monitor.scores import Reading, reading
from gateway.monitor.slot import Slot
from gateway.plan import Split
from gateway.serving.deployment import Deployment
from gateway.shadows.copies import Pair, Shadow, Tap

log = logging.getLogger("penstock.worker")

Divided = Iterable[tuple[str, Split, Mapping[int, Served]]]
"""Of each route: its model, how its requests are divided, and the versions that serve here."""
Tell = Callable[[dict[str, Any]], None]


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
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: pairs are counted there, in the slots of `worker`.
            worker: number of the slot.
            pool: counts what would hold the loop.
            mark: what says that the model runs whose counters are at an offset.
            tell: takes the rows that differ most.
            cores: that this process may keep busy.
            crowded: requests wait for a run to end.
        """
        self._arena = arena
        self._worker = worker
        self._pool = pool
        self._mark = mark
        self._tell = tell
        self._cores = cores
        self._crowded = crowded
        self._running: dict[tuple[str, int], tuple[Any, Shadow]] = {}
        self._tapped: dict[str, InferEndpoint] = {}
        self._slots: dict[int, Slot] = {}

    def follow(self, divided: Divided) -> None:
        """Brings copying to what the plan wants, as far as this worker has what it names."""
        before, self._running = self._running, {}
        taps: dict[str, tuple[InferEndpoint, list[tuple[Shadow, Pair]]]] = {}
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

    def begin_anew(self) -> None:
        """Who is told of rows has forgotten all of them."""
        for _, shadow in self._running.values():
            for pair in shadow.pairs.values():
                pair.different.begin_anew()

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
            one.held.version: Pair(
                one.held.version,
                one.endpoint,
                Pairs(
                    self._slot(blocks[one.held.version]), found, wanted.threshold, wanted.tolerance
                ),
                one.deployment.execution,
                Different(
                    model,
                    one.held.version,
                    wanted.version,
                    served.deployment.signature,
                    self._tell,
                ),
                self._disagreements(model, one.held.version, wanted, found),
            )
            for one in answering
        }
        mark = self._mark(served.held.block)
        shadow = Shadow(
            wanted,
            served,
            pairs,
            lambda deliver, beside: served.deployment.aside(
                deliver, mark, self._cores, beside, self._crowded
            ),
        )
        self._running[key] = what, shadow
        return shadow

    def _disagreements(
        self, model: str, answered: int, wanted: plan.Shadow, found: Reading | None
    ) -> Disagreements | None:
        if found is None or not found.classifies:
            return None
        versions = model, answered, wanted.version
        return Disagreements(*versions, found, wanted.threshold, self._tell)

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
    if deployment.texts is not None:
        return None  # vectors are no scores, however many numbers they have
    try:
        return reading(deployment.signature, wanted.kind, wanted.output, wanted.positive)
    except ValueError:
        return None
