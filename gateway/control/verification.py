"""Proves that nothing of the audit was changed or removed, or says where it was.

Knows the chain, the sequence of ids, the head that is kept beside the database, and what a home
holds that only changes bring there. Trusts none of the values that it reads.

Who may write all of a home can write a shorter audit that holds: only a head that was noted down
elsewhere shows that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.control import audit, chain
from gateway.control.store import Store

MAX_FAULTS = 20
# Each of these changes moved a counter on, and wrote an entry.
_COUNTED = (
    "SELECT COALESCE(SUM(CAST(value AS INTEGER)), 0) FROM counters"
    " WHERE name IN ('generation', 'keys')"
)
# What is there only because of an entry.
_BROUGHT = {
    "revisions": "SELECT COUNT(*) FROM revisions",
    "keys": "SELECT COUNT(*) FROM keys",
    "models": "SELECT COUNT(*) FROM models",
}


@dataclass(frozen=True, slots=True)
class Proof:
    """What a verification found.

    Attributes:
        entries: how many there are.
        first_at, last_at: seconds since 1970; None where no entry has a time.
        head: the newest hash, or `chain.GENESIS`: whoever notes it down elsewhere can hold a later
            audit against it.
        faults: what does not fit, one line each, by id; at most `MAX_FAULTS`.
        more_faults: how many are not listed.
    """

    entries: int
    first_at: float | None
    last_at: float | None
    head: str
    faults: tuple[str, ...]
    more_faults: int

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.faults


def verify(store: Store, noted: str | None = None, gaps: bool = True) -> Proof:
    """Reads the whole audit and checks it, from one snapshot.

    Args:
        store: the home's database.
        noted: a head that somebody noted earlier: its entry must still be there. Whoever noted it
            vouches for what was before it: that `audit.head` was missing then is no fault.
        gaps: that it was missing once is a fault; False for who cannot help it.
    """
    kept, trouble = None, ""
    try:
        # Before the database, so that an entry that comes meanwhile makes it older, not newer.
        kept = chain.read_head(store.home)
        trouble = "" if kept else "it is missing"
    except (OSError, ValueError) as error:
        trouble = f"it cannot be read: {error}"
    reading = _Reading(kept, noted)
    with store.read() as db:
        with audit.as_found(db):
            for row in db.execute(f"SELECT {', '.join(chain.FIELDS)}, hash FROM audit ORDER BY id"):
                reading.take(row)
        given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
        unexplained = _unexplained(db, reading.count)
    if not gaps:
        reading.forgive()
    faults = [*reading.faults, *reading.missing(given[0] if given else 0)]
    if unexplained and not faults:
        faults.append(unexplained)
    if trouble:
        faults.append(
            f"{chain.FILE}: {trouble}: whether entries after {reading.count} were removed is"
            " unknown"
        )
    return Proof(
        reading.count,
        reading.first_at,
        reading.last_at,
        reading.head,
        tuple(faults[:MAX_FAULTS]),
        reading.more + max(0, len(faults) - MAX_FAULTS),
    )


class _Reading:
    """What is known after some entries."""

    def __init__(self, kept: chain.Head | None, noted: str | None) -> None:
        self._kept = kept
        self._noted = noted
        self._noted_seen = noted in (None, chain.GENESIS)
        self._gaps: list[int] = []
        self._id = 0
        self.count = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.head = chain.GENESIS
        self.faults: list[str] = []
        self.more = 0

    def take(self, row: sqlite3.Row) -> None:
        """The next entry. What follows a fault is held against what stands there."""
        number = row["id"]
        if number != self._id + 1:
            self._fault(f"{_ids(self._id + 1, number - 1)} removed")
        elif not _fits(self.head, row):
            self._fault(
                f"entry {number}: its hash does not follow from its content and the hash of the"
                " entry before it"
            )
        elif misfit := chain.misfit(dict(row)):
            self._fault(f"entry {number}: {misfit}: it was changed so that its hash still follows")
        if self._kept is not None and self._kept.id == number and self._kept.hash != row["hash"]:
            self._fault(
                f"entry {number}: {chain.FILE} holds hash {self._kept.hash[:12]}..., the audit"
                f" {str(row['hash'])[:12]}...: it was rewritten"
            )
        if row["action"] == chain.HEAD_MISSING:
            self._gaps.append(number)
        if row["hash"] == self._noted:
            self._noted_seen = True
            self._gaps.clear()
        self._id, self.head = number, str(row["hash"])
        self.count += 1
        if chain.is_time(row["at"]):
            self.last_at = row["at"]
            if self.first_at is None:
                self.first_at = row["at"]

    def forgive(self) -> None:
        """That the head was missing once is no fault."""
        self._gaps.clear()

    def missing(self, given: int) -> Iterator[str]:
        """What should be there and is not, after the last entry.

        Args:
            given: the highest id that the database ever gave out.
        """
        kept = self._kept
        if given > self._id:
            yield f"{_ids(self._id + 1, given)} removed from the end: the ids had been given out"
        elif given < self._id:
            yield f"entry {self._id}: the database gave out ids up to {given} only"
        if kept is not None and kept.id > max(self._id, given):
            yield f"{_ids(self._id + 1, kept.id)} removed from the end: {chain.FILE} names them"
        for number in self._gaps:
            yield (
                f"entry {number}: {chain.FILE} was missing: whether entries were removed from the"
                " end before it is unknown"
            )
        if not self._noted_seen:
            yield f"no entry has the noted hash {self._noted}: the audit was rewritten or shortened"

    def _fault(self, words: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(words)
        else:
            self.more += 1


def _unexplained(db: sqlite3.Connection, entries: int) -> str:
    """What the home holds that so many entries do not explain; empty where they do."""
    changes = db.execute(_COUNTED).fetchone()[0]
    if changes > entries:
        return f"the home counts {changes} changes, its audit holds {entries} entries"
    counts = {what: db.execute(query).fetchone()[0] for what, query in _BROUGHT.items()}
    held = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"the audit is empty, but the home holds {held}" if held and not entries else ""


def _fits(previous: str, row: sqlite3.Row) -> bool:
    try:
        return chain.link(previous, dict(row)) == str(row["hash"])
    except TypeError:  # a value of a kind that no entry has
        return False


def _ids(first: int, last: int) -> str:
    return f"entry {first}: was" if first >= last else f"entries {first} to {last}: were"
