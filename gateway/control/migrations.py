"""The schema's history: what brings the database of an earlier release up to this one.

Knows every table that there ever was. Knows nothing of transactions: `store` runs what is missing
in one, so that a migration happens whole or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from gateway.control import chain

Migration = str | Callable[[sqlite3.Connection], None]
"""SQL, or, where SQL alone does not do, a function that may also run some."""


def apply(db: sqlite3.Connection, migration: Migration) -> None:
    """Takes one step inside the caller's transaction."""
    if isinstance(migration, str):
        for statement in _statements(migration):
            db.execute(statement)
    else:
        migration(db)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script. `executescript` would commit what it is part of."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def _changes_become_the_audit(db: sqlite3.Connection) -> None:
    """Chains the changes that were written down so far, and lets nothing of it be changed again.

    Until here only the command line changed anything.
    """
    apply(
        db,
        """
        ALTER TABLE changes RENAME TO audit;
        ALTER TABLE audit ADD COLUMN door TEXT NOT NULL DEFAULT 'cli';
        ALTER TABLE audit ADD COLUMN origin TEXT NOT NULL DEFAULT '';
        ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
        """,
    )
    previous = chain.GENESIS
    columns = ", ".join(chain.FIELDS)
    # All at once: a table is not to be read and changed at the same time.
    for row in db.execute(f"SELECT {columns} FROM audit ORDER BY id").fetchall():
        entry = dict(zip(chain.FIELDS, row, strict=True))
        previous = chain.link(previous, entry)
        db.execute("UPDATE audit SET hash = ? WHERE id = ?", (previous, entry["id"]))
    apply(
        db,
        """
        CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
        CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
        -- A replacing insert removes a row without asking the trigger above.
        CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
        WHEN EXISTS (SELECT 1 FROM audit WHERE id >= NEW.id)
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
        """,
    )


