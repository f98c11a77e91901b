"""What lasts: one SQLite database under the home, opened by each process for itself.

Knows files, transactions and the schema's history. Knows nothing of what the tables mean: the
registry (and later routes, keys, alerts) speak SQL through the connections given here.

A `Store` belongs to the process that opened it; opening another one costs a millisecond. Writers
take turns: a write transaction holds the database's one write lock from its first line on.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import StoreFailed

FILE = "penstock.db"
# Longer than any write transaction takes: a writer that waits longer has met a stopped process.
BUSY_TIMEOUT_S = 10.0

MIGRATIONS: tuple[str, ...] = (
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
)
"""The schema's history: entry n takes version n to n + 1. Entries are never edited, only added."""

_REASONS = {
    "SQLITE_BUSY": "another process has kept it locked for too long",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_CANTOPEN": "it cannot be opened; check that the folder exists and may be written",
    "SQLITE_CORRUPT": "it is damaged; restore it from a backup",
    "SQLITE_NOTADB": "it is not a database; restore it from a backup",
    "SQLITE_IOERR": "the disk gave an input/output error",
    "SQLITE_PERM": "access is denied",
}


class Store:
    """The database of one home, for every thread of the process that opened it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / FILE
        self._pid = os.getpid()
        # A connection serves one thread at a time, so each thread has its own.
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    @classmethod
    def open(cls, home: Path) -> Store:
        """Opens the database, making it or bringing it up to this release where needed.

        Args:
            home: its folder; created, for its owner alone, where it is not there.

        Raises:
            StoreFailed: the home cannot be made or written, or the database is damaged or of a
                newer release.
        """
        store = cls(home)
        _make_private(home, store.path)
        try:
            with store._translated():
                store._migrate()
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database; the last process to close it folds the write-ahead log in."""
        while self._connections:
            self._connections.pop().close()
        self._local = threading.local()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One snapshot: what is read inside belongs together."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One change, whole or not at all; other writers wait."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def generation(self) -> int:
        """Grows with every change: who remembers it sees whether something happened."""
        with self.read() as connection:
            return int(
                connection.execute(
                    "SELECT value FROM counters WHERE name = 'generation'"
                ).fetchone()[0]
            )

    def new_start(self) -> int:
        """Counts one more start of a server on this home, the first of which is 1."""
        with self.write() as connection:
            return int(
                connection.execute(
                    "INSERT INTO counters VALUES ('starts', 1)"
                    " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value"
                ).fetchone()[0]
            )

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._translated():
            connection = self._connection()
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            # A connection used on both sides of a fork corrupts the database.
            raise StoreFailed(f"{self.path}: opened in another process; open a store of your own")
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # Autocommit: transactions are begun by `read` and `write`, never implicitly. The check
            # is off because `close` comes from one thread for all.
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connections.append(connection)
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.row_factory = sqlite3.Row
            self._local.connection = connection
        return connection

    def _migrate(self) -> None:
        with self.read() as connection:
            if _schema_version(connection) == len(MIGRATIONS):
                return
        with self.write() as connection:
            version = _schema_version(connection)  # another process may have been faster
            if version > len(MIGRATIONS):
                raise StoreFailed(
                    f"{self.path}: written by a newer release: wanted schema {len(MIGRATIONS)} or"
                    f" lower, got {version}"
                )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations"
                " (version INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            for number in range(version, len(MIGRATIONS)):
                for statement in _statements(MIGRATIONS[number]):
                    connection.execute(statement)
                connection.execute("INSERT INTO migrations (version) VALUES (?)", (number + 1,))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # Extended names such as SQLITE_IOERR_WRITE begin with the plain one.
            name = getattr(error, "sqlite_errorname", "") or ""
            reason = next((words for key, words in _REASONS.items() if name.startswith(key)), None)
            raise StoreFailed(f"{self.path}: {reason or error}") from error


def note_change(
    connection: sqlite3.Connection,
    at: float,
    who: str,
    action: str,
    subject: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """Writes down, inside a write transaction, who changed what, and moves the generation on."""
    connection.execute(
        "INSERT INTO changes (at, who, action, subject, before, after) VALUES (?, ?, ?, ?, ?, ?)",
        (at, who, action, subject, _json(before), _json(after)),
    )
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'generation'")


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _schema_version(connection: sqlite3.Connection) -> int:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone()
    if known is None:
        return 0
    return int(connection.execute("SELECT MAX(version) FROM migrations").fetchone()[0] or 0)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script. `executescript` would commit what it is part of."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def _make_private(home: Path, file: Path) -> None:
    """Makes the home and an empty database that only their owner may read."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES) and file.is_file():
            reason = "it is read-only"
        else:
            reason = error.strerror or str(error)
        raise StoreFailed(f"{file}: {reason}") from error
