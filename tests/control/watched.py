"""A watched model whose traffic shifts, second by second, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gateway.control.drift import Drift
from gateway.control.panes import PaneStore
from gateway.control.sketches import Sketches
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.sketch import Sketch
from gateway.monitor.slot import Slot
from gateway.profiles.live import block_words, counted
from gateway.profiles.values import Profile
from gateway.tensors import Signature
from tests.monitor.watching import SIGNATURE, profile_of, rows

NOON = 1_800_000_000.0
REFERENCE = profile_of(*rows(np.random.default_rng(1), 2000))


@dataclass(frozen=True)
class Kind:
    """A model, as far as its values are counted: its rows come from `draw(rng, count, shift)`."""

    signature: Signature
    profile: Profile
    digest: str
    draw: Callable[..., tuple[list[Any], list[Any]]]


PEOPLE = Kind(SIGNATURE, REFERENCE, "d1", rows)
"""`age`, `income` and `job` in, `label` and `score` out; a shift moves `age` alone."""


class WatchedModel:
    """Version 1 of `m`."""

    def __init__(self, home: Path, pool: ThreadPoolExecutor, kind: Kind, start: float) -> None:
        self.arena = Arena.create(1)
        self.kind = kind
        self.rng = np.random.default_rng(9)
        self.now = 100.0
        key = layout.sketch_key("m", 1, kind.digest)
        offset = self.arena.allocate(layout.SKETCH, key, block_words(kind.profile))
        tick = self.arena.control_row[TICK : TICK + 1]
        slot = Slot(self.arena.array(offset, 0), pool)
        self.sketch = Sketch(counted(kind.profile, kind.signature), slot, tick)
        self.panes = PaneStore(home)
        self.sketches = Sketches(
            self.arena, self.panes, lambda: self.now, lambda: start - 100.0 + self.now
        )
        self.sketches.watch(key, kind.profile)
        self.drift = Drift(self.sketches.series)

    def serve(self, seconds: int, shift: float = 0.0, each: int = 10) -> None:
        """So many seconds of traffic."""
        for _ in range(seconds):
            inputs, outputs = self.kind.draw(self.rng, each, shift)
            self.sketch.count(inputs, outputs, each)
            self.now += 1
            self.sketches.look()
            self.drift.look()

    def stop(self) -> None:
        """Keeps its panes in its home, as a server that is told to stop does."""
        self.panes.save(*self.sketches.due(everything=True), self.sketches.now)
        self.panes.close()
        self.arena.close()


@contextmanager
def watched_model(home: Path, kind: Kind = PEOPLE, start: float = NOON) -> Iterator[WatchedModel]:
    """Stopped, with its threads, when the block is left; its first second is `start`."""
    with ThreadPoolExecutor(1) as pool:
        made = WatchedModel(home, pool, kind, start)
        yield made
        made.stop()
