"""Keeps alarms, and what is still to be told of them, in the database.

Knows its two tables. Knows nothing of when alarms fire or of how letters are sent.

An alarm and the letters that tell of it are written in one transaction: after a restart nothing is
told twice and nothing is forgotten. A letter that was delivered is deleted; one that could not be
is dead, and stays until somebody tries it again or 1,000 newer ones died.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.alerts import records
from gateway.alerts.alarms import Alarm
from gateway.alerts.notices import Notice, Subject
from gateway.control.audit import Actor, note
from gateway.control.store import Store
from gateway.errors import NotFound

log = logging.getLogger("penstock.control")

MAX_DEAD: Final = 1000
UNKEPT: Final = 0
_COLUMNS: Final = "number, sink, notice, attempts, dead_at, reason"


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice on its way to a sink.

    Attributes:
        number: its own; UNKEPT where it could not be written down.
        attempts: that failed before it died.
        dead_at: seconds since 1970; None: it is still to be delivered.
        reason: why it died.
    """

    number: int
    sink: str
    notice: Notice
    attempts: int = 0
    dead_at: float | None = None
    reason: str | None = None


class AlertStore:
    """The alarms of one home. Blocking; each method raises StoreFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def alarms(self) -> dict[Subject, Alarm]:
        """Every alarm that is remembered; one that cannot be read is left out, and logged."""
        with self._store.read() as db:
            rows = db.execute("SELECT rule, model, version, alarm FROM alarms").fetchall()
        found = {}
        for rule, model, version, text in rows:
            try:
                found[Subject(rule, model, version)] = records.read(text)
            except (ValueError, TypeError, KeyError) as error:
                log.error(
                    "alarm %s of %s/%d: not as it was written: %r", rule, model, version, error
                )
        return found

    def save(
        self, changed: Mapping[Subject, Alarm | None], letters: Iterable[tuple[str, Notice]]
    ) -> list[Letter]:
        """Writes alarms down (None: it is forgotten), and letters to sinks, which come back."""
        with self._store.write() as db:
            for subject, alarm in changed.items():
                _put(db, subject, alarm)
            return [_letter(db, sink, told) for sink, told in letters]

    def waiting(self) -> list[Letter]:
        """What is to be delivered, in its order."""
        return self._letters("dead_at IS NULL ORDER BY number")

    def dead(self) -> list[Letter]:
        """What could not be delivered, the newest first."""
        return self._letters("dead_at IS NOT NULL ORDER BY dead_at DESC, number DESC")

    def delivered(self, letter: Letter) -> None:
        """It has arrived."""
        if letter.number != UNKEPT:
            with self._store.write() as db:
                db.execute("DELETE FROM letters WHERE number = ?", (letter.number,))

    def bury(self, letter: Letter, attempts: int, reason: str, at: float) -> None:
        """It will not arrive."""
        with self._store.write() as db:
            number = letter.number
            if number == UNKEPT:
                number = _letter(db, letter.sink, letter.notice).number
            db.execute(
                "UPDATE letters SET dead_at = ?, reason = ?, attempts = ? WHERE number = ?",
                (at, reason, attempts, number),
            )
            db.execute(
                "DELETE FROM letters WHERE dead_at IS NOT NULL AND number NOT IN (SELECT number"
                " FROM letters WHERE dead_at IS NOT NULL ORDER BY dead_at DESC, number DESC"
                " LIMIT ?)",
                (MAX_DEAD,),
            )

    def revive(self, actor: Actor, number: int) -> Letter:
        """Takes a dead letter to be tried again; the audit says so.

        Raises:
            NotFound: there is no such dead letter.
        """
        with self._store.write() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM letters WHERE number = ? AND dead_at IS NOT NULL",
                (number,),
            ).fetchone()
            if row is None:
                raise NotFound(f"dead letter {number}: there is none")
            dead = _read(row)
            db.execute(
                "UPDATE letters SET dead_at = NULL, reason = NULL, attempts = 0 WHERE number = ?",
                (number,),
            )
            about = {"sink": dead.sink, "event": dead.notice["event"], "reason": dead.reason}
            note(db, actor, "alert retry", f"letter {number}", before=about)
        return Letter(number, dead.sink, dead.notice)

    def _letters(self, condition: str) -> list[Letter]:
        with self._store.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM letters WHERE {condition}").fetchall()
        return [_read(row) for row in rows]


def _put(db: sqlite3.Connection, subject: Subject, alarm: Alarm | None) -> None:
    key = (subject.rule, subject.model, subject.version)
    if alarm is None:
        db.execute("DELETE FROM alarms WHERE rule = ? AND model = ? AND version = ?", key)
    else:
        text = records.written(alarm)
        db.execute("INSERT OR REPLACE INTO alarms VALUES (?, ?, ?, ?)", (*key, text))


def _letter(db: sqlite3.Connection, sink: str, told: Notice) -> Letter:
    number = db.execute(
        "INSERT INTO letters (event, sink, notice) VALUES (?, ?, ?)"
        " ON CONFLICT (event, sink) DO UPDATE SET notice = excluded.notice RETURNING number",
        (told["event"], sink, json.dumps(told)),
    ).fetchone()[0]
    return Letter(number, sink, told)


def _read(row: Sequence[object]) -> Letter:
    number, sink, told, attempts, dead_at, reason = row
    return Letter(number, sink, json.loads(str(told)), attempts, dead_at, reason)  # type: ignore[arg-type]
