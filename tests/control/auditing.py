"""A home with an audit, and what somebody with a database tool could do to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.control.audit import Actor, note_change
from gateway.control.store import FILE, Store

ANN = Actor("ann", "cli", "host pid 1")


def fill(home: Path, count: int = 5) -> None:
    """Writes entries 1 to `count`."""
    with Store.open(home) as store, store.write() as db:
        for number in range(1, count + 1):
            after = {"number": number, "text": "ü"}
            note_change(db, ANN, "test", f"m/{number}", None, after, 1000.0 + number)


def tamper(home: Path, *statements: str) -> None:
    """Changes the database behind the back of everything that guards it."""
    with closing(sqlite3.connect(home / FILE)) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        guards = triggers.fetchall()
        for name, _ in guards:
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)
        for _, sql in guards:
            db.execute(sql)
        db.commit()
