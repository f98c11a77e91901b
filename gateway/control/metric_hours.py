"""What numbers of metrics added up to that were forgotten, by hour, in the ledger's database.

Knows two tables and how their rows add up. Knows nothing of transactions, or of what is forgotten.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import numpy as np

from gateway.control.ledger_rows import blob_of, metric_of
from gateway.outcomes.hours import Which
from gateway.outcomes.metric_sums import MetricHours
from kernels.ledger import Reals
from kernels.metrics import MAX, MIN, SUMS, N, merge, no_sums

TABLES: Final = """
CREATE TABLE IF NOT EXISTS metrics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS metric_hours (
  series INTEGER NOT NULL, metric INTEGER NOT NULL, hour INTEGER NOT NULL, mask INTEGER NOT NULL,
  marks INTEGER NOT NULL, sums BLOB NOT NULL,
  PRIMARY KEY (series, metric, hour, mask, marks)) WITHOUT ROWID;
"""


def names(connection: sqlite3.Connection) -> dict[str, int]:
    """Metrics and their numbers."""
    rows = connection.execute("SELECT name, id FROM metrics ORDER BY id")
    return dict(metric_of(*row) for row in rows)


def number(connection: sqlite3.Connection, name: str) -> int:
    """Gives a metric a number."""
    made = connection.execute("INSERT INTO metrics (name) VALUES (?) RETURNING id", (name,))
    return int(made.fetchone()[0])


def forget(connection: sqlite3.Connection, name: str) -> None:
    """Forgets a metric, and its sums."""
    number = "(SELECT id FROM metrics WHERE name = ?)"
    connection.execute(f"DELETE FROM metric_hours WHERE metric = {number}", (name,))
    connection.execute("DELETE FROM metrics WHERE name = ?", (name,))


def keep(connection: sqlite3.Connection, hours: MetricHours, before: int, first_kept: int) -> None:
    """Adds sums to those of their hours.

    Args:
        connection: in a transaction.
        hours: what is added.
        before: the hour that stands for all that are older.
        first_kept: the oldest hour that is kept by itself.
    """
    for (metric, which), more in hours.items():
        _add(connection, metric, which, more)
    old = " WHERE hour > ? AND hour < ?"
    rows = connection.execute(
        "SELECT metric, series, hour, mask, marks, sums FROM metric_hours" + old,
        (before, first_kept),
    ).fetchall()
    for metric, *which, blob in rows:
        _add(connection, metric, Which(*which)._replace(hour=before), _read(blob))
    connection.execute("DELETE FROM metric_hours" + old, (before, first_kept))


def sums(
    connection: sqlite3.Connection,
    metric: int,
    series: int,
    first_hour: int,
    mask: int = 0,
    marks: int = 0,
) -> list[Reals]:
    """Of a series' numbers, or of a group's, from an hour on."""
    rows = connection.execute(
        "SELECT sums FROM metric_hours"
        " WHERE series = ? AND metric = ? AND hour >= ? AND mask = ? AND marks = ?",
        (series, metric, first_hour, mask, marks),
    )
    return [_read(blob) for (blob,) in rows]


def _add(connection: sqlite3.Connection, metric: int, which: Which, more: Reals) -> None:
    stood = connection.execute(
        "SELECT sums FROM metric_hours"
        " WHERE metric = ? AND series = ? AND hour = ? AND mask = ? AND marks = ?",
        (metric, *which),
    ).fetchone()
    found = no_sums() if stood is None else _read(stood[0])
    merge(found, more)
    connection.execute(
        "REPLACE INTO metric_hours (metric, series, hour, mask, marks, sums)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (metric, *which, found.tobytes()),
    )


def _read(blob: object) -> Reals:
    found = np.frombuffer(blob_of(blob)).copy()
    if len(found) != SUMS:
        raise ValueError("sums of another length")
    n, least, most = found[[N, MIN, MAX]].tolist()
    if not np.isfinite(found).all() or not 1.0 <= n < 2.0**53 or n % 1.0 or least > most:
        raise ValueError("sums that no numbers add up to")
    return found
