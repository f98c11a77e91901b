"""The database under the home."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from gateway.control import chain
from gateway.control.audit import Actor, newest, note_change
from gateway.control.migrations import MIGRATIONS
from gateway.control.store import Store
from gateway.errors import StoreFailed
from tests.end_to_end.disks import disk

ANN = Actor("ann", "cli", "here")


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "home") as opened:
        yield opened


def change(store, subject="s", before=None, after=None):
    with store.write() as db:
        note_change(db, ANN, "test", subject, before, after)


def test_home_and_database_are_the_owners_alone(store):
    assert stat.S_IMODE(store.home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in store.home.iterdir()} == {0o600}


def test_every_change_is_written_down_and_moves_the_generation_on(store):
    start = store.generation()
    change(store, "m/1", None, {"digest": "d"})
    change(store, "m/1", {"digest": "d"}, None)
    assert store.generation() == start + 2
    with store.read() as db:
        rows = [tuple(row) for row in db.execute("SELECT subject, before, after FROM audit")]
    assert rows == [("m/1", None, '{"digest":"d"}'), ("m/1", '{"digest":"d"}', None)]


def test_a_change_that_fails_leaves_nothing(store):
    def half_a_change():
        with store.write() as db:
            note_change(db, ANN, "test", "s")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        half_a_change()
    assert store.generation() == 0
    change(store)


def test_what_was_written_is_there_after_reopening(tmp_path):
    with Store.open(tmp_path) as store:
        change(store)
    with Store.open(tmp_path) as store:
        assert store.generation() == 1


def test_a_reader_sees_one_moment(store, tmp_path):
    with Store.open(store.home) as other, store.read() as db:
        count = "SELECT COUNT(*) FROM audit"
        assert db.execute(count).fetchone()[0] == 0
        change(other)
        assert db.execute(count).fetchone()[0] == 0
    assert store.generation() == 1


def test_threads_share_a_store(store):
    threads = [threading.Thread(target=change, args=(store,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.generation() == 8


def test_a_store_does_not_cross_a_fork(store):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.generation()
        except StoreFailed as error:
            os.write(theirs, str(error).encode())
        os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours, "rb") as answer:
        assert b"opened in another process" in answer.read()


def open_and_change(home, times):
    with Store.open(home) as store:
        for _ in range(times):
            change(store)


def test_closing_waits_for_threads_in_the_middle_of_a_change_and_refuses_later_ones(tmp_path):
    """SQLite crashes the process where a connection is closed under its user."""
    store = Store.open(tmp_path / "home")
    inside, go_on = threading.Event(), threading.Event()

    def slow_change():
        with store.write() as db:
            inside.set()
            assert go_on.wait(60)
            note_change(db, ANN, "test", "s")

    with ThreadPoolExecutor(2) as threads:
        change_made = threads.submit(slow_change)
        assert inside.wait(60)
        closed = threads.submit(store.close)
        # It has begun to close once others are refused.
        while not refused(store):
            assert not closed.done()
        assert not closed.done()
        go_on.set()
        change_made.result(60)
        closed.result(60)
    with Store.open(tmp_path / "home") as again:
        assert again.generation() == 1
        with again.read() as db:
            assert chain.read_head(again.home) == newest(db)


def refused(store):
    try:
        store.generation()
    except StoreFailed as error:
        return "closed" in str(error)
    return False


def test_processes_that_open_a_new_home_at_once_agree(tmp_path):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=open_and_change, args=(tmp_path, 5)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    with Store.open(tmp_path) as store:
        assert store.generation() == 20


def test_a_new_home_waits_for_whoever_makes_it(tmp_path):
    file = tmp_path / "penstock.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        # What another process that opens the same new home holds for a moment. Who wants the
        # write-ahead log meanwhile is told at once that the database is busy.
        other.execute("BEGIN IMMEDIATE")
        leaves = threading.Timer(0.2, other.execute, ["COMMIT"])
        leaves.start()
        with Store.open(tmp_path) as store:
            change(store)
        leaves.join()
    with Store.open(tmp_path) as store:
        assert store.generation() == 1


def test_a_newer_schema_is_left_alone(tmp_path):
    Store.open(tmp_path).close()
    newer = len(MIGRATIONS) + 1
    with sqlite3.connect(tmp_path / "penstock.db") as db:
        db.execute("INSERT INTO migrations (version) VALUES (?)", (newer,))
    db.close()
    with pytest.raises(StoreFailed, match=f"newer release: wanted schema .* got {newer}"):
        Store.open(tmp_path)


def test_an_older_schema_is_brought_up(tmp_path):
    with sqlite3.connect(tmp_path / "penstock.db") as db:
        db.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, at TEXT)")
    db.close()
    with Store.open(tmp_path) as store:
        change(store)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"not a database, but long enough to be one" * 100, id="other"),
        pytest.param(lambda data: data[:4096] + b"\xff" * (len(data) - 4096), id="overwritten"),
        pytest.param(lambda data: b"\0" * 100 + data[100:], id="header-gone"),
    ],
)
def test_a_damaged_database_is_named(tmp_path, damage):
    with Store.open(tmp_path) as store:
        change(store)
    file = tmp_path / "penstock.db"
    file.write_bytes(damage(file.read_bytes()))
    with (
        pytest.raises(StoreFailed, match=r"penstock\.db: it is (damaged|not a database)"),
        Store.open(tmp_path) as store,
    ):
        change(store)


def test_a_home_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match=os.strerror(errno.ENOTDIR)):
        Store.open(tmp_path / "file" / "home")


def test_a_database_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "penstock.db").mkdir()
    with pytest.raises(StoreFailed, match=os.strerror(errno.EISDIR)):
        Store.open(tmp_path)


def test_a_full_disk_is_named(store):
    with store.read() as db:
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(StoreFailed, match="the disk is full"):
        change(store, "x" * 100_000)
    assert store.generation() == 0


def test_a_home_that_was_read_only_is_written_once_it_can_be(tmp_path, store):
    change(store)
    with disk(tmp_path / "disk") as small:
        # With its log, as a process leaves it that is killed.
        shutil.copytree(store.home, small.place / "home")
        small.protect()
        with Store(small.place / "home") as left, ThreadPoolExecutor(1) as another:
            for _ in range(2):
                assert left.generation() == another.submit(left.generation).result() == 1
                with pytest.raises(StoreFailed, match="it is read-only"):
                    change(left)
            another.submit(left.generation).result()
            small.protect(False)
            with pytest.raises(StoreFailed):  # what another thread opened then is still open
                change(left)
            change(left)
            assert left.generation() == another.submit(left.generation).result() == 2


def test_every_start_has_a_number_of_its_own(tmp_path):
    numbers = []
    for _ in range(3):
        with Store.open(tmp_path) as store:
            numbers.append(store.new_start())
    assert numbers == [1, 2, 3]


def test_a_database_that_was_moved_away_is_neither_written_nor_made_anew(store):
    away = store.home.with_name("away")
    store.home.rename(away)
    with pytest.raises(StoreFailed, match="it is gone: No such file or directory"):
        change(store)
    assert not store.home.exists()
    away.rename(store.home)
    change(store)
    assert store.generation() == 1


def test_a_thread_that_is_new_to_a_lost_home_makes_nothing(store):
    store.home.rename(store.home.with_name("away"))
    store.home.mkdir()
    with pytest.raises(StoreFailed, match="it is gone"):
        Store(store.home).generation()
    assert list(store.home.iterdir()) == []


def test_another_database_in_the_same_place_is_left_alone(store, tmp_path):
    store.home.rename(tmp_path / "away")
    Store.open(store.home).close()
    with pytest.raises(StoreFailed, match="another file took its place; start the server again"):
        change(store)
