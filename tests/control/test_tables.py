"""Control brings every worker to the same table, whoever is slow or born again."""

from __future__ import annotations

import asyncio

import pytest

from gateway.control import tables as sending
from gateway.control.tables import Tables
from gateway.tables import PART_ROWS, TableInbox

pytestmark = pytest.mark.anyio


class Worker:
    """The other end of a link that takes so many messages before it is full."""

    def __init__(self):
        self.room = 1_000_000
        self.rows = {}
        self.messages = 0
        self.born()

    def born(self):
        self.inbox = TableInbox("keys", self.replace, self.change)

    def replace(self, rows):
        self.rows = dict(rows)

    def change(self, rows, dropped):
        self.rows.update(rows)
        for key in dropped:
            self.rows.pop(key, None)


class Office:
    def __init__(self):
        self.workers = [Worker(), Worker()]
        self.tables = Tables(self.send, 2)

    def send(self, slot, message):
        worker = self.workers[slot]
        if not worker.room:
            return False
        worker.room -= 1
        worker.messages += 1
        if not worker.inbox.take(message):
            asyncio.get_running_loop().call_soon(self.tables.send_whole, slot, "keys")
        return True

    async def at(self, slot, version):
        """Waits until a worker is at a version."""
        for _ in range(5000):
            if self.workers[slot].inbox.version == version:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"worker {slot}: at {self.workers[slot].inbox.version}")


async def test_everybody_gets_the_whole_once_and_then_what_changed():
    office = Office()
    rows = {str(n): n for n in range(20 * PART_ROWS)}
    office.tables.publish("keys", 1, rows)
    for slot in (0, 1):
        await office.at(slot, 1)
    before = [worker.messages for worker in office.workers]
    office.tables.publish("keys", 2, {"new": 1}, ["0"])
    for slot in (0, 1):
        await office.at(slot, 2)
        assert office.workers[slot].messages == before[slot] + 1
        wanted = {key: value for key, value in rows.items() if key != "0"} | {"new": 1}
        assert office.workers[slot].rows == wanted


async def test_a_newborn_worker_gets_everything_and_the_others_nothing():
    office = Office()
    office.tables.publish("keys", 1, {"a": 1})
    for slot in (0, 1):
        await office.at(slot, 1)
    before = office.workers[1].messages
    office.workers[0].born()
    office.tables.greet(0)
    await office.at(0, 1)
    assert office.workers[0].rows == {"a": 1}
    assert office.workers[1].messages == before


async def test_a_slow_worker_gets_there_and_holds_nobody_up():
    office = Office()
    office.workers[0].room = 3
    rows = {str(n): n for n in range(10 * PART_ROWS)}
    office.tables.publish("keys", 1, rows)
    await office.at(1, 1)
    for version in range(2, 6):
        office.tables.publish("keys", version, {f"v{version}": version})
    await office.at(1, 5)
    assert office.workers[0].inbox.version is None
    office.workers[0].room = 1_000_000
    await office.at(0, 5)
    assert office.workers[0].rows == office.workers[1].rows


async def test_what_waits_for_a_worker_that_does_not_read_is_bounded():
    office = Office()
    office.tables.publish("keys", 1, {})
    for slot in (0, 1):
        await office.at(slot, 1)
    office.workers[0].room = 0
    last = 3 * sending.MAX_WAITING
    for version in range(2, last + 1):
        office.tables.publish("keys", version, {"k": version})
        await asyncio.sleep(0)
        assert len(office.tables._waiting[0]) <= sending.MAX_WAITING
    office.workers[0].room = 1_000_000
    await office.at(0, last)
    assert office.workers[0].rows == {"k": last}


async def test_workers_that_followed_an_earlier_control_are_sent_nothing_again():
    before, after = Office(), Office()
    before.tables.publish("keys", 4, {"a": 1})
    for slot in (0, 1):
        await before.at(slot, 4)
    after.workers = before.workers
    counts = [worker.messages for worker in after.workers]
    after.tables.publish("keys", 4, {"a": 1})
    await asyncio.sleep(0)
    assert [worker.messages for worker in after.workers] == [count + 1 for count in counts]
