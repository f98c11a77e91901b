"""A watched model whose traffic shifts, second by second, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gateway.control.drift import Drift
from gateway.control.panes import PaneStore
from gateway.control.sketches import Sketches
from gateway.monitor import layout
from gateway.monitor.arena import TICK, Arena
from gateway.monitor.sketch import Sketch, Slot
from gateway.profiles.live import block_words, counted
from tests.monitor.watching import SIGNATURE, profile_of, rows

NOON = 1_800_000_000.0
REFERENCE = profile_of(*rows(np.random.default_rng(1), 2000))


class WatchedModel:
    """Version 1 of `m`: `age`, `income` and `job` in, `label` and `score` out."""

    def __init__(self, home: Path, pool: ThreadPoolExecutor) -> None:
        self.arena = Arena.create(1)
        self.rng = np.random.default_rng(9)
        self.now = 100.0
        key = layout.sketch_key("m", 1, "d1")
        offset = self.arena.allocate(layout.SKETCH, key, block_words(REFERENCE))
        tick = self.arena.control_row[TICK : TICK + 1]
        slot = Slot(self.arena.array(offset, 0), pool)
        self.sketch = Sketch(counted(REFERENCE, SIGNATURE), slot, tick)
        self.sketches = Sketches(
            self.arena, PaneStore(home), lambda: self.now, lambda: NOON + self.now
        )
        self.sketches.watch(key, REFERENCE)
        self.drift = Drift(self.sketches.series)

    def serve(self, seconds: int, shift: float = 0.0, each: int = 10) -> None:
        """So many seconds of traffic; `shift` moves `age` alone, in standard deviations."""
        for _ in range(seconds):
            inputs, outputs = rows(self.rng, each)
            inputs[0][:, 0] += np.float32(shift)
            self.sketch.count(inputs, outputs, each)
            self.now += 1
            self.sketches.look()
            self.drift.look()


@contextmanager
def watched_model(home: Path) -> Iterator[WatchedModel]:
    """Gone, with its threads, when the block is left."""
    with ThreadPoolExecutor(1) as pool:
        made = WatchedModel(home, pool)
        yield made
        made.arena.close()
