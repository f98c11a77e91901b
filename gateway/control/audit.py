"""The audit: who changed what, when, through which door and from where. It only ever grows.

Knows its table and its entries. Knows nothing of what the changes mean: whoever makes one writes it
down here, in the same transaction where the database itself is changed.

`before` and `after` hold what a reader needs to understand a change. Secrets are none of it.
"""

from __future__ import annotations

import math
import os
import pwd
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from gateway.control import chain

if TYPE_CHECKING:
    from gateway.control.store import Store

Door = Literal["cli", "admin", "data", "signal", "automatic"]
PAGE = 1000
EVER = -math.inf
"""The time from which on every entry is, one with a time that it cannot have, too."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something.

    Attributes:
        who: a user or principal.
        door: the way in.
        origin: an address, or host, process and terminal.
    """

    who: str
    door: Door
    origin: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit.

    Attributes:
        at: seconds since 1970.
        before, after: what the change replaced and what it put there; JSON texts, or None.
        hash: over the hash of the entry before and all the above.
    """

    id: int
    at: float
    who: str
    door: str
    origin: str
    action: str
    subject: str
    before: str | None
    after: str | None
    hash: str

    @property
    def fault(self) -> str:
        """Which column holds what no entry has there; empty where none does."""
        return chain.misfit(asdict(self))

    def as_json(self) -> dict[str, Any]:
        """The entry as plain values. Sorted by key, they make the line that was hashed.

        One that holds what no entry has says so under `fault`.
        """
        values = asdict(self)
        for field in ("before", "after"):
            # One that somebody tampered with is shown as it is; `verify` speaks of it.
            with suppress(orjson.JSONDecodeError):
                values[field] = orjson.loads(values[field] or "null")
        if self.fault:
            values = {field: _plain(value) for field, value in values.items()}
            values["fault"] = self.fault
        return values


@contextmanager
def as_found(db: sqlite3.Connection) -> Iterator[None]:
    """Text that is not UTF-8 is read as bytes, which no entry holds: whoever reads can go on."""
    db.text_factory = _text
    try:
        yield
    finally:
        db.text_factory = str


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def newest(db: sqlite3.Connection) -> chain.Head:
    """The newest entry; `chain.BEGINNING` where there is none."""
    with as_found(db):
        row = db.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    # Whatever stands there: what follows it is held against that.
    return chain.Head(row[0], str(row[1])) if row else chain.BEGINNING


def note(
    db: sqlite3.Connection,
    actor: Actor,
    action: str,
    subject: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    at: float | None = None,
) -> None:
    """Appends an entry inside a write transaction.

    Args:
        db: the transaction.
        actor: who did it.
        action: what was done, in a word or two.
        subject: to what.
        before: what was there, as plain values.
        after: what is there now.
        at: seconds since 1970; now where it is not given.
    """
    # Not the last id plus one: where the last entries were cut off, a gap must show.
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    entry: dict[str, Any] = {
        "id": (given[0] if given else 0) + 1,
        "at": time.time() if at is None else at,
        "who": actor.who,
        "door": actor.door,
        "origin": actor.origin,
        "action": action,
        "subject": subject,
        "before": _json(before),
        "after": _json(after),
    }
    entry["hash"] = chain.link(newest(db).hash, entry)
    places = ", ".join(f":{name}" for name in entry)
    db.execute(f"INSERT INTO audit ({', '.join(entry)}) VALUES ({places})", entry)


def note_change(
    db: sqlite3.Connection,
    actor: Actor,
    action: str,
    subject: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    at: float | None = None,
) -> None:
    """As `note`, and moves the generation on: a running server looks at what should run again."""
    note(db, actor, action, subject, before, after, at)
    db.execute("UPDATE counters SET value = value + 1 WHERE name = 'generation'")


def note_missing_head(db: sqlite3.Connection) -> None:
    """Appends that the newest entry was nowhere but in the database: the end may have been cut off.

    Its place in the chain keeps that known after `audit.head` is there again.
    """
    found = newest(db)
    before = asdict(found) if found.id else None
    note(db, by_itself(), chain.HEAD_MISSING, chain.FILE, before)


class Audit:
    """The audit of one home."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(
        self,
        actor: Actor,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Appends one entry in a transaction of its own.

        Raises:
            StoreFailed: it cannot be written.
        """
        with self._store.write() as db:
            note(db, actor, action, subject, before, after)

    def page(self, after: int = 0, since: float = EVER, limit: int = PAGE) -> Sequence[Entry]:
        """The entries after an id and from a time on, ascending by id."""
        with self._store.read() as db, as_found(db):
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM audit WHERE id > ? AND at >= ? ORDER BY id LIMIT ?",
                (after, since, limit),
            ).fetchall()
        return [Entry(*row) for row in rows]

    def entries(self, after: int = 0, since: float = EVER) -> Iterator[Entry]:
        """As `page`, however many: read page by page, so that no writer waits for a reader."""
        while page := self.page(after, since):
            yield from page
            after = page[-1].id

    def last(self, count: int) -> Sequence[Entry]:
        """The newest entries, ascending."""
        with self._store.read() as db, as_found(db):
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM audit ORDER BY id DESC LIMIT ?", (count,)
            ).fetchall()
        return [Entry(*row) for row in reversed(rows)]


_COLUMNS = ", ".join((*chain.FIELDS, "hash"))


def os_user() -> str:
    """Who runs this process, as the operating system names them."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run under numbers that have no name
        return f"uid {os.getuid()}"


def at_terminal() -> Actor:
    """Whoever runs this command."""
    origin = here()
    with suppress(OSError):  # no terminal
        origin += f" {os.ttyname(0)}"
    return Actor(os_user(), "cli", origin)


def by_itself() -> Actor:
    """This server, which decided without being asked."""
    return Actor("penstock", "automatic", here())


def by_signal(name: str, pid: int) -> Actor:
    """Whoever sent process `pid` a signal: the system does not say who, so its user stands here."""
    return Actor(os_user(), "signal", f"{name} to {socket.gethostname()} pid {pid}")


def here() -> str:
    """This process."""
    return f"{socket.gethostname()} pid {os.getpid()}"


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _plain(value: object) -> object:
    """What stands in a column, as JSON can say it."""
    told = not isinstance(value, bytes | float) or chain.is_time(value)
    return value if told else str(value)