MIGRATIONS: tuple[Migration, ...] = (
    """
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
    INSERT INTO counters VALUES ('generation', 0);

    CREATE TABLE changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        before TEXT,
        after TEXT
    );

    CREATE TABLE models (
        name TEXT PRIMARY KEY,
        last_version INTEGER NOT NULL
    );

    CREATE TABLE folders (
        digest TEXT PRIMARY KEY,
        bytes INTEGER NOT NULL
    );

    CREATE TABLE files (
        digest TEXT NOT NULL REFERENCES folders (digest) ON DELETE CASCADE,
        path TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (digest, path)
    );

    CREATE TABLE versions (
        model TEXT NOT NULL REFERENCES models (name) ON DELETE CASCADE,
        version INTEGER NOT NULL CHECK (version > 0),
        digest TEXT NOT NULL REFERENCES folders (digest),
        file TEXT NOT NULL,
        facts TEXT NOT NULL,
        registered_by TEXT NOT NULL,
        registered_at REAL NOT NULL,
        PRIMARY KEY (model, version)
    );
    CREATE INDEX versions_by_digest ON versions (digest);

    CREATE TABLE metadata (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (model, version, key),
        FOREIGN KEY (model, version) REFERENCES versions (model, version) ON DELETE CASCADE
    );

    CREATE TABLE aliases (
        model TEXT NOT NULL,
        alias TEXT NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (model, alias),
        FOREIGN KEY (model, version) REFERENCES versions (model, version) ON DELETE CASCADE
    );
    """,
    _changes_become_the_audit,
    """
    CREATE TABLE revisions (
        number INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        note TEXT NOT NULL,
        source TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        document TEXT NOT NULL
    );
    """,
    """
    INSERT INTO counters VALUES ('keys', 0);

    CREATE TABLE keys (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        digest TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL,
        models TEXT NOT NULL,
        created_at REAL NOT NULL,
        created_by TEXT NOT NULL,
        expires_at REAL,
        revoked_at REAL,
        last_used_at REAL,
        changed INTEGER NOT NULL
    );
    CREATE TABLE secret_check (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        digest TEXT NOT NULL
    );
    CREATE INDEX keys_by_name ON keys (name);
    CREATE INDEX keys_by_change ON keys (changed);
    CREATE INDEX keys_by_expiry ON keys (expires_at) WHERE expires_at IS NOT NULL;
    """,
    """
    CREATE TABLE profiles (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        profile TEXT NOT NULL,
        folder TEXT NOT NULL REFERENCES folders (digest),
        rows INTEGER NOT NULL,
        attached_by TEXT NOT NULL,
        attached_at REAL NOT NULL,
        PRIMARY KEY (model, version),
        FOREIGN KEY (model, version) REFERENCES versions (model, version) ON DELETE CASCADE
    );
    CREATE INDEX profiles_by_folder ON profiles (folder);
    """,
    """
    CREATE TABLE alarms (
        rule TEXT NOT NULL,
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        alarm TEXT NOT NULL,
        PRIMARY KEY (rule, model, version)
    );
    CREATE TABLE letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        event TEXT NOT NULL,
        sink TEXT NOT NULL,
        notice TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        dead_at REAL,
        reason TEXT,
        UNIQUE (event, sink)
    );
    """,
    """
    CREATE TABLE self_references (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        content TEXT NOT NULL,
        resets INTEGER NOT NULL DEFAULT 0,
        profile TEXT,
        folder TEXT REFERENCES folders (digest),
        rows INTEGER,
        frozen_at REAL,
        PRIMARY KEY (model, version)
    );
    CREATE INDEX self_references_by_folder ON self_references (folder);
    """,
    """
    ALTER TABLE revisions ADD COLUMN restores INTEGER;
    """,
    """
    CREATE TABLE monitoring_releases (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        number INTEGER NOT NULL,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        note TEXT NOT NULL,
        profile TEXT NOT NULL,
        profile_folder TEXT NOT NULL REFERENCES folders (digest),
        rows INTEGER NOT NULL,
        self_referenced INTEGER NOT NULL,
        offered TEXT NOT NULL,
        contract TEXT NOT NULL,
        contract_folder TEXT NOT NULL REFERENCES folders (digest),
        edited INTEGER NOT NULL,
        thresholds TEXT NOT NULL,
        configured TEXT NOT NULL,
        PRIMARY KEY (model, version, number)
    );
    CREATE INDEX monitoring_releases_by_profile ON monitoring_releases (profile_folder);
    CREATE INDEX monitoring_releases_by_contract ON monitoring_releases (contract_folder);
    """,
    """
    CREATE TABLE routes (
        model TEXT PRIMARY KEY,
        route TEXT,
        stop TEXT
    );
    """,
    """
    ALTER TABLE routes ADD COLUMN lead TEXT;

    CREATE TABLE rollouts (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        given TEXT NOT NULL,
        stand TEXT NOT NULL,
        memory TEXT
    );
    CREATE UNIQUE INDEX rollouts_under_way ON rollouts (model) WHERE NOT ended;
    CREATE TABLE rollout_events (
        rollout INTEGER NOT NULL REFERENCES rollouts (number) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (rollout, number)
    );
    """,
    """
    CREATE TABLE pulls (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        variant TEXT NOT NULL,
        why TEXT NOT NULL,
        at REAL NOT NULL,
        evidence TEXT NOT NULL,
        PRIMARY KEY (model, version)
    );

    CREATE TABLE retirements (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        why TEXT NOT NULL,
        successor INTEGER,
        record TEXT NOT NULL,
        PRIMARY KEY (model, version)
    );

    CREATE TABLE version_use (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        caller TEXT NOT NULL,
        day TEXT NOT NULL,
        requests INTEGER NOT NULL,
        seen REAL NOT NULL,
        boot INTEGER NOT NULL,
        total INTEGER NOT NULL,
        PRIMARY KEY (model, version, caller, day)
    );
    CREATE INDEX version_use_by_day ON version_use (day);
    """,
    """
    CREATE TABLE experiments (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        given TEXT NOT NULL,
        stand TEXT NOT NULL,
        remains TEXT
    );
    CREATE UNIQUE INDEX experiments_under_way ON experiments (model) WHERE NOT ended;
    """,
    """
    -- Who shares a budget: a key and those that a rotation puts in its place.
    ALTER TABLE keys ADD COLUMN account INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE keys ADD COLUMN team TEXT;
    ALTER TABLE keys ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE keys ADD COLUMN allowance TEXT NOT NULL DEFAULT '{}';
    UPDATE keys SET account = id;

    -- What was settled of each limited thing, in the newest windows; money in pico-dollars. `boot`
    -- is the arena's, and `counted_*` what its workers had settled of it when this was written.
    CREATE TABLE spend (
        owner TEXT PRIMARY KEY,
        day TEXT NOT NULL,
        day_money INTEGER NOT NULL,
        day_tokens INTEGER NOT NULL,
        day_requests INTEGER NOT NULL,
        month TEXT NOT NULL,
        month_money INTEGER NOT NULL,
        month_tokens INTEGER NOT NULL,
        month_requests INTEGER NOT NULL,
        money INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        boot INTEGER NOT NULL,
        counted_money INTEGER NOT NULL,
        counted_tokens INTEGER NOT NULL,
        counted_requests INTEGER NOT NULL
    );
    """,
)
"""Entry n takes version n to n + 1. Entries are never edited, only added."""
CHAINED = 2
"""The first version whose audit is a chain, with a head beside the database."""
