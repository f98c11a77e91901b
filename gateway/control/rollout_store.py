"""Keeps rollouts in the database: what each is of, how far it has come, and its story.

Knows two tables and the audit. Knows nothing of what follows from anything.

How far a rollout has come and what is told of it are written in one transaction, before anything
is done about it: whoever starts again does that once more. One rollout of a model is under way at
most; the database holds that, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.control.audit import Actor, by_itself, note
from gateway.control.store import Store
from gateway.errors import Conflict, NotFound
from gateway.rollouts.shares import Given, read_given
from gateway.rollouts.stand import Event, Stand, read_event, read_stand

KEPT: Final = 100
"""Of a model: the oldest that are over go."""
MAX_EVENTS: Final = 1000
# A verdict that changes with every look must not crowd out what was decided.
MAX_VERDICTS: Final = 500
_UNAUDITED: Final = frozenset({"verdict", "waits", "noted"})


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout as it is kept.

    Attributes:
        number: its id.
        given: what it is of.
        stand: how far it has come.
        over: nothing is to be done about it any more.
        memory: what its judge goes on from; None: nothing yet.
    """

    number: int
    given: Given
    stand: Stand
    over: bool = False
    memory: Mapping[str, Any] | None = None

    @property
    def owner(self) -> str:
        """Who leads its route."""
        return f"rollout {self.number}"


class RolloutStore:
    """The rollouts of one home. Blocking; each method raises StoreFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, actor: Actor, given: Given, stand: Stand, event: Event) -> Rollout:
        """Writes a new one down.

        Raises:
            Conflict: one of its model is under way.
        """
        with self._store.write() as db:
            found = _one(db, "model = ? AND NOT ended", given.model)
            if found is not None:
                raise Conflict(f"route '{given.model}': rollout {found.number} is under way")
            number = db.execute(
                "INSERT INTO rollouts (model, given, stand) VALUES (?, ?, ?) RETURNING number",
                (given.model, _text(given.as_json()), _text(stand.as_json())),
            ).fetchone()[0]
            rollout = Rollout(number, given, stand)
            _tell(db, rollout, [event], actor)
            _forget(db, given.model)
        return rollout

    def save(self, rollout: Rollout, events: Sequence[Event], actor: Actor | None = None) -> None:
        """Writes down how far one has come, and what is told of it.

        Args:
            rollout: as it is now.
            events: new ones.
            actor: who decided what was not decided by the rollout itself.
        """
        memory = None if rollout.memory is None else _text(rollout.memory)
        with self._store.write() as db:
            db.execute(
                "UPDATE rollouts SET ended = ?, stand = ?, memory = ? WHERE number = ?",
                (rollout.over, _text(rollout.stand.as_json()), memory, rollout.number),
            )
            _tell(db, rollout, events, actor or by_itself())

    def under_way(self) -> list[Rollout]:
        """Those about which something is still to be done, the oldest first."""
        with self._store.read() as db:
            rows = db.execute("SELECT * FROM rollouts WHERE NOT ended ORDER BY number").fetchall()
        return [_read(row) for row in rows]

    def get(self, number: int) -> Rollout:
        """One of them.

        Raises:
            NotFound: there is none of this number.
        """
        with self._store.read() as db:
            found = _one(db, "number = ?", number)
        if found is None:
            raise NotFound(f"there is no rollout {number}")
        return found

    def newest(self, model: str | None = None, limit: int = KEPT) -> list[Rollout]:
        """The newest first, of one model or of all."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT * FROM rollouts WHERE ? IS NULL OR model = ? ORDER BY number DESC LIMIT ?",
                (model, model, limit),
            ).fetchall()
        return [_read(row) for row in rows]

    def events(self, number: int) -> list[Event]:
        """The story of one, from its beginning."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT event FROM rollout_events WHERE rollout = ? ORDER BY number", (number,)
            ).fetchall()
        return [read_event(orjson.loads(row["event"])) for row in rows]


def _one(db: sqlite3.Connection, which: str, value: str | int) -> Rollout | None:
    row = db.execute(f"SELECT * FROM rollouts WHERE {which}", (value,)).fetchone()
    return None if row is None else _read(row)


def _read(row: sqlite3.Row) -> Rollout:
    return Rollout(
        row["number"],
        read_given(orjson.loads(row["given"])),
        read_stand(orjson.loads(row["stand"])),
        bool(row["ended"]),
        row["memory"] and orjson.loads(row["memory"]),
    )


def _tell(db: sqlite3.Connection, rollout: Rollout, events: Sequence[Event], actor: Actor) -> None:
    last = db.execute(
        "SELECT COALESCE(MAX(number), 0) FROM rollout_events WHERE rollout = ?", (rollout.number,)
    ).fetchone()[0]
    for event in events:
        if last >= (MAX_VERDICTS if event.kind == "verdict" else MAX_EVENTS):
            continue
        last += 1
        plain = event.as_json()
        db.execute(
            "INSERT INTO rollout_events VALUES (?, ?, ?)", (rollout.number, last, _text(plain))
        )
        if event.kind not in _UNAUDITED:
            who = actor if event.who else by_itself()
            after = {"rollout": rollout.number, "says": event.says}
            note(db, who, f"rollout {event.kind}", rollout.given.model, None, after, event.at)


def _forget(db: sqlite3.Connection, model: str) -> None:
    db.execute(
        "DELETE FROM rollouts WHERE model = ? AND ended AND number NOT IN"
        " (SELECT number FROM rollouts WHERE model = ? ORDER BY number DESC LIMIT ?)",
        (model, model, KEPT),
    )


def _text(plain: Any) -> str:
    return orjson.dumps(plain).decode()
