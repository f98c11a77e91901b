"""Versions that were retired: out of service for good, with all that was known of them kept.

Knows the store's table of retirements, and what clients of such a version are told. Knows nothing
of who may be retired, or of how a version leaves the workers.

A retired version's files, profile, releases and outcomes stay where they are, so that it can come
back; what it came to is written into its row. The row outlives the version's files, too: whoever
names it is told where to go for as long as it is there.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.control.audit import Actor, note_change
from gateway.control.store import Store
from gateway.errors import Conflict, NotFound
from gateway.plan import UNAVAILABLE, Absent


@dataclass(frozen=True, slots=True)
class Retirement:
    """One version.

    Attributes:
        at: seconds since 1970.
        who, why: for whoever asks later.
        successor: the version to ask instead; None: nobody named one.
        record: what was known of it: files, profile, releases, counts, last callers.
    """

    model: str
    version: int
    at: float
    who: str
    why: str
    successor: int | None
    record: Mapping[str, Any]


class Retirements:
    """Every method reads or writes the database: it is called on a thread."""

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        """`now` gives seconds since 1970."""
        self._store = store
        self._now = now

    def all(self) -> tuple[Retirement, ...]:
        """By model and version."""
        with self._store.read() as db:
            rows = db.execute("SELECT * FROM retirements ORDER BY model, version").fetchall()
        return tuple(
            Retirement(**{**dict(row), "record": orjson.loads(row["record"])}) for row in rows
        )

    def retire(
        self,
        actor: Actor,
        model: str,
        version: int,
        successor: int | None,
        why: str,
        record: Mapping[str, Any],
    ) -> Retirement:
        """Writes a retirement down.

        Raises:
            Conflict: it is retired already, or its successor is; an alias or a route that was set
                names it, maybe since this very moment.
        """
        made = Retirement(model, version, self._now(), actor.who, why, successor, record)
        told = orjson.dumps(record).decode()
        with self._store.write() as db:
            refuse_retired(db, model, version)
            if successor is not None:
                refuse_retired(db, model, successor)
            refuse_named(db, model, version)
            row = (model, version, made.at, made.who, why, successor, told)
            db.execute("INSERT INTO retirements VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            after = {"successor": successor, "why": why, "record": record}
            note_change(db, actor, "retire", f"{model}/{version}", None, after, made.at)
        return made

    def undo(self, actor: Actor, model: str, version: int) -> None:
        """Lets a version serve again.

        Raises:
            NotFound: it is not retired.
        """
        with self._store.write() as db:
            key = (model, version)
            done = db.execute("DELETE FROM retirements WHERE model = ? AND version = ?", key)
            if not done.rowcount:
                raise NotFound(f"model '{model}': version {version} is not retired")
            note_change(db, actor, "unretire", f"{model}/{version}", None, None, self._now())


def refuse_retired(db: sqlite3.Connection, model: str, version: int) -> None:
    """Raises Conflict where a version is retired, inside the caller's transaction."""
    key = (model, version)
    if db.execute("SELECT 1 FROM retirements WHERE model = ? AND version = ?", key).fetchone():
        raise Conflict(
            f"model '{model}': version {version} is retired;"
            f" `penstock unretire {model} {version}` brings it back"
        )


def refuse_named(db: sqlite3.Connection, model: str, version: int) -> None:
    """Raises Conflict where an alias or a route names a version, inside the caller's transaction.

    Whoever points one at it asks `refuse_retired` in theirs: of two at once, the later one loses.
    """
    rows = db.execute("SELECT alias, version FROM aliases WHERE model = ?", (model,)).fetchall()
    names = [f"alias '{row['alias']}'" for row in rows if row["version"] == version]
    row = db.execute("SELECT route, stop, lead FROM routes WHERE model = ?", (model,)).fetchone()
    if row is not None and version in _versions(row):
        names.append("its model's route")
    if names:
        raise Conflict(
            f"model '{model}': version {version} cannot be retired: {', '.join(names)} names it"
        )


def _versions(row: sqlite3.Row) -> set[int | None]:
    """Those that a row of the routes names."""
    route, stop, lead = (orjson.loads(row[name] or "null") for name in ("route", "stop", "lead"))
    routes = [one for one in (route, lead and lead["route"]) if one]
    named = [one for some in routes for one in (*some["variants"], *some.get("shadows", ()))]
    return {one.get("version") for one in (*named, stop or {})}


def absences(retired: Sequence[Retirement]) -> list[Absent]:
    """What clients are told of retired versions."""
    heirs = {(one.model, one.version): one.successor for one in retired}
    return [_absence(one, _heir(one, heirs)) for one in retired]


def _heir(one: Retirement, heirs: Mapping[tuple[str, int], int | None]) -> int:
    """Who is to be asked by now: a successor may have been retired itself."""
    seen, version = {one.version}, one.successor
    while version is not None and (one.model, version) in heirs:
        if version in seen:
            return 0
        seen.add(version)
        version = heirs[one.model, version]
    return version or 0


def _absence(one: Retirement, heir: int) -> Absent:
    day = time.strftime("%Y-%m-%d", time.gmtime(one.at))
    where = f"; its successor is version {heir}" if heir else ""
    return Absent(one.model, one.version, UNAVAILABLE, f"was retired on {day}{where}", True, heir)
