"""References that were made of a model's own first rows, wherever the model comes from.

Also those that somebody made for a model that is in no registry, as language models are.

Knows their table and the folders of `blobs`. Knows nothing of how such a profile is made.

One is kept for each version of a model, with the digest of the content that answered those rows:
other content has no use for it, and its own takes its place. A profile that somebody attaches goes
before it and leaves it alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.control.audit import Actor, at_terminal, note_change
from gateway.control.blobs import Blobs
from gateway.control.registry import keep_folder
from gateway.control.store import Store
from gateway.errors import ProfileNotFound
from gateway.profiles import beside, document
from gateway.profiles.values import Profile


@dataclass(frozen=True, slots=True)
class SelfReference:
    """What is known of one version.

    Attributes:
        model, version: identity.
        content: digest of the model's files.
        resets: how often what was made of first rows was forgotten.
        digest: of the profile; empty where none was made since.
        file: where it lies.
        rows: of the reference.
        frozen_at: seconds since 1970.
    """

    model: str
    version: int
    content: str
    resets: int
    digest: str = ""
    file: Path = Path()
    rows: int = 0
    frozen_at: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """What people want to know of it, as plain values."""
        return {
            "digest": self.digest,
            "rows": self.rows,
            "frozen_at": self.frozen_at,
            "self_referenced": True,
        }


class SelfReferences:
    """Those of one home. Blocking.

    Args:
        store: the home's database.
        home: the home.
        actor: noted with every change; whoever runs this process where it is not given.
        now: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        home: Path,
        actor: Actor | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._blobs = Blobs(home.absolute() / "models")
        self._actor = actor or at_terminal()
        self._now = now

    def all(self) -> dict[tuple[str, int], SelfReference]:
        """Every one, by name and version; those that were forgotten, too."""
        with self._store.read() as db:
            rows = db.execute("SELECT * FROM self_references ORDER BY model, version").fetchall()
        return {(row["model"], row["version"]): self._read(row) for row in rows}

    def find(self, name: str, version: int) -> SelfReference | None:
        """That of a version, if one was made and not forgotten."""
        found = self.all().get((name, version))
        return found if found is not None and found.digest else None

    def used(self) -> list[SelfReference]:
        """Those of versions that nobody has given another profile in the registry."""
        with self._store.read() as db:
            rows = db.execute(
                "SELECT * FROM self_references WHERE profile IS NOT NULL AND (model, version)"
                " NOT IN (SELECT model, version FROM profiles) ORDER BY model, version"
            ).fetchall()
        return [self._read(row) for row in rows]

    def attach(self, name: str, version: int, content: str, profile: Profile) -> None:
        """Keeps what somebody made for a version, in place of what was made of its first rows.

        Raises:
            StoreFailed: the home cannot be written.
        """
        # Rows that came until now are none that a reference is still wanted of.
        self.begin_anew(name, version)
        known = replace(self.all()[name, version], content=content)
        self.freeze(known, profile, "profile attach")

    def freeze(
        self, known: SelfReference, profile: Profile, action: str = "profile freeze"
    ) -> bool:
        """Keeps what was made of a version's first rows.

        Args:
            known: the version, its content and resets, as they were when the rows came.
            profile: of those rows.
            action: what the audit calls it.

        Returns:
            Whether it was kept: not where somebody has asked for other rows meanwhile.

        Raises:
            StoreFailed: the home cannot be written.
        """
        key = (known.model, known.version)
        with (
            self._blobs.incoming_text(beside.FILE, document.text(profile)) as incoming,
            self._store.write() as db,
        ):
            before = db.execute(
                "SELECT * FROM self_references WHERE model = ? AND version = ?", key
            ).fetchone()
            if before is not None and before["resets"] != known.resets:
                return False
            digest = document.digest(profile)
            self._blobs.place(incoming)
            keep_folder(db, incoming)
            db.execute(
                "INSERT OR REPLACE INTO self_references VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *key,
                    known.content,
                    known.resets,
                    digest,
                    incoming.digest,
                    profile.rows,
                    self._now(),
                ),
            )
            old = before and before["profile"]
            note_change(
                db,
                self._actor,
                action,
                f"{known.model}/{known.version}",
                {"digest": old} if old else None,
                {"digest": digest, "rows": profile.rows, "content": known.content},
                self._now(),
            )
        return True

    def begin_anew(self, name: str, version: int) -> None:
        """Has other first rows taken than those that were, of which nothing was made yet.

        Raises:
            StoreFailed: the home cannot be written.
        """
        with self._store.write() as db:
            db.execute(
                "INSERT INTO self_references (model, version, content, resets) VALUES (?, ?, '', 1)"
                " ON CONFLICT (model, version) DO UPDATE SET resets = resets + 1",
                (name, version),
            )

    def reset(self, name: str, version: int) -> SelfReference:
        """Forgets one: the rows that come next are taken instead.

        Returns:
            What was forgotten.

        Raises:
            ProfileNotFound: there is none.
        """
        key = (name, version)
        with self._store.write() as db:
            row = db.execute(
                "SELECT * FROM self_references WHERE model = ? AND version = ?", key
            ).fetchone()
            if row is None or row["profile"] is None:
                raise ProfileNotFound(
                    f"model '{name}' version {version} has no reference made of its own rows"
                )
            db.execute(
                "UPDATE self_references SET resets = resets + 1, profile = NULL, folder = NULL"
                " WHERE model = ? AND version = ?",
                key,
            )
            before = {"digest": row["profile"], "rows": row["rows"]}
            note_change(
                db, self._actor, "profile reset", f"{name}/{version}", before, None, self._now()
            )
        return self._read(row)

    def _read(self, row: Any) -> SelfReference:
        if row["profile"] is None:
            return SelfReference(row["model"], row["version"], row["content"], row["resets"])
        return SelfReference(
            row["model"],
            row["version"],
            row["content"],
            row["resets"],
            row["profile"],
            self._blobs.folder(row["folder"]) / beside.FILE,
            row["rows"],
            row["frozen_at"],
        )
