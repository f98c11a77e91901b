"""A full disk costs what needs room, says so, and nothing of what is there."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.control.ledger_store import LedgerStore
from gateway.digests import digest
from gateway.errors import StoreFailed
from gateway.outcomes.arrivals import Arrival, of_list
from gateway.outcomes.early import Early
from gateway.outcomes.joins import Joins
from gateway.outcomes.labels import About
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.metric_sums import Metrics
from kernels.metrics import SUM, N
from kernels.performance import LABELLED
from tests.end_to_end.disks import disk
from tests.outcomes.records import NOON_MS, STREAM, records

ROOM = 4096


class World:
    """A ledger and its database on a disk of their own; and what joins ask of a server."""

    early_ms, share, client_ids, reserved_metrics = 60_000, 1.0, True, ()

    def __init__(self, small):
        self.disk = small
        folder = small.place / "ledger"
        self.store = LedgerStore(folder)
        self.ledger = Ledger(folder, self.store, ROOM)
        self.metrics = Metrics(self.ledger.segments, self.store)
        self.joins = Joins(self.ledger, self.metrics, Early(self.store), self)
        self.folder = folder

    def about(self, series):
        return About("m", {})

    def series(self, models):
        raise AssertionError("everybody may send everything")

    def live(self):
        return {STREAM}

    def send(self, *arrivals):
        found = self.joins.join(of_list(arrivals), None, NOON_MS)
        return {name: count for name, count in found.counts.items() if count}


@pytest.fixture
def world(tmp_path):
    with disk(tmp_path / "disk", 4) as small:
        made = World(small)
        yield made
        made.store.close()


def label(sequence, outcome=1.0):
    return Arrival(f"{STREAM}-{sequence:x}", 0, outcome)


def test_what_needs_room_fails_by_name_and_works_once_there_is_some(world):
    named = np.array([(digest("a"), 1, 1 << 32 | 1)])
    world.ledger.append(STREAM, records(range(ROOM)), named=named)
    assert world.send(label(1), Arrival(f"{STREAM}-1", 0, 2.0, None, "seen")) == {"accepted": 2}
    world.disk.fill()
    # What has its room goes on.
    assert world.send(label(1, 0.0), label(2)) == {"corrected": 1, "accepted": 1}
    assert world.send(Arrival(f"{STREAM}-2", 0, 3.0, None, "seen")) == {"accepted": 1}
    with pytest.raises(StoreFailed):  # a new metric
        world.send(Arrival(f"{STREAM}-1", 0, 5.0, None, "new"))
    with pytest.raises(StoreFailed):  # another file of records
        world.ledger.append(STREAM, records([ROOM]), anew=True, named=named)
    with pytest.raises(StoreFailed):  # to be kept until their record comes
        world.send(*[label(ROOM + number) for number in range(2000)])
    world.disk.make_room()
    assert world.send(Arrival(f"{STREAM}-1", 0, 5.0, None, "new")) == {"accepted": 1}
    world.ledger.append(STREAM, records([ROOM]), anew=True, named=named)
    world.joins.again(NOON_MS)
    assert world.joins.late["accepted"] == 1
    assert world.send(Arrival("a", 0, 1.0, client=True)) == {"corrected": 1}
    assert world.ledger.sums(1, 0, 2 * NOON_MS).totals[LABELLED] == 3
    seen, new = (
        world.metrics.sums(world.metrics.names[name], 1, 0, 2 * NOON_MS) for name in ("seen", "new")
    )
    assert (seen[N], seen[SUM], new[N], new[SUM]) == (2, 5.0, 1, 5.0)
    assert not list(world.folder.glob("*.half"))
