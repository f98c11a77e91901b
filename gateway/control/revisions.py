"""The configuration documents that were in force, numbered; the newest one is. Some are kept.

Knows their table. Knows nothing of what is in them but that `gateway.config` finds no fault, nor of
the environment that a server lays over them.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from gateway import config
from gateway.config import Config
from gateway.control.audit import Actor, note_change
from gateway.control.differences import differences
from gateway.control.store import Store
from gateway.errors import ConfigInvalid, NotFound, PreconditionFailed

# Years of changes by hand, and a bound on a program that applies one a minute. The audit goes on
# naming older ones.
KEPT = 500
PAGE = 100
# Of a change that touches everything, the audit names so many paths; the documents are kept whole.
MAX_LISTED = 100


def sha256(document: str) -> str:
    """Of a document's text."""
    return hashlib.sha256(document.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Revision:
    """One document.

    Attributes:
        number: 1 is the first; 0 stands for the empty document where there is none yet.
        at: seconds since 1970.
        source: the file it came from, or empty.
        restores: of a rollback, the revision whose document it is; None: of no rollback.
    """

    number: int
    at: float
    who: str
    note: str
    source: str
    sha256: str
    document: str
    restores: int | None = None

    @property
    def origin(self) -> int:
        """The revision that brought the document: this one, or what it restores."""
        return self.number if self.restores is None else self.restores

    @property
    def config(self) -> Config:
        """The document, read.

        Raises:
            ConfigInvalid: another release wrote it, and this one cannot read it.
        """
        return config.parse(self.document, f"revision {self.number}")

    def as_json(self, whole: bool = True) -> dict[str, Any]:
        """The revision as plain values; not `whole`: without the document."""
        values = asdict(self)
        if not whole:
            del values["document"]
        return values


NONE = Revision(0, 0.0, "", "", "", sha256(""), "")
_COLUMNS = ", ".join(field.name for field in fields(Revision))
_LINE = _COLUMNS.replace("document", "'' AS document")


class Revisions:
    """The revisions of one home."""

    def __init__(
        self, store: Store, now: Callable[[], float] = time.time, kept: int = KEPT
    ) -> None:
        """`kept`: how many of the newest there may be."""
        self._store = store
        self._now = now
        self._kept = kept

    def newest(self) -> Revision:
        """What is in force; `NONE` where there is no revision yet."""
        with self._store.read() as db:
            return _newest(db)

    def newest_number(self) -> int:
        """The number of what is in force."""
        with self._store.read() as db:
            return int(db.execute("SELECT MAX(number) FROM revisions").fetchone()[0] or 0)

    def get(self, number: int) -> Revision:
        """One revision.

        Raises:
            NotFound: there is none of this number.
        """
        with self._store.read() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM revisions WHERE number = ?", (number,)
            ).fetchone()
        if row is None:
            raise NotFound(f"no revision {number} of the configuration: the newest {KEPT} are kept")
        return Revision(*row)

    def before(self, newest: Revision) -> Revision:
        """What a step back from the newest leads to.

        The newest revision that is older than the one that brought this document, and says
        something else: a step after a step goes further back, never to what was gone back from.

        Raises:
            NotFound: there is none that is kept.
        """
        with self._store.read() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM revisions WHERE number < ? AND sha256 != ?"
                " ORDER BY number DESC LIMIT 1",
                (newest.origin, newest.sha256),
            ).fetchone()
        if row is None:
            raise NotFound(f"no revision before {newest.origin} says anything else: name one")
        return Revision(*row)

    def history(self, before: int | None = None, limit: int = PAGE) -> Sequence[Revision]:
        """The newest ones that are kept, the newest first, without their documents.

        Args:
            before: only those of a lower number.
            limit: at most so many.
        """
        with self._store.read() as db:
            rows = db.execute(
                f"SELECT {_LINE} FROM revisions WHERE ? IS NULL OR number < ?"
                " ORDER BY number DESC LIMIT ?",
                (before, before, limit),
            ).fetchall()
        return [Revision(*row) for row in rows]

    def last_from(self, source: str, after: int) -> Revision | None:
        """The newest revision past number `after` that came from a file."""
        with self._store.read() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM revisions WHERE source = ? AND number > ?"
                " ORDER BY number DESC LIMIT 1",
                (source, after),
            ).fetchone()
        return None if row is None else Revision(*row)

    def add(
        self,
        document: str,
        actor: Actor,
        action: str = "config apply",
        source: str = "",
        note: str = "",
        if_revision: int | None = None,
        restores: int | None = None,
    ) -> Revision:
        """Puts a document in force; the newest revision, where that says the same already.

        Args:
            document: YAML.
            actor: who wants it so.
            action: what the audit calls it.
            source: the file it came from.
            note: for whoever reads the history.
            if_revision: the number that must be the newest.
            restores: the revision whose document it is; None: it is a new one.

        Raises:
            ConfigInvalid: it has faults.
            PreconditionFailed: `if_revision` is not the newest.
        """
        fresh = config.parse(document, source or "document")
        digest = sha256(document)
        with self._store.write() as db:
            newest = _newest(db)
            check_newest(newest, if_revision)
            # The same text of another source is noted: what that source said last must be known.
            if digest == newest.sha256 and source in ("", newest.source):
                return newest
            added = Revision(
                newest.number + 1, self._now(), actor.who, note, source, digest, document, restores
            )
            _insert(db, added)
            _forget(db, added.number - self._kept)
            # Paths alone: what a document says is for those to see who may see documents.
            paths = [one.path for one in differences(_readable(newest), fresh)]
            before = {"revision": newest.number, "sha256": newest.sha256}
            after = {
                "revision": added.number,
                "sha256": digest,
                "changed": paths[:MAX_LISTED],
                "not_listed": max(0, len(paths) - MAX_LISTED),
            }
            note_change(db, actor, action, f"revision {added.number}", before, after, added.at)
            return added


def _newest(db: sqlite3.Connection) -> Revision:
    row = db.execute(f"SELECT {_COLUMNS} FROM revisions ORDER BY number DESC LIMIT 1").fetchone()
    return NONE if row is None else Revision(*row)


def _insert(db: sqlite3.Connection, added: Revision) -> None:
    values = asdict(added)
    places = ", ".join(f":{name}" for name in values)
    db.execute(f"INSERT INTO revisions ({', '.join(values)}) VALUES ({places})", values)


def _forget(db: sqlite3.Connection, last: int) -> None:
    """Lets go of all revisions up to a number, but for the newest of each file.

    What a file said last must be known: one that nobody has touched undoes nothing.
    """
    db.execute(
        "DELETE FROM revisions WHERE number <= ? AND number NOT IN"
        " (SELECT MAX(number) FROM revisions WHERE source != '' GROUP BY source)",
        (last,),
    )


def check_newest(newest: Revision, wanted: int | None) -> None:
    """Makes sure that the newest revision is the one that somebody saw; None: whichever it is.

    Raises:
        PreconditionFailed: it is another.
    """
    if wanted not in (None, newest.number):
        raise PreconditionFailed(
            f"revision: expected {wanted} to be the newest, got {newest.number}"
        )


def _readable(revision: Revision) -> Config:
    """What a revision said; the defaults, where this release cannot read it."""
    try:
        return revision.config
    except ConfigInvalid:
        return Config()
