"""Keeps what the ledger's files do not say: which version a series is, and what was forgotten.

Beside these, what outcomes said as they came in.

Knows one SQLite file beside them. Knows nothing of records. Used from several threads.

It is no part of the home's database: what answers and outcomes weigh must not slow a backup down.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import orjson

from gateway.control import forgotten_hours, ledger_rows, metric_hours
from gateway.control.ledger_rows import Series
from gateway.errors import StoreFailed
from gateway.outcomes.early import Key, Waiting
from gateway.outcomes.hours import Hour
from gateway.outcomes.ledger import Forgotten
from gateway.outcomes.metric_sums import MetricHours
from gateway.outcomes.recent import PANES, Place
from gateway.outcomes.segment import segments_in
from kernels.ledger import series_of
from kernels.performance import Reals, Sums

T = TypeVar("T")
FILE: Final = "ledger.db"
_SCHEMA: Final = 3
_WITH_INTERVALS: Final = 2
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
CREATE TABLE IF NOT EXISTS concept (series INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS panes (
  series INTEGER NOT NULL, window_ms INTEGER NOT NULL, number INTEGER NOT NULL,
  pane BLOB NOT NULL, PRIMARY KEY (series, window_ms, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS early (
  id TEXT NOT NULL, client INTEGER NOT NULL, row INTEGER NOT NULL, metric TEXT NOT NULL,
  value NOT NULL, at_ms INTEGER NOT NULL, models TEXT, until_ms INTEGER NOT NULL,
  PRIMARY KEY (id, client, row, metric)) WITHOUT ROWID;
"""


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
            # Some of what waits is erased, and is to be in no page that was freed.
            self._connection.execute("PRAGMA secure_delete = ON")
            if schema < _SCHEMA:  # sums that lack intervals, or groups; never released
                self._connection.execute("DROP TABLE IF EXISTS metric_hours")
            if schema < _WITH_INTERVALS:
                self._connection.execute("DROP TABLE IF EXISTS hours")
            self._connection.executescript(_TABLES + forgotten_hours.TABLES + metric_hours.TABLES)
            self._connection.execute(f"PRAGMA user_version = {_SCHEMA}")
            rows = self._connection.execute("SELECT id, model, version, scores FROM series")
            self._series = {one.id: one for one in (ledger_rows.series_of(*row) for row in rows)}
            self._metrics = metric_hours.names(self._connection)
            # Where a database was lost, records are nobody's: numbers begin behind theirs.
            self._behind = 0 if self._series else _highest_series(folder)

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
            made: int = max([self._behind, *self._series]) + 1
            connection.execute(
                "INSERT INTO series (id, model, version, scores) VALUES (?, ?, ?, ?)",
                (made, model, version, text),
            )
        self._series = {**self._series, made: Series(made, model, version, dict(scores))}
        return made

    def records_forgotten(self) -> int:
        """How many were, ever."""
        with self._read() as connection:
            found = connection.execute("SELECT value FROM counts WHERE name = 'forgotten'")
            row = found.fetchone()
            return 0 if row is None else ledger_rows.count_of(row[0])

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    # ---- what a ledger keeps here ---------------------------------------------------------------

    def forgotten(self) -> Mapping[str, Forgotten]:
        """How far each stream was."""
        with self._read() as connection:
            rows = connection.execute("SELECT stream, number, high FROM forgotten")
            return dict(ledger_rows.forgotten_of(*row) for row in rows)

    def forget(
        self,
        stream: str,
        upto: Forgotten,
        records: int,
        hours: Iterable[Hour],
        metrics: MetricHours,
    ) -> None:
        """As `outcomes.ledger.Remains` has it."""
        with self._write() as connection:
            connection.execute("REPLACE INTO forgotten VALUES (?, ?, ?)", (stream, *upto))
            connection.execute(
                "INSERT INTO counts VALUES ('forgotten', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (records,),
            )
            first_kept = forgotten_hours.keep(connection, hours, _BEFORE, KEPT_HOURS)
            metric_hours.keep(connection, metrics, _BEFORE, first_kept)

    def sums(self, series: int, first_hour: int, mask: int = 0, marks: int = 0) -> Iterator[Sums]:
        """As `outcomes.ledger.Remains` has it."""
        with self._read() as connection:
            packed = forgotten_hours.packed_sums(connection, series, first_hour, mask, marks)
        return self._each(packed, forgotten_hours.unpacked)

    def cells(self, series: int, first_hour: int) -> Iterator[Reals]:
        """As `outcomes.ledger.Remains` has it."""
        with self._read() as connection:
            packed = forgotten_hours.packed_cells(connection, series, first_hour)
        return self._each(packed, forgotten_hours.unpacked_cells)

    def _each(self, packed: Iterable[bytes], unpacked: Callable[[bytes], T]) -> Iterator[T]:
        """One after the other: unpacked, a month of sums is 90 MB, and of cells 2 GB."""
        for blob in packed:
            with self._translated():
                found = unpacked(blob)
            yield found

    def metrics(self) -> Mapping[str, int]:
        """As `outcomes.metric_sums.Names` has it."""
        return self._metrics

    def number_metric(self, name: str) -> int:
        """As `outcomes.metric_sums.Names` has it."""
        with self._write() as connection:
            made = metric_hours.number(connection, name)
        self._metrics = {**self._metrics, name: made}
        return made

    def forget_metric(self, name: str) -> None:
        """As `outcomes.metric_sums.Names` has it."""
        with self._write() as connection:
            metric_hours.forget(connection, name)
        self._metrics = {one: number for one, number in self._metrics.items() if one != name}

    def metric_sums(
        self, metric: int, series: int, first_hour: int, mask: int = 0, marks: int = 0
    ) -> Iterable[Reals]:
        """As `outcomes.metric_sums.Names` has it."""
        with self._read() as connection:
            return metric_hours.sums(connection, metric, series, first_hour, mask, marks)

    # ---- what waits -----------------------------------------------------------------------------

    def waiting(self) -> Iterable[Waiting]:
        """As `outcomes.early.Keeper` has it."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT id, client, row, metric, value, at_ms, models, until_ms FROM early"
            ).fetchall()
            return [ledger_rows.waiting_of(*row) for row in rows]

    def keep_waiting(self, come: Sequence[Waiting], gone: Sequence[Key]) -> None:
        """As `outcomes.early.Keeper` has it."""
        with self._write() as connection:
            connection.executemany(
                "DELETE FROM early WHERE id = ? AND client = ? AND row = ? AND metric = ?",
                [(key.id, key.client, key.row, key.metric or "") for key in gone],
            )
            connection.executemany(
                "REPLACE INTO early VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(ledger_rows.row_of, come)
            )

    def empty_log(self) -> None:
        """What was deleted before is in no file afterwards; the log had kept it.

        Raises:
            StoreFailed: somebody else reads the file.
        """
        with self._read() as connection:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreFailed(f"{self._path}: its log could not be emptied: it is being read")

    # ---- what outcomes say, as they come in -----------------------------------------------------

    def concept(self, series: int) -> bytes | None:
        """What was last kept of a series; None: nothing."""
        with self._read() as connection:
            found = connection.execute("SELECT state FROM concept WHERE series = ?", (series,))
            row = found.fetchone()
            return None if row is None else ledger_rows.blob_of(row[0])

    def panes(self) -> list[tuple[Place, bytes]]:
        """Those of recent outcomes that were kept."""
        with self._read() as connection:
            rows = connection.execute("SELECT series, window_ms, number, pane FROM panes")
            return [
                (ledger_rows.place_of(*place), ledger_rows.blob_of(pane)) for *place, pane in rows
            ]

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
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreFailed(f"{self._path}: {error}") from error


def _highest_series(folder: Path) -> int:
    """Of all records in files; 0 where there is none."""
    found = (series_of(one.records()) for one in segments_in(folder)[0] if one.count)
    return max((int(numbers.max()) for numbers in found), default=0)


def series_in(folder: Path) -> tuple[Series, ...]:
    """All series of a ledger, which is only looked at; none where there is no ledger.

    Raises:
        StoreFailed: it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return ()
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", _BUSY_S, uri=True)
        try:
            rows = connection.execute("SELECT id, model, version, scores FROM series").fetchall()
        finally:
            connection.close()
        return tuple(ledger_rows.series_of(*row) for row in rows)
    except (sqlite3.Error, ValueError) as error:
        raise StoreFailed(f"{path}: {error}") from error
