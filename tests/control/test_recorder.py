"""Control's entries reach the audit in order, and what cannot be written is not called done."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from gateway.control.audit import Actor, Audit
from gateway.control.recorder import Recorder
from gateway.control.store import Store
from gateway.control.troubles import Troubles
from gateway.errors import StoreFailed

pytestmark = pytest.mark.anyio
BOB = Actor("anonymous@127.0.0.1", "admin", "127.0.0.1:5")


@pytest.fixture
def store(home):
    with Store.open(home) as opened:
        yield opened


@asynccontextmanager
async def recording(store):
    recorder = Recorder(store, Troubles(), now=lambda: 7.5)
    running = asyncio.create_task(recorder.run())
    yield recorder
    recorder.close()
    await running


def entries(store):
    return [(e.door, e.action, e.subject, e.at) for e in Audit(store).entries()]


async def test_what_was_asked_for_is_on_disk_when_record_returns(store):
    async with recording(store) as recorder:
        await recorder.record(BOB, "load", "m", {"loads": 0}, {"loads": 1})
        assert entries(store) == [("admin", "load", "m", 7.5)]


async def test_entries_stand_in_the_order_in_which_things_happened(store):
    async with recording(store) as recorder:
        for number in range(50):
            recorder.note("quarantine", f"m{number}")
        await recorder.record(BOB, "load", "m")
        recorder.note("serve", "plan 1")
    subjects = [entry[2] for entry in entries(store)]
    assert subjects == [*(f"m{number}" for number in range(50)), "m", "plan 1"]
    assert {entry[0] for entry in entries(store)} == {"automatic", "admin"}


async def test_who_waits_for_an_entry_that_cannot_be_written_is_told(store, caplog):
    with store.read() as db:
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
        full = db.execute("PRAGMA max_page_count").fetchone()[0]
    # Each thread has a connection of its own, so the limit is set where the entry is written.
    recorder = Recorder(Full(store, full), Troubles())
    running = asyncio.create_task(recorder.run())
    recorder.note("quarantine", "m", None, {"reason": "x" * 100_000})
    with pytest.raises(StoreFailed, match="the disk is full"):
        await recorder.record(BOB, "load", "m")
    recorder.close()
    running.cancel()
    assert "the disk is full" in caplog.text
    assert entries(store) == []


class Full(Store):
    """A store on a disk that is full."""

    def __init__(self, store, pages):
        super().__init__(store.home)
        self._pages = pages

    def _connection(self):
        connection = super()._connection()
        connection.execute(f"PRAGMA max_page_count = {self._pages}")
        return connection


async def test_what_waits_at_the_end_is_written(store):
    async with recording(store) as recorder:
        recorder.note("serve", "plan 9")
    assert entries(store) == [("automatic", "serve", "plan 9", 7.5)]


class Broken(Store):
    """A store whose first transaction fails in a way that nobody foresaw."""

    def __init__(self, store):
        super().__init__(store.home)
        self._fails = 1

    def write(self):
        if self._fails:
            self._fails -= 1
            raise RuntimeError("can't start new thread")
        return super().write()


async def test_what_nobody_foresaw_is_told_and_is_not_the_end_of_writing(store, caplog):
    recorder = Recorder(Broken(store), Troubles())
    running = asyncio.create_task(recorder.run())
    with pytest.raises(StoreFailed, match="can't start new thread"):
        await recorder.record(BOB, "load", "m")
    await recorder.record(BOB, "load", "n")
    recorder.close()
    await running
    assert [entry[2] for entry in entries(store)] == ["n"]
    assert "can't start new thread" in caplog.text


async def test_what_cannot_be_written_at_the_end_is_told(store, caplog):
    broken = Broken(store)
    broken._fails = 10
    async with recording(broken) as recorder:
        recorder.note("quarantine", "m")
        recorder.note("serve", "plan 9")
    assert "audit: 2 entries are lost" in caplog.text
    assert "quarantine of m, serve of plan 9" in caplog.text
    assert entries(store) == []
