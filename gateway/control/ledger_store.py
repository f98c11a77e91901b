"""Keeps what the ledger's files do not say: which version a series is, and what was forgotten.

Beside these, what outcomes said as they came in.

Knows one SQLite file beside them. Knows nothing of records. Used from several threads.

It is no part of the home's database: what answers and outcomes weigh must not slow a backup down.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import orjson

from gateway.errors import StoreFailed
from gateway.outcomes.ledger import Forgotten
from gateway.outcomes.recent import PANES, Place
from kernels.performance import Sums, merge, no_sums

FILE: Final = "ledger.db"
_SCHEMA: Final = 2
_BUSY_S: Final = 5.0
# Hours that are older are added up: no window reaches them, only the total does.
KEPT_HOURS: Final = 31 * 24
_BEFORE: Final = 0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS series (
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, version INTEGER NOT NULL, scores TEXT NOT NULL,
  UNIQUE (model, version, scores));
CREATE TABLE IF NOT EXISTS forgotten (
  stream TEXT PRIMARY KEY, number INTEGER NOT NULL, high INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hours (
  series INTEGER NOT NULL, hour INTEGER NOT NULL, sums BLOB NOT NULL,
  PRIMARY KEY (series, hour)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS concept (series INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS panes (
  series INTEGER NOT NULL, window_ms INTEGER NOT NULL, number INTEGER NOT NULL,
  pane BLOB NOT NULL, PRIMARY KEY (series, window_ms, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class Series(NamedTuple):
    """What the number of a series in a record stands for.

    Attributes:
        id: the number.
        model, version: whose answers.
        scores: what a score was said to be: other words are another series.
    """

    id: int
    model: str
    version: int
    scores: Mapping[str, object]


class LedgerStore:
    """The file of one home. Blocking."""

    def __init__(self, folder: Path) -> None:
        """Opens the file, or makes it.

        Raises:
            StoreFailed: it cannot be read, or is of a newer release.
        """
        self._path = folder / FILE
        self._lock = threading.RLock()
        with self._translated():
            folder.mkdir(mode=0o700, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            schema = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if schema > _SCHEMA:
                raise StoreFailed(f"{self._path}: written by a newer release")
            self._connection.execute("PRAGMA journal_mode = WAL")
            if schema < _SCHEMA:  # sums that lack what intervals are made of; never released
                self._connection.execute("DROP TABLE IF EXISTS hours")
            self._connection.executescript(_TABLES)
            self._connection.execute(f"PRAGMA user_version = {_SCHEMA}")
            rows = self._connection.execute("SELECT id, model, version, scores FROM series")
            self._series = {
                row[0]: Series(row[0], row[1], row[2], orjson.loads(row[3])) for row in rows
            }

    def series(self) -> tuple[Series, ...]:
        """All that were ever given a number, oldest first."""
        return tuple(self._series.values())

    def number(self, model: str, version: int, scores: Mapping[str, object]) -> int:
        """The number of a series: the one it has, or a new one.

        Raises:
            StoreFailed: it could not be kept.
        """
        for one in self._series.values():
            if (one.model, one.version, one.scores) == (model, version, scores):
                return one.id
        with self._write() as connection:
            text = orjson.dumps(scores, option=orjson.OPT_SORT_KEYS).decode()
            made = connection.execute(
                "INSERT INTO series (model, version, scores) VALUES (?, ?, ?) RETURNING id",
                (model, version, text),
            ).fetchone()[0]
        self._series = {**self._series, made: Series(made, model, version, dict(scores))}
        return int(made)

    def records_forgotten(self) -> int:
        """How many were, ever."""
        with self._read() as connection:
            found = connection.execute("SELECT value FROM counts WHERE name = 'forgotten'")
            row = found.fetchone()
            return 0 if row is None else int(row[0])

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    # ---- what a ledger keeps here ---------------------------------------------------------------

    def forgotten(self) -> Mapping[str, Forgotten]:
        """How far each stream was."""
        with self._read() as connection:
            rows = connection.execute("SELECT stream, number, high FROM forgotten")
            return {stream: Forgotten(*upto) for stream, *upto in rows}

    def forget(
        self, stream: str, upto: Forgotten, records: int, sums: Mapping[tuple[int, int], Sums]
    ) -> None:
        """As `outcomes.ledger.Remains` has it."""
        newest = max((hour for _, hour in sums), default=0)
        with self._write() as connection:
            connection.execute("REPLACE INTO forgotten VALUES (?, ?, ?)", (stream, *upto))
            connection.execute(
                "INSERT INTO counts VALUES ('forgotten', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (records,),
            )
            for (series, hour), more in sums.items():
                _add(connection, series, hour, more)
            _join_old_hours(connection, newest - KEPT_HOURS)

    def sums(self, series: int, first_hour: int) -> Iterator[Sums]:
        """As `outcomes.ledger.Remains` has it."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT sums FROM hours WHERE series = ? AND hour >= ?", (series, first_hour)
            ).fetchall()
        for (blob,) in rows:  # one after the other: unpacked, a month of them is 90 MB
            with self._translated():
                found = _unpacked(blob)
            yield found

    # ---- what outcomes say, as they come in -----------------------------------------------------

    def concept(self, series: int) -> bytes | None:
        """What was last kept of a series; None: nothing."""
        with self._read() as connection:
            found = connection.execute("SELECT state FROM concept WHERE series = ?", (series,))
            row = found.fetchone()
            return None if row is None else bytes(row[0])

    def panes(self) -> list[tuple[Place, bytes]]:
        """Those of recent outcomes that were kept."""
        with self._read() as connection:
            rows = connection.execute("SELECT series, window_ms, number, pane FROM panes")
            return [(Place(*place), bytes(pane)) for *place, pane in rows]

    def keep_seen(
        self, concept: Mapping[int, bytes], panes: Iterable[tuple[Place, bytes]], now_ms: int
    ) -> None:
        """Keeps what changed of some series and panes; panes that are over go.

        Raises:
            StoreFailed: it could not be kept.
        """
        with self._write() as connection:
            connection.executemany("REPLACE INTO concept VALUES (?, ?)", concept.items())
            connection.executemany(
                "REPLACE INTO panes VALUES (?, ?, ?, ?)", [(*place, pane) for place, pane in panes]
            )
            connection.execute(
                "DELETE FROM panes WHERE (number + ?) * (window_ms / ?) <= ?",
                (PANES, PANES, now_ms),
            )

    # ---- transactions ---------------------------------------------------------------------------

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            yield self._connection

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, zlib.error, ValueError) as error:
            raise StoreFailed(f"{self._path}: {error}") from error


