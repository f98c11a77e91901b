"""The versions that were pulled from routes because they fail: who, when, why, until when.

Knows the store's table of pulls. Knows nothing of how failures are told, or of how a route divides
what is left.

A pull cannot wait for a disk: it is in force at once and written down, with its entry in the audit,
as soon as the disk takes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

import orjson

from gateway.control.audit import Actor, by_itself, note, note_change
from gateway.control.splits import Pull, Wanted
from gateway.control.store import Store
from gateway.control.unwritten import Unwritten
from gateway.errors import StoreFailed

# What a disk did not take at once.
WRITE_S = 1.0
Pulled = Mapping[int, Pull]
_NONE: Pulled = {}


class Pulls:
    """Lives on control's event loop; the database is spoken to on threads."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], float] = time.time,
        unwritten: Unwritten | None = None,
    ) -> None:
        """Takes its collaborators.

        Args:
            store: keeps pulls.
            now: seconds since 1970.
            unwritten: those that no store has taken yet; None: there is none.
        """
        self._store = store
        self._now = now
        self._unwritten = unwritten or Unwritten()
        self._read: Mapping[str, Pulled] | None = None
        self._writing = asyncio.Lock()

    @property
    def _pulled(self) -> Mapping[str, Pulled]:
        """Read once, when first needed: control starts even where its home is lost."""
        if self._read is None:
            found: dict[str, dict[int, Pull]] = {}
            with self._store.read() as db:
                for row in db.execute("SELECT * FROM pulls").fetchall():
                    why, evidence = row["why"], orjson.loads(row["evidence"])
                    pull = Pull(row["version"], row["variant"], why, row["at"], evidence)
                    found.setdefault(row["model"], {})[pull.version] = pull
            self._read = _with(found, self._unwritten.pulls)
        return self._read

    def of(self, model: str) -> Pulled:
        """Of one model, by version."""
        return self._pulled.get(model, _NONE)

    def all_at_hand(self) -> Mapping[str, Pulled]:
        """By model and version; where the home was lost before it was read, those since."""
        try:
            return self._pulled
        except StoreFailed:
            return _with({}, self._unwritten.pulls)

    def without(self, model: str, wanted: Wanted) -> Wanted:
        """What is wanted of a model, without what was pulled of it."""
        return replace(wanted, pulled=self.of(model))

    def without_at_hand(self, model: str, wanted: Wanted) -> Wanted:
        """As `without`, as far as it is known."""
        return replace(wanted, pulled=self.all_at_hand().get(model, _NONE))

    def pull(
        self, model: str, version: int, variant: str, why: str, evidence: Mapping[str, object]
    ) -> Pull:
        """Pulls a version from the next plan on."""
        pull = Pull(version, variant, why, self._now(), evidence)
        if self._read is not None:
            self._read = _with(self._read, [(model, pull)])
        self._unwritten.pull(model, pull)
        return pull

    async def put_back(
        self, actor: Actor, model: str, action: str, versions: Sequence[int] | None = None
    ) -> Sequence[Pull]:
        """Ends pulls of a model, and says which; from the next plan on they get requests again.

        Args:
            actor: who asked.
            model: of them.
            action: what the audit calls it.
            versions: those of them alone; None: all.

        Raises:
            StoreFailed: it cannot be written down; they stay pulled.
        """
        # In turn with what is written: one that is pulled again meanwhile is written afterwards.
        async with self._writing:
            there = self.of(model).items()
            ended = [pull for version, pull in there if versions is None or version in versions]
            if ended:
                await self._write()
                await asyncio.to_thread(self._delete, actor, action, model, ended)
                left = {version: p for version, p in self.of(model).items() if p not in ended}
                self._read = {**self._pulled, model: left}
        return ended

    async def write(self) -> None:
        """Writes down what is not written yet.

        Raises:
            StoreFailed: it cannot be; it is the next time.
        """
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        batch = self._unwritten.pulls
        if batch:
            try:
                await asyncio.to_thread(self._insert, batch)
            except StoreFailed as error:
                self._unwritten.why = str(error)
                raise
            self._unwritten.wrote_pulls(batch)

    def _insert(self, batch: Sequence[tuple[str, Pull]]) -> None:
        with self._store.write() as db:
            for model, pull in batch:
                evidence = orjson.dumps(pull.evidence).decode()
                row = (model, pull.version, pull.variant, pull.why, pull.at, evidence)
                db.execute("INSERT OR REPLACE INTO pulls VALUES (?, ?, ?, ?, ?, ?)", row)
                note(db, by_itself(), "route pull", model, None, asdict(pull), pull.at)

    def _delete(self, actor: Actor, action: str, model: str, ended: Sequence[Pull]) -> None:
        with self._store.write() as db:
            for pull in ended:
                key = (model, pull.version)
                db.execute("DELETE FROM pulls WHERE model = ? AND version = ?", key)
            before = {"pulled": [asdict(pull) for pull in ended]}
            note_change(db, actor, action, model, before, {"pulled": []}, self._now())


def _with(pulled: Mapping[str, Pulled], some: Sequence[tuple[str, Pull]]) -> Mapping[str, Pulled]:
    found = dict(pulled)
    for model, pull in some:
        found[model] = {**found.get(model, _NONE), pull.version: pull}
    return found
