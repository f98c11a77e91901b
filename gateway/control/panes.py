"""Keeps the panes of every history over restarts: one SQLite file of its own under the home.

Knows files, series by name, and bytes. Knows nothing of what is counted or judged; what was learnt
of a series it keeps as numbers that mean nothing to it.

It stands beside the database and not in it: what the counts of a month weigh must not slow down a
backup, and a file that is damaged is put aside rather than keep a server from starting. One
transaction a round holds all that closed since the last one; a killed process loses what had not
closed, ten seconds at most. A full disk loses panes, never a request, and says so once.

Hours are kept for longer than histories have them in memory: for `seasons`, which asks for few.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from gateway.control import seasons
from gateway.control.seasons import HOUR_S, Stretch
from gateway.drift.history import TIERS
from gateway.drift.panes import MOMENTS, Pane, Vector

log = logging.getLogger("penstock.control")

FILE: Final = "monitor.db"
_SCHEMA: Final = 1
# Nobody else writes here. Whoever locks it all the same costs panes: meanwhile nothing is counted,
# and no alarm looked at.
_BUSY_S: Final = 1.0
_LEVEL: Final = 1  # of zlib: most bytes are zeros, and nobody waits for the rest
_IN_MEMORY_S: Final = {tier.length_s: tier.kept * tier.length_s for tier in TIERS}
_KEPT_S: Final = _IN_MEMORY_S | {HOUR_S: seasons.KEPT_S}


@dataclass(frozen=True, slots=True)
class Base:
    """What the counters stood at when panes were kept: what they grow by comes on top of those.

    Attributes:
        boot: of the arena whose counters they are; another one's begin at zero.
        counts: (words,) int64.
    """

    boot: int
    counts: Vector


class PaneStore:
    """The file of one home. Blocking; used from several threads, one after another.

    Attributes:
        lost: panes that could not be written.
    """

    def __init__(self, home: Path) -> None:
        """Opens the file, or makes it; one that cannot be read is put aside.

        Where there can be none at all, nothing is kept, and the log says so.
        """
        self._path = home / FILE
        self._complained = False
        self._connection: sqlite3.Connection | None = None
        self._place: tuple[int, int] | None = None  # device and number of the file that is open
        self.lost = 0
        self._lock = threading.RLock()
        self._open()

    def load(self, series: str) -> tuple[list[Pane], Base | None]:
        """What a history of a series goes on with: its panes and their base; none if unreadable."""
        with self._lock:
            return self._load(series)

    def _load(self, series: str) -> tuple[list[Pane], Base | None]:
        if self._connection is None:
            return [], None
        # Reckoned from the newest: what the clock says now may be another matter. One hour more
        # than is needed; the history knows to the second.
        panes = (
            "SELECT length, start, counts, moments FROM panes WHERE series = :series AND"
            " (length != :hour OR start > (SELECT max(start) FROM panes WHERE series = :series)"
            " - :kept) ORDER BY start"
        )
        about = {"series": series, "hour": HOUR_S, "kept": _IN_MEMORY_S[HOUR_S] + HOUR_S}
        base = "SELECT boot, counts FROM bases WHERE series = ?"
        try:
            found = [_pane(*row) for row in self._connection.execute(panes, about)]
            stood = self._connection.execute(base, (series,)).fetchone()
        except (sqlite3.Error, ValueError, zlib.error) as error:
            self._complain("the history of %s could not be read: %s", series, error)
            return [], None
        return found, None if stood is None else Base(stood[0], _unpacked(stood[1]))

    def hours(self, series: str, words: int, stretches: Sequence[Stretch]) -> list[Vector]:
        """(words,) int64 for each stretch of whole hours: what a series counted in it.

        Zeros where nothing is kept of one, or where it cannot be read.
        """
        with self._lock:
            return [self._counted(series, words, stretch) for stretch in stretches]

    def _counted(self, series: str, words: int, stretch: Stretch) -> Vector:
        counts = np.zeros(words, np.int64)
        try:
            for pane in self._hour_counts(series, stretch):
                if len(pane) == words:
                    counts += pane
        except (sqlite3.Error, ValueError, zlib.error) as error:
            self._complain("the history of %s could not be read: %s", series, error)
            counts[:] = 0
        return counts

    def _hour_counts(self, series: str, stretch: Stretch) -> Iterator[Vector]:
        if self._connection is not None:
            found = self._connection.execute(
                "SELECT counts FROM panes WHERE series = ? AND length = ? AND start >= ?"
                " AND start < ?",
                (series, HOUR_S, *stretch),
            )
            for (counts,) in found:
                yield _unpacked(counts)

    def learnt(self, series: str) -> Vector:
        """(n,) float64 that were kept last of a series; none where nothing was."""
        nothing = np.empty(0)
        with self._lock:
            if self._connection is None:
                return nothing
            try:
                found = self._connection.execute(
                    "SELECT numbers FROM learnt WHERE series = ?", (series,)
                ).fetchone()
                return nothing if found is None else _unpacked(found[0])
            except (sqlite3.Error, ValueError, zlib.error) as error:
                self._complain("what was learnt of %s could not be read: %s", series, error)
                return nothing

    def save(
        self,
        panes: Mapping[str, Sequence[Pane]],
        bases: Mapping[str, Base],
        now: float,
        learnt: Mapping[str, Vector] = MappingProxyType({}),
    ) -> None:
        """Keeps panes of each series with their base, and forgets those that are too old at `now`.

        A base counts what is in panes that were kept, and nothing else. `learnt`: (n,) float64.
        """
        rows = [_row(series, pane) for series, some in panes.items() for pane in some]
        stood = [(name, base.boot, _packed(base.counts)) for name, base in bases.items()]
        numbers = [(name, _packed(some)) for name, some in learnt.items()]
        with self._lock:
            self._save(rows, stood, numbers, now)

    def _save(
        self, rows: Sequence[Any], stood: Sequence[Any], numbers: Sequence[Any], now: float
    ) -> None:
        if self._connection is not None and _place(self._path) != self._place:
            # SQLite goes on with a file that was removed, and what it writes there is lost.
            self._complain("%s: it is gone: a new history begins", self._path)
            self._close()
        if self._connection is None:
            self._open()
        if self._connection is None:
            self.lost += len(rows)
            return
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO panes VALUES (?,?,?,?,?)", rows
                )
                self._connection.executemany("INSERT OR REPLACE INTO bases VALUES (?,?,?)", stood)
                self._connection.executemany("INSERT OR REPLACE INTO learnt VALUES (?,?)", numbers)
                _forget_old(self._connection, rows, now)
            self._complained = False
        except sqlite3.Error as error:
            self.lost += len(rows)
            self._complain("%s: history is not kept: %s", self._path, error)
            self._close()  # the file may be gone from under it
            if not isinstance(error, sqlite3.OperationalError):  # that is, of locks and disks
                self._put_aside()

    def forget(self, series: Iterable[str]) -> None:
        """Deletes all panes of these series."""
        with self._lock:
            self._forget([(one,) for one in series])

    def _forget(self, series: Sequence[tuple[str]]) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error), self._connection:
                for table in ("panes", "bases", "learnt"):
                    self._connection.executemany(f"DELETE FROM {table} WHERE series = ?", series)

    def close(self) -> None:
        """Closes the file, once nobody is in the middle of something."""
        with self._lock:
            self._close()

    # ---- the file -------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._connection = _opened(self._path)
        except sqlite3.OperationalError as error:
            self._complain("%s: history is not kept: %s", self._path, error)
        except (sqlite3.DatabaseError, OSError) as error:
            self._complain("%s: put aside, a new history begins: %s", self._path, error)
            self._put_aside()
            with contextlib.suppress(OSError, sqlite3.Error):
                self._connection = _opened(self._path)
        self._place = _place(self._path)

    def _put_aside(self) -> None:
        """Makes room for a new file in the place of a damaged one."""
        with contextlib.suppress(OSError):
            os.replace(self._path, self._path.with_suffix(".damaged"))
            for beside in ("-wal", "-shm"):
                Path(f"{self._path}{beside}").unlink(missing_ok=True)

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _complain(self, text: str, *about: object) -> None:
        if not self._complained:
            log.error(text, *about)
        self._complained = True


def _place(path: Path) -> tuple[int, int] | None:
    """Which file lies there now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _opened(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error where the file is damaged, of another schema, or cannot be made."""
    if not path.parent.is_dir():
        # SQLite would say the same less clearly; a lost home is not made anew behind a server.
        raise sqlite3.OperationalError(f"no folder {path.parent}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the newest panes; none of them is worth a flush of the disk.
        connection.execute("PRAGMA synchronous = NORMAL")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, _SCHEMA):
            raise sqlite3.DatabaseError(f"expected schema {_SCHEMA}, got {found}")
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS panes (series TEXT, length INTEGER, start INTEGER,"
                " counts BLOB NOT NULL, moments BLOB NOT NULL,"
                " PRIMARY KEY (series, length, start)) WITHOUT ROWID"
            )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS bases (series TEXT PRIMARY KEY, boot INTEGER NOT NULL,"
                " counts BLOB NOT NULL) WITHOUT ROWID"
            )
            # Younger than the schema, which is as it was for whoever does not know it.
            connection.execute(
                "CREATE TABLE IF NOT EXISTS learnt (series TEXT PRIMARY KEY,"
                " numbers BLOB NOT NULL) WITHOUT ROWID"
            )
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")
    except BaseException:
        connection.close()
        raise
    return connection


def _forget_old(connection: sqlite3.Connection, rows: Sequence[Any], now: float) -> None:
    """Deletes what is too old: of the series that panes came of, and once an hour of all."""
    oldest = [(length, int(now) - kept) for length, kept in _KEPT_S.items()]
    connection.executemany(
        "DELETE FROM panes WHERE series = ? AND length = ? AND start < ?",
        [(series, *one) for series in {row[0] for row in rows} for one in oldest],
    )
    # Without a series every pane is looked at: 5 ms for each that has hours of five weeks.
    if any(row[1] >= HOUR_S for row in rows):
        connection.executemany("DELETE FROM panes WHERE length = ? AND start < ?", oldest)


def _row(series: str, pane: Pane) -> tuple[str, int, int, bytes, bytes]:
    moments = zlib.compress(pane.moments.tobytes(), _LEVEL)
    return series, pane.length_s, pane.start_s, _packed(pane.counts), moments


def _pane(length: int, start: int, counts: bytes, moments: bytes) -> Pane:
    sums = np.frombuffer(zlib.decompress(moments), np.float64).reshape(-1, MOMENTS)
    return Pane(start, length, _unpacked(counts), sums)


def _packed(counts: Vector) -> bytes:
    """The type of a number goes before them: of counts, the narrowest that holds them all."""
    return counts.dtype.char.encode() + zlib.compress(counts.tobytes(), _LEVEL)


def _unpacked(counts: bytes) -> Vector:
    return np.frombuffer(zlib.decompress(counts[1:]), counts[:1].decode()).copy()
