"""What records added up to that were forgotten, by hour, in the ledger's database.

Knows three tables and how their rows add up: of all records of a series, of each group, and of
pairs of groups. Knows nothing of transactions, or of what is forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from gateway.outcomes import packed
from gateway.outcomes.hours import Hour, Which
from gateway.outcomes.packed import SUMS_NUMBERS, sums_of
from kernels.groups import CELL_SUMS, no_cells
from kernels.marks import GROUPINGS
from kernels.performance import Reals, Sums, merge, no_sums

TABLES: Final = """
CREATE TABLE IF NOT EXISTS hours (
  series INTEGER NOT NULL, hour INTEGER NOT NULL, sums BLOB NOT NULL,
  PRIMARY KEY (series, hour)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (
  series INTEGER NOT NULL, hour INTEGER NOT NULL, mask INTEGER NOT NULL, marks INTEGER NOT NULL,
  sums BLOB NOT NULL, PRIMARY KEY (series, hour, mask, marks)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells (
  series INTEGER NOT NULL, hour INTEGER NOT NULL, sums BLOB NOT NULL,
  PRIMARY KEY (series, hour)) WITHOUT ROWID;
"""


def keep(
    connection: sqlite3.Connection, hours: Iterable[Hour], before: int, kept_hours: int
) -> int:
    """Adds sums to those of their hours.

    Args:
        connection: in a transaction.
        hours: what is added; taken one after the other.
        before: the hour that stands for all that are older.
        kept_hours: up to the newest; older ones are added up.

    Returns:
        The oldest hour that is kept by itself.
    """
    newest = 0
    for sums, cells in hours:
        for which, more in sums.items():
            newest = max(newest, which.hour)
            _add(connection, which, more)
        for (series, hour), added in cells.items():
            _add_cells(connection, series, hour, added)
    _join_old(connection, before, newest - kept_hours)
    return newest - kept_hours


def packed_sums(
    connection: sqlite3.Connection, series: int, first_hour: int, mask: int = 0, marks: int = 0
) -> list[bytes]:
    """Of a series' records, or of a group's, from an hour on; each for `unpacked`."""
    if mask:
        rows = connection.execute(
            "SELECT sums FROM groups WHERE series = ? AND hour >= ? AND mask = ? AND marks = ?",
            (series, first_hour, mask, marks),
        )
    else:
        rows = connection.execute(
            "SELECT sums FROM hours WHERE series = ? AND hour >= ?", (series, first_hour)
        )
    return [blob for (blob,) in rows]


def packed_cells(connection: sqlite3.Connection, series: int, first_hour: int) -> list[bytes]:
    """Of pairs of a series' groups, from an hour on; each for `unpacked_cells`."""
    rows = connection.execute(
        "SELECT sums FROM cells WHERE series = ? AND hour >= ?", (series, first_hour)
    )
    return [blob for (blob,) in rows]


def unpacked(blob: bytes) -> Sums:
    """What some records added up to.

    Raises:
        ValueError: it is damaged, or none of ours.
    """
    return sums_of(packed.unpacked(blob, SUMS_NUMBERS))


def unpacked_cells(blob: bytes) -> Reals:
    """The same of pairs of groups, as `kernels.groups` has them.

    Raises:
        ValueError: it is damaged, or none of ours.
    """
    cells = no_cells(GROUPINGS)
    lines = cells.reshape(-1, CELL_SUMS)
    found = packed.unpacked(blob, len(lines) * (1 + CELL_SUMS)).reshape(-1, 1 + CELL_SUMS)
    places = found[:, 0]
    inside = (places >= 0.0) & (places < len(lines)) & (places == np.floor(places))
    if not inside.all() or not np.isfinite(found).all():
        raise ValueError("cells that there are none of")
    lines[places.astype(np.int64)] = found[:, 1:]
    return cells


def _packed(sums: Sums) -> bytes:
    return packed.packed(*sums)


def _packed_cells(cells: Reals) -> bytes:
    """Those of few groups are mostly empty."""
    lines = cells.reshape(-1, CELL_SUMS)
    places = np.flatnonzero(lines.any(axis=1))
    return packed.packed(np.column_stack((places, lines[places])))


def _add(connection: sqlite3.Connection, which: Which, more: Sums) -> None:
    table, keys = _place(which)
    stood = _stood(connection, table, keys)
    found = no_sums() if stood is None else unpacked(stood)
    merge(found, more)
    _put(connection, table, keys, _packed(found))


def _add_cells(connection: sqlite3.Connection, series: int, hour: int, more: Reals) -> None:
    keys = {"series": series, "hour": hour}
    stood = _stood(connection, "cells", keys)
    found = more if stood is None else more + unpacked_cells(stood)
    _put(connection, "cells", keys, _packed_cells(found))


def _place(which: Which) -> tuple[str, dict[str, int]]:
    keys = which._asdict()
    if which.mask:
        return "groups", keys
    return "hours", {name: keys[name] for name in ("series", "hour")}


def _stood(connection: sqlite3.Connection, table: str, keys: Mapping[str, int]) -> bytes | None:
    where = " AND ".join(f"{name} = :{name}" for name in keys)
    row = connection.execute(f"SELECT sums FROM {table} WHERE {where}", keys).fetchone()
    return None if row is None else row[0]


def _put(connection: sqlite3.Connection, table: str, keys: Mapping[str, int], blob: bytes) -> None:
    names = ", ".join(f":{name}" for name in keys)
    connection.execute(f"REPLACE INTO {table} VALUES ({names}, :sums)", {**keys, "sums": blob})


def _join_old(connection: sqlite3.Connection, before: int, first_kept: int) -> None:
    old = " WHERE hour > ? AND hour < ?"
    between = (before, first_kept)
    for columns, table in (
        ("series, hour, 0, 0", "hours"),
        ("series, hour, mask, marks", "groups"),
    ):
        for *which, blob in connection.execute(
            f"SELECT {columns}, sums FROM {table}" + old, between
        ).fetchall():
            _add(connection, Which(*which)._replace(hour=before), unpacked(blob))
    for series, blob in connection.execute(
        "SELECT series, sums FROM cells" + old, between
    ).fetchall():
        _add_cells(connection, series, before, unpacked_cells(blob))
    for table in ("hours", "groups", "cells"):
        connection.execute(f"DELETE FROM {table}" + old, between)
