"""Databases of earlier releases come up to this one with everything that they hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from gateway.control import migrations
from gateway.control.audit import Audit
from gateway.control.migrations import MIGRATIONS
from gateway.control.registry import Registry
from gateway.control.store import FILE, Store
from gateway.control.verification import verify
from gateway.errors import StoreFailed
from tests.control.auditing import ANN

CHANGES = [
    (1000.5, "ann", "register", "m/1", None, '{"bytes":10,"digest":"d"}'),
    (1001.0, "bob", "alias set", "m:champion", '{"version":1}', '{"version":2}'),
    (999.25, "ann", "remove", "m/1", '{"digest":"d"}', None),
]


@pytest.fixture
def old(home):
    """A home as the first schema left it, with changes."""
    with closing(sqlite3.connect(home / FILE)) as db:
        db.execute(
            "CREATE TABLE migrations"
            " (version INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        migrations.apply(db, MIGRATIONS[0])
        db.execute("INSERT INTO migrations (version) VALUES (1)")
        db.executemany(
            "INSERT INTO changes (at, who, action, subject, before, after)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            CHANGES,
        )
        db.execute("UPDATE counters SET value = 3")
        db.commit()
    return home


def test_the_changes_of_the_first_schema_become_a_chained_audit(old):
    with Store.open(old) as store:
        entries = list(Audit(store).entries())
        proof = verify(store)
        assert store.generation() == 3
    kept = [(e.at, e.who, e.action, e.subject, e.before, e.after) for e in entries]
    assert kept == CHANGES
    assert [(e.id, e.door, e.origin) for e in entries] == [(n, "cli", "") for n in (1, 2, 3)]
    assert (proof.faults, proof.entries) == ((), 3)


def test_the_chain_goes_on_where_the_migration_ended(old):
    with Store.open(old) as store:
        with pytest.raises(StoreFailed, match="append-only"), store.write() as db:
            db.execute("DELETE FROM audit")
        Audit(store).note(ANN, "start", "server")
        assert (verify(store).faults, Audit(store).last(1)[0].id) == ((), 4)


def test_a_migration_that_fails_leaves_the_old_database(old):
    with closing(sqlite3.connect(old / FILE)) as db:
        # In the way of a column that the migration adds.
        db.execute("ALTER TABLE changes ADD COLUMN hash TEXT")
        db.commit()
    with pytest.raises(StoreFailed, match="duplicate column"):
        Store.open(old)
    with closing(sqlite3.connect(old / FILE)) as db:
        assert db.execute("SELECT COUNT(*) FROM changes").fetchone() == (3,)
        assert db.execute("SELECT MAX(version) FROM migrations").fetchone() == (1,)


def test_every_migration_runs_once(home):
    for _ in range(2):
        with Store.open(home) as store, store.read() as db:
            versions = [row[0] for row in db.execute("SELECT version FROM migrations")]
        assert versions == list(range(1, len(MIGRATIONS) + 1))


def test_versions_of_the_schema_before_profiles_have_none(home):
    with closing(sqlite3.connect(home / FILE)) as db:
        db.execute(
            "CREATE TABLE migrations"
            " (version INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        for number in range(4):
            migrations.apply(db, MIGRATIONS[number])
            db.execute("INSERT INTO migrations (version) VALUES (?)", (number + 1,))
        db.execute("INSERT INTO models VALUES ('m', 1)")
        db.execute("INSERT INTO folders VALUES ('d', 10)")
        facts = '{"inputs":[],"outputs":[]}'
        db.execute(
            "INSERT INTO versions VALUES ('m', 1, 'd', 'm.onnx', ?, 'ann', 1000.5)", (facts,)
        )
        db.commit()
    with Store.open(home) as store:
        version = Registry(store, home).resolve("m")
    assert (version.registered_by, version.profile) == ("ann", None)
