"""What lasts: one SQLite database under the home, opened by each process for itself.

Knows files and transactions, and that the audit's newest hash is kept beside the database. Knows
nothing of what the other tables mean: the registry (and later routes, keys, alerts) speak SQL
through the connections given here.

A `Store` belongs to the process that opened it; opening another one costs a millisecond. Writers
take turns: a write transaction holds the database's one write lock from its first line on.

A home that is lost while a process runs is never made anew by it, empty: only `open` makes one.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gateway.control import audit, chain, migrations
from gateway.control.migrations import MIGRATIONS
from gateway.errors import StoreFailed

log = logging.getLogger("penstock.control")

FILE = "penstock.db"
HALF_RESTORED = Path(".restoring") / "placing"
"""In a home that has no database: a restore is putting its state there, or was killed at that."""
# Longer than any write transaction takes: a writer that waits longer has met a stopped process.
BUSY_TIMEOUT_S = 10.0
# Between attempts where SQLite does not wait by itself.
BUSY_RETRY_S = 0.01
# Longer than a transaction that waits for another one takes, and its own.
CLOSING_S = 2 * BUSY_TIMEOUT_S

_REASONS = {
    "SQLITE_BUSY": "another process has kept it locked for too long",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_CANTOPEN": "it cannot be opened; check that the folder exists and may be written",
    "SQLITE_CORRUPT": "it is damaged; restore it from a backup",
    "SQLITE_NOTADB": "it is not a database; restore it from a backup",
    "SQLITE_IOERR_SHMSIZE": "the disk is full",  # no room for the index of the write-ahead log
    "SQLITE_IOERR": "the disk gave an input/output error",
    "SQLITE_PERM": "access is denied",
}


class Store:
    """The database of one home, for every thread of the process that opened it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / FILE
        self._pid = os.getpid()
        self._place: tuple[int, int] | None = None  # device and number of the file that was opened
        # A connection serves one thread at a time, so each thread has its own.
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._age = 0  # those of an earlier one are closed
        self._turn = threading.Condition()  # of what follows, which all threads change
        self._users = 0
        self._closed = False

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
                store._keep_a_log()
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
        """Closes the database; the last process to close it folds the write-ahead log in.

        Waits for threads that are in the middle of something: SQLite crashes the process where a
        connection is closed under its user. Whoever comes later is refused.
        """
        with self._turn:
            self._closed = True
            idle = self._turn.wait_for(lambda: not self._users, CLOSING_S)
        if not idle:
            log.error("%s: still in use; it is closed with the process", self.path)
            return
        while self._connections:
            self._connections.pop().close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One snapshot: what is read inside belongs together."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One change, whole or not at all; other writers wait."""
        with self._in_use():
            with self._transaction("BEGIN IMMEDIATE") as connection:
                lost = self._head_is_lost()
                if lost:
                    audit.note_missing_head(connection)
                yield connection
            self._keep_head(chain.BEGINNING if lost else None)

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

    def data_version(self) -> int:
        """Another number whenever somebody else has changed anything; costs microseconds.

        Comparable only within one thread, and blind to what that thread itself changes.
        """
        with self._translated():
            return int(self._connection().execute("PRAGMA data_version").fetchone()[0])

    def snapshot(self, target: Path) -> None:
        """Writes what is committed at this moment to a new file; others go on writing.

        Called inside `write`, it is the moment before that transaction.
        """
        with (
            self._translated(),
            closing(sqlite3.connect(self._there, uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            # One file: no write-ahead log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")

    def _head_is_lost(self) -> bool:
        """Whether nothing beside the database says how long the audit was.

        The file is there from the database's beginning on, so that its absence is never innocent.
        """
        try:
            return chain.read_head(self.home) is None
        except (OSError, ValueError):
            return False  # evidence, that stays

    def _keep_head(self, lost: chain.Head | None) -> None:
        """Notes the audit's newest entry outside the database, where a shortened one shows.

        What the file says and the audit does not hold is evidence, and stays. A file that is gone
        is made anew only after an entry that says so: `lost` stands for it then.
        """
        try:
            # One after the other, with the file read after the lock was got: of two that had both
            # read it, the one with the older entry could write last.
            with self._transaction("BEGIN IMMEDIATE") as connection:
                kept = chain.read_head(self.home) or lost
                if kept is None:
                    return  # it went this very moment: the next change tells
                newest = audit.newest(connection)
                then = connection.execute(
                    "SELECT 1 FROM audit WHERE id = ? AND hash = ?", (kept.id, kept.hash)
                )
                if newest.id > kept.id and (kept.id == 0 or then.fetchone()):
                    chain.write_head(self.home, newest)
        except (OSError, ValueError, StoreFailed) as error:
            # The change itself is done. `audit verify` says what the file lacks.
            log.error("%s: %s", self.home / chain.FILE, error)

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
        self._check_place()
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.age != self._age:
            # Autocommit: transactions are begun by `read` and `write`, never implicitly. The check
            # is off because `close` comes from one thread for all.
            connection = sqlite3.connect(
                self._there,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
                uri=True,
            )
            self._connections.append(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.row_factory = sqlite3.Row
            self._local.connection, self._local.age = connection, self._age
        return connection

    def _reopen(self) -> None:
        """Closes all connections, unless another thread is in the middle of something.

        What was opened while the home was read-only stays so for as long as one of them is open.
        """
        with self._turn:
            if self._users == getattr(self._local, "inside", False):
                while self._connections:
                    self._connections.pop().close()
                self._age += 1

    @property
    def _there(self) -> str:
        """The database, if it is there: SQLite would make an empty one."""
        return f"{self.path.absolute().as_uri()}?mode=rw"

    def _check_place(self) -> None:
        """Makes sure that what was opened still lies at its path.

        SQLite goes on with a file that was removed, and what it writes there is lost.
        """
        try:
            found = self.path.stat()
        except OSError as error:
            raise StoreFailed(f"{self.path}: it is gone: {error.strerror}") from error
        place = (found.st_dev, found.st_ino)
        self._place = self._place or place
        if place != self._place:
            raise StoreFailed(f"{self.path}: another file took its place; start the server again")

    def _keep_a_log(self) -> None:
        """Turns to a write-ahead log, for good, where the database has none yet.

        Of several processes that do it at once SQLite tells all but one that the database is busy,
        at once: its own waiting does not cover this.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(BUSY_RETRY_S)  # SQLite, which would wait otherwise, does not here

    def _migrate(self) -> None:
        with self.read() as connection:
            if _schema_version(connection) == len(MIGRATIONS):
                return
        # Not `write`: until the audit is chained there is no head that could be missing.
        with self._transaction("BEGIN IMMEDIATE") as connection:
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
                migrations.apply(connection, MIGRATIONS[number])
                connection.execute("INSERT INTO migrations (version) VALUES (?)", (number + 1,))
            if version < migrations.CHAINED:
                self._begin_head(connection)

    def _begin_head(self, connection: sqlite3.Connection) -> None:
        """Notes where the chain begins, before anybody can see that it is there.

        A head that is there already is of entries that this database does not hold: evidence.
        """
        try:
            there = chain.read_head(self.home)
        except (OSError, ValueError):
            return
        if there is not None and there.id > 0:
            return
        try:
            chain.write_head(self.home, audit.newest(connection))
        except OSError as error:
            raise StoreFailed(f"{self.home / chain.FILE}: {error.strerror}") from error

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keeps `close` waiting; what a thread begins in here is part of the same.

        Raises:
            StoreFailed: it is closed already.
        """
        if getattr(self._local, "inside", False):
            yield
            return
        with self._turn:
            if self._closed:
                raise StoreFailed(f"{self.path}: it has been closed")
            self._users += 1
        self._local.inside = True
        try:
            yield
        finally:
            self._local.inside = False
            with self._turn:
                self._users -= 1
                self._turn.notify_all()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with self._in_use():
                yield
        except sqlite3.Error as error:
            # Extended names such as SQLITE_IOERR_WRITE begin with the plain one.
            name = getattr(error, "sqlite_errorname", "") or ""
            reason = next((words for key, words in _REASONS.items() if name.startswith(key)), None)
            if name.startswith("SQLITE_READONLY"):
                self._reopen()
            raise StoreFailed(f"{self.path}: {reason or error}") from error


def _schema_version(connection: sqlite3.Connection) -> int:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone()
    if known is None:
        return 0
    return int(connection.execute("SELECT MAX(version) FROM migrations").fetchone()[0] or 0)


def _make_private(home: Path, file: Path) -> None:
    """Makes the home and an empty database that only their owner may read."""
    if (home / HALF_RESTORED).exists() and not file.exists():
        raise StoreFailed(
            f"home {home}: a restore is at work there, or was killed before it was done: restore"
            " again, which removes what that one left"
        )
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        # Not `Path.is_file`, which raises where the folder may not even be looked into.
        if error.errno in (errno.EROFS, errno.EACCES) and os.path.isfile(file):
            reason = "it is read-only"
        else:
            reason = error.strerror or str(error)
        raise StoreFailed(f"{file}: {reason}") from error