def _add(connection: sqlite3.Connection, series: int, hour: int, more: Sums) -> None:
    stood = connection.execute(
        "SELECT sums FROM hours WHERE series = ? AND hour = ?", (series, hour)
    ).fetchone()
    found = no_sums() if stood is None else _unpacked(stood[0])
    merge(found, more)
    connection.execute("REPLACE INTO hours VALUES (?, ?, ?)", (series, hour, _packed(found)))


def _join_old_hours(connection: sqlite3.Connection, first_kept: int) -> None:
    old = connection.execute(
        "SELECT series, hour, sums FROM hours WHERE hour > ? AND hour < ?", (_BEFORE, first_kept)
    ).fetchall()
    for series, hour, blob in old:
        _add(connection, series, _BEFORE, _unpacked(blob))
        connection.execute("DELETE FROM hours WHERE series = ? AND hour = ?", (series, hour))


def _packed(sums: Sums) -> bytes:
    return zlib.compress(b"".join(part.tobytes() for part in sums), 1)


def _unpacked(blob: bytes) -> Sums:
    numbers = np.frombuffer(zlib.decompress(blob)).copy()
    empty, parts, start = no_sums(), [], 0
    if len(numbers) != sum(part.size for part in empty):
        raise ValueError("sums of another length")
    for part in empty:
        parts.append(numbers[start : start + part.size].reshape(part.shape))
        start += part.size
    return Sums(*parts)
