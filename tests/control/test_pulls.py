"""Versions that fail are pulled at once, and written down as soon as the disk takes it."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.control.audit import Audit
from gateway.control.pulls import Pulls
from gateway.control.splits import Wanted
from gateway.control.store import Store
from gateway.control.unwritten import Unwritten
from gateway.errors import StoreFailed
from tests.control.auditing import ANN

pytestmark = pytest.mark.anyio
EVIDENCE = {"kind": "in_a_row", "failed": 10}


@dataclass
class World:
    home: Path

    def pulls(self, unwritten: Unwritten | None = None) -> Pulls:
        """As a control process that has just started."""
        self.store = Store.open(self.home)
        return Pulls(self.store, lambda: 1000.0, unwritten)


@pytest.fixture
def world():
    with tempfile.TemporaryDirectory() as folder:
        made = World(Path(folder))
        yield made
        made.store.close()


async def test_a_pull_is_in_force_before_it_is_written(world):
    pulls = world.pulls()
    pull = pulls.pull("m", 2, "canary", "10 failures in a row", EVIDENCE)
    assert pulls.without("m", Wanted()).pulled == {2: pull}
    assert pulls.without("n", Wanted()).pulled == {}
    assert Audit(world.store).last(10) == []
    await pulls.write()
    await pulls.write()
    (entry,) = (one.as_json() for one in Audit(world.store).last(10))
    assert (entry["who"], entry["door"], entry["action"]) == ("penstock", "automatic", "route pull")
    assert (entry["subject"], entry["at"]) == ("m", 1000.0)
    assert entry["after"]["evidence"] == EVIDENCE
    assert entry["after"]["why"] == "10 failures in a row"


async def test_it_outlives_the_process(world):
    before = world.pulls()
    pull = before.pull("m", 2, "canary", "why", EVIDENCE)
    await before.write()
    world.store.close()
    assert world.pulls().of("m") == {2: pull}


async def test_what_the_disk_does_not_take_stays_in_force_and_is_tried_again(world):
    pulls = world.pulls()
    assert pulls.of("m") == {}
    world.store.close()
    pull = pulls.pull("m", 2, "canary", "why", EVIDENCE)
    for _ in range(2):
        with pytest.raises(StoreFailed):
            await pulls.write()
    assert pulls.of("m") == {2: pull}


async def test_a_version_is_pulled_though_the_home_was_lost_before_it_was_read(world):
    before = world.pulls()
    kept = before.pull("m", 3, "third", "why", EVIDENCE)
    await before.write()
    unwritten = Unwritten()
    pulls = world.pulls(unwritten)
    world.store.close()
    pull = pulls.pull("m", 2, "canary", "why", EVIDENCE)
    assert pulls.without_at_hand("m", Wanted()).pulled == {2: pull}
    with pytest.raises(StoreFailed):
        pulls.of("m")
    after = world.pulls(unwritten)  # the home is back, or control was killed meanwhile
    assert after.of("m") == {2: pull, 3: kept}
    await after.write()
    assert unwritten.why_of("m") == ""
    world.store.close()
    assert world.pulls().of("m") == {2: pull, 3: kept}


async def test_whoever_puts_versions_back_is_written_down_and_others_stay_pulled(world):
    pulls = world.pulls()
    first = pulls.pull("m", 2, "canary", "why", EVIDENCE)
    second = pulls.pull("m", 3, "third", "why", EVIDENCE)
    assert await pulls.put_back(ANN, "m", "route put back", [2]) == [first]
    assert pulls.of("m") == {3: second}
    assert await pulls.put_back(ANN, "m", "route put back") == [second]
    assert await pulls.put_back(ANN, "m", "route put back") == []
    entries = [one.as_json() for one in Audit(world.store).last(10)]
    assert [one["action"] for one in entries] == ["route pull"] * 2 + ["route put back"] * 2
    assert entries[-1]["who"] == ANN.who
    assert entries[-1]["before"]["pulled"][0]["version"] == 3
    world.store.close()
    assert world.pulls().of("m") == {}


async def test_what_is_pulled_again_while_it_is_put_back_stays_pulled(world):
    pulls = world.pulls()
    pulls.pull("m", 2, "canary", "why", EVIDENCE)
    deleting, goes_on, whole = threading.Event(), threading.Event(), pulls._delete

    def delete(*args):
        deleting.set()
        goes_on.wait(10.0)
        whole(*args)

    pulls._delete = delete
    putting_back = asyncio.create_task(pulls.put_back(ANN, "m", "route put back"))
    await asyncio.to_thread(deleting.wait, 10.0)
    again = pulls.pull("m", 2, "canary", "it fails again", EVIDENCE)
    writing = asyncio.create_task(pulls.write())
    await asyncio.wait([writing], timeout=0.2)
    goes_on.set()
    await asyncio.gather(putting_back, writing)
    assert pulls.of("m") == {2: again}
    world.store.close()
    assert world.pulls().of("m") == {2: again}
