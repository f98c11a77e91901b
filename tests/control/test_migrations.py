"""Databases of earlier releases come up to this one with everything that they hold.

Those of every earlier schema are made by the migrations of then, with a row in every table.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from gateway.control import chain, migrations
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


RENAMED = {"changes": "audit"}
BY_TYPE = {"INTEGER": 1, "REAL": 1.5}
JSON = {
    "before": None,
    "after": '{"a":1}',
    "models": '["*"]',
    "facts": "{}",
    "document": "{}",
    "tags": "[]",
    "allowance": "{}",
}


def make(db, version):
    """What a release that knew so many migrations made of an empty database."""
    db.execute(
        "CREATE TABLE migrations"
        " (version INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
    for number, migration in enumerate(MIGRATIONS[:version], 1):
        migrations.apply(db, migration)
        db.execute("INSERT INTO migrations (version) VALUES (?)", (number,))


def value(db, table, column, kind):
    """Something for a column: what it refers to, or what its type and name ask for."""
    for found in db.execute(f"PRAGMA foreign_key_list({table})").fetchall():
        if found["from"] == column:
            there = db.execute(f"PRAGMA table_info({found['table']})").fetchall()
            kinds = {one["name"]: one["type"] for one in there}
            return value(db, found["table"], found["to"], kinds[found["to"]])
    return BY_TYPE.get(kind, JSON.get(column, f"{table}.{column}"))


def contents(db):
    """Every row of every table, as columns and values."""
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: [dict(row) for row in db.execute(f"SELECT * FROM {name}")]
        for name in names
        if not name.startswith("sqlite_")
    }


def fill(db):
    """One more row for every table, each column of it filled."""
    for table in contents(db).keys() - {"migrations"}:
        row = {
            one["name"]: value(db, table, one["name"], one["type"])
            for one in db.execute(f"PRAGMA table_info({table})").fetchall()
        }
        if table == "audit":
            row["hash"] = chain.link(chain.GENESIS, row)
        places = ", ".join(f":{name}" for name in row)
        db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", row)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_every_row_of_every_earlier_schema_is_kept(home, version):
    with closing(sqlite3.connect(home / FILE)) as db:
        db.row_factory = sqlite3.Row
        make(db, version)
        fill(db)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.commit()
        before = contents(db)
    assert all(before.values())
    if version >= migrations.CHAINED:
        chain.write_head(home, chain.Head(1, before["audit"][0]["hash"]))
    with Store.open(home) as store:
        assert verify(store).faults == ()
        with store.read() as db:
            after = contents(db)
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    lost = [
        (table, row)
        for table, rows in before.items()
        for row in rows
        if not any(row.items() <= there.items() for there in after[RENAMED.get(table, table)])
    ]
    assert lost == []


@pytest.fixture
def old(home):
    """A home as the first schema left it, with changes."""
    with closing(sqlite3.connect(home / FILE)) as db:
        make(db, 1)
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
    assert chain.read_head(old) == chain.Head(3, proof.head)


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
