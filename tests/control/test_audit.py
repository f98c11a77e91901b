"""The audit only grows, and whoever makes it do otherwise is found out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import sqlite3
from contextlib import closing
from typing import Any

import orjson
import pytest
from starlette.requests import Request

from gateway.control import chain
from gateway.control.audit import Actor, Audit, at_terminal, note, note_change
from gateway.control.audit_operations import operations
from gateway.control.documents import AuditPage, AuditQuery
from gateway.control.operations import Asked
from gateway.control.store import FILE, Store
from gateway.control.verification import verify
from gateway.errors import StoreFailed
from tests.control.auditing import ANN, fill, tamper


@pytest.fixture
def store(home):
    with Store.open(home) as opened:
        yield opened


def proof(home, noted=None):
    with Store.open(home) as store:
        return verify(store, noted)


def test_an_entry_says_who_what_when_through_which_door_and_from_where(store):
    with store.write() as db:
        note_change(db, ANN, "alias set", "m:champion", {"version": 1}, {"version": 2}, 12.5)
    (entry,) = Audit(store).entries()
    values = entry.as_json()
    assert len(values.pop("hash")) == 64
    assert values == {
        "id": 1,
        "at": 12.5,
        "who": "ann",
        "door": "cli",
        "origin": "host pid 1",
        "action": "alias set",
        "subject": "m:champion",
        "before": {"version": 1},
        "after": {"version": 2},
    }


def test_a_note_changes_nothing_that_should_run(store):
    before = store.generation()
    Audit(store).note(ANN, "start", "server")
    assert store.generation() == before
    with store.write() as db:
        note_change(db, ANN, "register", "m/1")
    assert store.generation() == before + 1


def test_each_hash_covers_the_one_before_it_and_the_entry_as_canonical_json(home, store):
    fill(home)
    previous = "0" * 64
    for entry in Audit(store).entries():
        values = entry.as_json()
        found = values.pop("hash")
        line = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256((previous + line).encode()).hexdigest()
        assert found == previous


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE audit SET who = 'bob' WHERE id = 2", id="changed"),
        pytest.param("DELETE FROM audit WHERE id = 5", id="removed"),
        pytest.param("INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE id = 2", id="again"),
        pytest.param(
            "INSERT INTO audit (id, at, who, action, subject) VALUES (0, 0, 'x', 'x', 'x')",
            id="before-the-first",
        ),
    ],
)
def test_the_database_refuses_everything_but_appending(home, store, statement):
    fill(home)
    with pytest.raises(StoreFailed, match="the audit is append-only"), store.write() as db:
        db.execute(statement)
    assert proof(home).ok


def test_an_untouched_audit_is_proven_and_its_head_told(home):
    fill(home)
    found = proof(home)
    assert (found.ok, found.entries, found.first_at, found.last_at) == (True, 5, 1001.0, 1005.0)
    assert chain.read_head(home) == chain.Head(5, found.head)
    assert proof(home, found.head).ok


def test_an_audit_without_entries_is_proven(home):
    found = proof(home)
    assert (found.ok, found.entries, found.head) == (True, 0, chain.GENESIS)


BACK = "UPDATE counters SET value = {} WHERE name = 'generation'"
REWRITE = "UPDATE audit SET {} WHERE id = 3"
NO_UTF8 = "CAST(x'ff' AS TEXT)"


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        pytest.param(REWRITE.format("at = 1003.5"), "entry 3: its hash does not", id="at"),
        pytest.param(REWRITE.format("who = 'bob'"), "entry 3: its hash does not", id="who"),
        pytest.param(REWRITE.format("door = 'data'"), "entry 3: its hash does not", id="door"),
        pytest.param(REWRITE.format("origin = ''"), "entry 3: its hash does not", id="origin"),
        pytest.param(REWRITE.format("action = 'x'"), "entry 3: its hash does not", id="action"),
        pytest.param(REWRITE.format("subject = 'x'"), "entry 3: its hash does not", id="subject"),
        pytest.param(REWRITE.format("before = '{}'"), "entry 3: its hash does not", id="before"),
        pytest.param(REWRITE.format("after = NULL"), "entry 3: its hash does not", id="after"),
        pytest.param(REWRITE.format("after = after || ' '"), "entry 3: its hash", id="space"),
        pytest.param(REWRITE.format("after = '{'"), "entry 3: its hash", id="not-json"),
        pytest.param(REWRITE.format("who = x'ff'"), "entry 3: its hash", id="not-text"),
        pytest.param(REWRITE.format(f"who = {NO_UTF8}"), "entry 3: its hash", id="not-utf8"),
        pytest.param(REWRITE.format(f"after = {NO_UTF8}"), "entry 3: its hash", id="json-not-utf8"),
        pytest.param(REWRITE.format(f"hash = {NO_UTF8}"), "entry 3: its hash", id="hash-not-utf8"),
        pytest.param(REWRITE.format("hash = 'x'"), "entry 3: its hash does not", id="hash"),
        pytest.param(REWRITE.format("id = 9"), "entry 3: was removed", id="moved"),
        pytest.param("DELETE FROM audit WHERE id = 1", "entry 1: was removed", id="first"),
        pytest.param("DELETE FROM audit WHERE id = 3", "entry 3: was removed", id="middle"),
        pytest.param(
            "DELETE FROM audit WHERE id IN (2, 3)", "entries 2 to 3: were removed", id="two"
        ),
        pytest.param("DELETE FROM audit WHERE id = 5", "entry 5: was removed", id="last"),
        pytest.param("DELETE FROM audit", "entries 1 to 5: were removed", id="all"),
        pytest.param(
            "INSERT INTO audit SELECT 6, at, who, action, subject, before, after, door, origin,"
            " hash FROM audit WHERE id = 5",
            "entry 6: its hash does not follow",
            id="added",
        ),
        pytest.param(
            "UPDATE audit SET id = 100 WHERE id = 2; UPDATE audit SET id = 2 WHERE id = 3;"
            " UPDATE audit SET id = 3 WHERE id = 100",
            "entry 2: its hash does not follow",
            id="reordered",
        ),
        pytest.param(
            "UPDATE audit SET id = -id; UPDATE audit SET id = 6 + id",
            "entry 1: its hash does not follow",
            id="reversed",
        ),
    ],
)
def test_what_was_tampered_with_is_named(home, statement, fault):
    fill(home)
    tamper(home, *statement.split(";"))
    found = proof(home)
    assert not found.ok
    assert found.faults[0].startswith(fault)


def test_text_that_was_moved_across_the_borders_of_columns_is_named(home):
    """The line that is hashed stays as it was, byte by byte."""
    with Store.open(home) as store, store.write() as db:
        note(db, ANN, "metadata", "m/1", {}, {"a": "x", "at": "x", "before": "y"}, 1.5)
    with Store.open(home) as store:
        (entry,) = Audit(store).entries()
    moved = {"after": '{"a":"x"', "at": "x", "before": '"y"},"at":1.5,"before":{}'}
    there = {field: getattr(entry, field) for field in chain.FIELDS}
    assert chain.line(there | moved) == chain.line(there)
    tamper(home, "UPDATE audit SET " + ", ".join(f"{k} = '{v}'" for k, v in moved.items()))
    found = proof(home, entry.hash)
    assert found.faults == (
        "entry 1: at holds no time: it was changed so that its hash still follows",
    )
    assert (found.first_at, found.last_at) == (None, None)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param("before = 'null'", "before holds no JSON", id="null-as-text"),
        pytest.param("after = CAST(after AS BLOB)", "after holds no text", id="bytes"),
    ],
)
def test_what_a_hash_alone_does_not_tell_apart_is_named(home, change, fault):
    fill(home)
    tamper(home, REWRITE.format(change))
    assert [one.startswith(f"entry 3: {fault}") for one in proof(home).faults] == [True]


def test_one_changed_entry_is_one_fault(home):
    fill(home)
    tamper(home, "UPDATE audit SET who = 'bob' WHERE id = 2")
    assert len(proof(home).faults) == 1


def test_a_tail_that_was_cut_off_shows_although_the_sequence_was_set_back(home):
    fill(home)
    cut = ("DELETE FROM audit WHERE id > 3", "UPDATE sqlite_sequence SET seq = 3")
    tamper(home, *cut)
    (fault,) = proof(home).faults
    assert fault == "entries 4 to 5: were removed from the end: audit.head names them"


def test_a_cut_shows_also_after_further_changes(home):
    fill(home)
    tamper(home, "DELETE FROM audit WHERE id > 3", "UPDATE sqlite_sequence SET seq = 3")
    fill(home, 4)
    assert any("entry 5: audit.head holds hash" in fault for fault in proof(home).faults)


def test_a_cut_of_database_and_file_shows_against_a_head_that_was_noted(home):
    fill(home)
    noted = proof(home).head
    tamper(home, "DELETE FROM audit WHERE id > 3", "UPDATE sqlite_sequence SET seq = 3")
    with Store.open(home) as store:
        chain.write_head(home, chain.Head(3, Audit(store).last(1)[0].hash))
    assert proof(home).faults == ("the home counts 5 changes, its audit holds 3 entries",)
    tamper(home, BACK.format(3))
    assert proof(home).ok
    (fault,) = proof(home, noted).faults
    assert noted in fault


def test_a_history_that_was_written_anew_shows_by_the_head_beside_it(home):
    fill(home)
    previous = chain.GENESIS
    with Store.open(home) as store:
        entries = [entry.as_json() | {"who": "bob"} for entry in Audit(store).entries()]
    updates = []
    for entry in entries:
        texts = {side: entry[side] and orjson.dumps(entry[side]).decode() for side in ("before",)}
        texts["after"] = orjson.dumps(entry["after"], option=orjson.OPT_SORT_KEYS).decode()
        previous = chain.link(previous, entry | texts)
        updates.append(
            f"UPDATE audit SET who = 'bob', hash = '{previous}' WHERE id = {entry['id']}"
        )
    tamper(home, *updates)
    (fault,) = proof(home).faults
    assert fault.startswith("entry 5: audit.head holds hash")


def test_a_head_that_is_gone_or_unreadable_is_told(home):
    fill(home)
    (home / chain.FILE).write_text("nonsense")
    assert proof(home).faults[-1].startswith("audit.head: it cannot be read")
    (home / chain.FILE).unlink()
    assert proof(home).faults == (
        "audit.head: it is missing: whether entries after 5 were removed is unknown",
    )


CUT = ("DELETE FROM audit WHERE id > 3", "UPDATE sqlite_sequence SET seq = 3")
WIPED = ("DELETE FROM audit", "DELETE FROM sqlite_sequence WHERE name = 'audit'")


@pytest.mark.parametrize("statements", [CUT, WIPED, ()], ids=["cut", "wiped", "head-alone"])
def test_an_audit_that_lost_its_head_never_holds_again(home, statements):
    fill(home)
    tamper(home, *statements)
    (home / chain.FILE).unlink()
    assert any("audit.head: it is missing" in fault for fault in proof(home).faults)
    fill(home, 2)
    found = proof(home)
    with Store.open(home) as store:
        told = next(one for one in Audit(store).entries() if one.action == "head missing")
    assert found.faults[0].startswith(f"entry {told.id}: audit.head was missing")
    assert len(found.faults) == 1
    # What comes after that is guarded as ever.
    tamper(home, f"DELETE FROM audit WHERE id > {told.id}")
    assert any("removed from the end" in fault for fault in proof(home).faults)


def test_a_missing_head_is_told_by_the_first_write_whatever_that_is(home):
    fill(home)
    (home / chain.FILE).unlink()
    with Store.open(home) as store:
        store.new_start()
        (last,) = Audit(store).last(1)
    assert (last.action, last.door, last.id) == ("head missing", "automatic", 6)
    assert orjson.loads(last.before or "")["id"] == 5


def test_whoever_noted_a_head_after_the_loss_vouches_for_what_was_before(home):
    fill(home)
    before = proof(home).head
    (home / chain.FILE).unlink()
    fill(home, 1)
    assert not proof(home, before).ok
    assert proof(home, proof(home).head).ok


def test_an_empty_audit_beside_a_home_that_is_not_is_a_fault(home):
    fill(home)
    tamper(home, *WIPED)
    chain.write_head(home, chain.BEGINNING)
    assert proof(home).faults == ("the home counts 5 changes, its audit holds 0 entries",)
    fill(home, 1)
    assert proof(home).faults == ("the home counts 6 changes, its audit holds 1 entries",)
    tamper(home, *WIPED, BACK.format(0))
    chain.write_head(home, chain.BEGINNING)
    assert proof(home).ok  # who writes all of it can: a noted head alone would tell
    tamper(home, "INSERT INTO revisions VALUES (1, 0, '', '', '', '', '', NULL)")
    assert proof(home).faults == ("the audit is empty, but the home holds 1 revisions",)


def test_a_new_home_has_a_head_from_its_beginning(home):
    Store.open(home).close()
    assert chain.read_head(home) == chain.Head(0, chain.GENESIS)
    assert proof(home).ok


def test_many_faults_are_counted_and_only_some_listed(home):
    fill(home, 50)
    tamper(home, "UPDATE audit SET who = 'bob'")
    found = proof(home)
    assert (len(found.faults), found.more_faults) == (20, 30)


def append(home, times):
    with Store.open(home) as store:
        for _ in range(times):
            Audit(store).note(ANN, "test", "s")


def test_processes_that_write_at_once_make_one_chain(home):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=append, args=(home, 20)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    append(home, 1)
    found = proof(home)
    assert (found.faults, found.entries) == ((), 81)
    assert chain.read_head(home) == chain.Head(81, found.head)


def test_the_head_only_ever_moves_forward_whoever_writes_at_once(home):
    append(home, 1)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=append, args=(home, 50)) for _ in range(4)]
    for child in children:
        child.start()
    seen = [1]
    while any(child.is_alive() for child in children):
        head = chain.read_head(home)
        assert head is not None
        seen.append(head.id)
    assert [child.exitcode for child in children] == [0] * 4
    assert seen == sorted(seen)
    found = proof(home)
    assert (found.faults, chain.read_head(home)) == ((), chain.Head(201, found.head))


def test_a_change_that_fails_leaves_no_entry_and_no_gap(home, store):
    fill(home, 2)

    def half_a_change():
        with store.write() as db:
            note(db, ANN, "test", "s")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        half_a_change()
    append(home, 1)
    assert (proof(home).faults, proof(home).entries) == ((), 3)


def test_a_head_that_cannot_be_written_fails_no_change(home, store, caplog):
    (home / chain.FILE).unlink()
    (home / chain.FILE).mkdir()
    append(home, 1)
    assert "audit.head" in caplog.text
    assert proof(home).faults[0].startswith("audit.head: it cannot be read")


def test_entries_are_read_page_by_page(home, store):
    fill(home, 7)
    audit = Audit(store)
    assert [entry.id for entry in audit.page(after=2, limit=3)] == [3, 4, 5]
    assert [entry.id for entry in audit.entries(since=1006.0)] == [6, 7]
    assert [entry.id for entry in audit.last(2)] == [6, 7]


@pytest.mark.parametrize("what", [NO_UTF8, "x'ff'", "7"])
def test_whatever_the_newest_hash_was_changed_to_keeps_nobody_from_writing(home, what):
    fill(home)
    tamper(home, f"UPDATE audit SET hash = {what} WHERE id = 5")
    fill(home, 1)
    found = proof(home)
    assert (found.entries, [fault[:8] for fault in found.faults]) == (6, ["entry 5:"] * 2)


@pytest.mark.parametrize(
    "change", ["at = 'x'", "at = x'ff'", "at = 9e999", "who = x'ff'", f"who = {NO_UTF8}"]
)
def test_the_control_port_tells_entries_that_hold_what_none_has(home, store, change):
    fill(home)
    tamper(home, REWRITE.format(change))
    (read,) = operations(Audit(store))
    request = Request({"type": "http", "headers": []})
    asked = Asked(request, None, AuditQuery.model_validate_strings({}), None, None)

    async def ask() -> Any:
        return await read.handle(asked)

    told = asyncio.run(ask())
    page = orjson.loads(AuditPage.model_validate(told).model_dump_json())
    faults = [entry["fault"] for entry in page["entries"]]
    assert [bool(fault) for fault in faults] == [False, False, True, False, False]
    assert change.split()[0] in faults[2]


def test_whoever_runs_a_command_is_named_with_host_and_process():
    actor = at_terminal()
    assert (actor.door, " pid " in actor.origin) == ("cli", True)
    assert isinstance(actor, Actor)


def test_the_file_beside_the_database_is_the_owners_alone(home):
    fill(home)
    assert (home / chain.FILE).stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(home / FILE)) as db:
        (newest,) = db.execute("SELECT hash FROM audit WHERE id = 5").fetchone()
    assert (home / chain.FILE).read_text() == f"5 {newest}\n"


def test_a_head_that_cannot_be_written_leaves_nothing_behind(home):
    (home / chain.FILE).mkdir()  # what is put in its place cannot take it
    with pytest.raises(OSError):  # noqa: PT011
        chain.write_head(home, chain.Head(1, "a" * 64))
    assert [path.name for path in home.iterdir()] == [chain.FILE]


def test_an_emptied_database_leaves_the_head_that_tells_of_what_it_held(home, store):
    fill(home)
    store.close()
    before = (home / chain.FILE).read_text()
    for name in ("penstock.db", "penstock.db-wal", "penstock.db-shm"):
        (home / name).unlink(missing_ok=True)
    with Store.open(home) as emptied:
        proof = verify(emptied)
    assert (home / chain.FILE).read_text() == before
    assert any("removed from the end" in fault for fault in proof.faults)


@pytest.mark.parametrize("text", ["0 anything", f"-1 {'0' * 64}", f"3 {'0' * 64}", "1 xyz", "x"])
def test_a_head_that_no_entry_can_have_is_told(home, store, text):
    fill(home)
    (home / chain.FILE).write_text(text)
    assert any("cannot be read" in fault for fault in verify(store).faults)
