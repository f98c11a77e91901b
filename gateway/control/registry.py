"""The registry: models, their versions, aliases, metadata, and the files that belong to them.

Knows the tables of `store` and the folders of `blobs`, and keeps the two in step: a row is only
committed when its folder lies there, a folder only goes when no row names it. Knows nothing of
serving.

Registering the same content again gives the version that has it already; asked for under a new
version number, the two share one folder. A removed version's number is not given out again unless
it is asked for, because answers and logs name versions by it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from gateway.control.audit import Actor, at_terminal, note_change
from gateway.control.blobs import Blobs, Incoming, Progress
from gateway.control.entries import (
    CHAMPION,
    MAX_METADATA,
    Model,
    Version,
    checked_metadata,
    facts_of,
)
from gateway.control.retirements import refuse_retired
from gateway.control.rows import find_model, read_model, read_names
from gateway.control.store import Store
from gateway.errors import (
    Conflict,
    InvalidParameter,
    ModelRefused,
    ProfileInvalid,
    ProfileNotFound,
    VersionNotFound,
)
from gateway.models import onnx_file, package
from gateway.models.package import Package
from gateway.models.signature import signature
from gateway.names import MAX_VERSION, check_alias, check_name
from gateway.profiles import beside, document
from gateway.profiles.values import Profile


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration came to; `new` is false where the content was registered before."""

    version: Version
    new: bool


class Registry:
    """Models under one home.

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

    # ---- reading --------------------------------------------------------------------------------

    def generation(self) -> int:
        """Grows with every change."""
        return self._store.generation()

    def list(self) -> tuple[Model, ...]:
        """Every model, by name."""
        with self._store.read() as db:
            return tuple(read_model(db, name, self._blobs) for name in read_names(db))

    def names(self) -> Sequence[str]:
        """Of every model."""
        with self._store.read() as db:
            return read_names(db)

    def show(self, name: str) -> Model:
        """One model.

        Raises:
            ModelNotFound: it is not registered.
        """
        with self._store.read() as db:
            return read_model(db, name, self._blobs)

    def resolve(self, name: str, which: str | int | None = None) -> Version:
        """The version that a number or alias names; without one `champion`, else the highest.

        Raises:
            ModelNotFound, VersionNotFound: there is none.
        """
        model = self.show(name)
        return model.default if which is None else model.pick(which)

    def verify(
        self, name: str, which: str | int | None = None, progress: Progress | None = None
    ) -> tuple[str, ...]:
        """Reads a version's files again; one line for each that is not as it was registered."""
        found = self.resolve(name, which)
        return tuple(self._blobs.verify(found.digest, found.files, progress or _silent))

    # ---- changing -------------------------------------------------------------------------------

    def register(
        self,
        path: Path,
        name: str | None = None,
        version: int | None = None,
        aliases: Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        tokenizer: Path | None = None,
    ) -> Registered:
        """Copies a model's files into the home and gives them a name and number.

        Args:
            path: an ONNX file or a folder, as `package.unpack` takes it.
            name: the model; the file's or folder's own name where it is not given.
            version: a number to have; else that of the same content, else the next one.
            aliases: to point at it.
            metadata: to keep with it, added to what is there.
            progress: told (bytes done, bytes in all) while files are copied.
            tokenizer: a file that reads texts for it, in place of one that lies beside it.

        Raises:
            ModelRefused: the files cannot be served.
            Conflict: the version exists with other content.
            InvalidParameter: a name, number, alias or metadata that cannot be.
            StoreFailed: the home cannot be written.
        """
        given = [check_alias(alias) for alias in aliases]
        pairs = checked_metadata(metadata or {})
        if version is not None and not 0 < version <= MAX_VERSION:
            raise InvalidParameter(f"version: wanted 1 to {MAX_VERSION}, got {version}")
        if name is not None:
            check_name(name)
        handed = package.unpack(path, name)
        chosen = check_name(name or handed.name)
        sources = {file: handed.folder / file for file in handed.files}
        if tokenizer is not None:
            if not tokenizer.is_file():
                raise ModelRefused(f"tokenizer: {tokenizer}: no such file")
            sources[package.TOKENIZER] = tokenizer
        with self._blobs.incoming(sources.items(), progress or _silent) as incoming:
            # The files may have changed while they were looked at: what was copied is what counts.
            copied = package.unpack(_entrance(incoming, handed), chosen)
            return self._enter(chosen, version, given, pairs, incoming, copied)

    def attach_profile(self, name: str, version: int, profile: Profile) -> Version:
        """Gives a version the profile that its traffic is held against, instead of the one it had.

        Raises:
            ModelNotFound, VersionNotFound: no such thing.
            ProfileInvalid: the profile is of another model.
            StoreFailed: the home cannot be written.
        """
        # Only here: a command that meets no profile need not wait for kernels to be imported.
        from gateway.profiles.fit import check_fit

        found = self.resolve(name, version)
        onnx = onnx_file.inspect(found.folder, found.file)
        check_fit(profile, signature(onnx, found.declared, max_batch_size=1))
        with self._blobs.incoming_text(beside.FILE, document.text(profile)) as incoming:
            self._attach(name, version, profile, incoming)
        self._collect()
        return self.resolve(name, version)

    def profile(self, name: str, which: str | int | None = None) -> Profile:
        """The profile of a version.

        Raises:
            ModelNotFound, VersionNotFound: no such thing.
            ProfileNotFound: it has none.
            ProfileInvalid: its file is no longer what was attached.
        """
        found = self.resolve(name, which)
        if found.profile is None:
            raise ProfileNotFound(
                f"model '{name}' version {found.version} has no profile:"
                f" penstock profile {name} {found.version} --data FILE makes one"
            )
        profile = beside.load(found.profile.folder / beside.FILE)
        if document.digest(profile) != found.profile.digest:
            raise ProfileInvalid(
                f"model '{name}' version {found.version}: its profile is no longer what was"
                " attached"
            )
        return profile

    def set_alias(self, name: str, alias: str, version: int) -> Version:
        """Points an alias at a version, wherever it pointed before.

        Raises:
            ModelNotFound, VersionNotFound, InvalidParameter: no such thing.
        """
        check_alias(alias)
        with self._store.write() as db:
            self._point(db, read_model(db, name, self._blobs), alias, version)
            return read_model(db, name, self._blobs).pick(version)

    def remove_alias(self, name: str, alias: str) -> None:
        """Takes an alias away.

        Raises:
            ModelNotFound, VersionNotFound: no such thing.
        """
        with self._store.write() as db:
            model = read_model(db, name, self._blobs)
            version = next((one.version for one in model.aliases if one.name == alias), None)
            if version is None:
                raise VersionNotFound(f"model '{name}' has no alias {alias!r}")
            db.execute("DELETE FROM aliases WHERE model = ? AND alias = ?", (name, alias))
            self._note(db, "alias remove", f"{name}:{alias}", {"version": version}, None)

    def remove_version(self, name: str, version: int, force: bool = False) -> None:
        """Removes a version with its aliases and metadata, and its files if nothing else has them.

        Raises:
            ModelNotFound, VersionNotFound: no such thing.
            Conflict: `champion` names it, and `force` is not given.
        """
        with self._store.write() as db:
            model = read_model(db, name, self._blobs)
            found = model.pick(version)
            if CHAMPION in found.aliases and not force:
                raise Conflict(
                    f"model '{name}': version {version} is its {CHAMPION}; point the alias"
                    " elsewhere first, or force it"
                )
            self._delete(db, found)
        self._collect()

    def remove_model(self, name: str, force: bool = False) -> None:
        """Removes a model with all its versions.

        Raises:
            ModelNotFound: no such thing.
            Conflict: it has a `champion`, and `force` is not given.
        """
        with self._store.write() as db:
            model = read_model(db, name, self._blobs)
            if any(alias.name == CHAMPION for alias in model.aliases) and not force:
                raise Conflict(
                    f"model '{name}' has a {CHAMPION}; remove the alias first, or force it"
                )
            for version in model.versions:
                self._delete(db, version)
            db.execute("DELETE FROM models WHERE name = ?", (name,))
        self._collect()

    # ---- inside a transaction -------------------------------------------------------------------

    def _enter(
        self,
        name: str,
        wanted: int | None,
        aliases: Sequence[str],
        metadata: Mapping[str, str],
        incoming: Incoming,
        copied: Package,
    ) -> Registered:
        with self._store.write() as db:
            row = db.execute("SELECT last_version FROM models WHERE name = ?", (name,)).fetchone()
            model = find_model(db, name, self._blobs)
            known = model.versions if model else ()
            number = wanted or next(
                (one.version for one in reversed(known) if one.digest == incoming.digest),
                (row["last_version"] if row else 0) + 1,
            )
            twin = next((one for one in known if one.version == number), None)
            if twin is not None and twin.digest != incoming.digest:
                raise Conflict(
                    f"model '{name}': version {number} exists with other content:"
                    f" wanted {incoming.digest[:12]}, got {twin.digest[:12]}"
                )
            self._blobs.place(incoming)
            if twin is None:
                self._insert(db, name, number, incoming, copied)
            self._annotate(db, name, number, metadata)
            for alias in aliases:
                self._point(db, read_model(db, name, self._blobs), alias, number)
            return Registered(read_model(db, name, self._blobs).pick(number), new=twin is None)

    def _insert(
        self, db: sqlite3.Connection, name: str, number: int, incoming: Incoming, copied: Package
    ) -> None:
        db.execute(
            "INSERT INTO models VALUES (?, ?) ON CONFLICT (name)"
            " DO UPDATE SET last_version = MAX(last_version, excluded.last_version)",
            (name, number),
        )
        keep_folder(db, incoming)
        facts = orjson.dumps(facts_of(copied.onnx, copied.hints)).decode()
        db.execute(
            "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, number, incoming.digest, copied.onnx.file, facts, self._actor.who, self._now()),
        )
        after = {"digest": incoming.digest, "bytes": incoming.bytes}
        self._note(db, "register", f"{name}/{number}", None, after)

    def _annotate(
        self, db: sqlite3.Connection, name: str, number: int, metadata: Mapping[str, str]
    ) -> None:
        before = read_model(db, name, self._blobs).pick(number).metadata
        after = {**before, **metadata}
        if after == before:
            return
        if len(after) > MAX_METADATA:
            raise InvalidParameter(
                f"metadata: wanted at most {MAX_METADATA} keys, got {len(after)}"
            )
        db.executemany(
            "INSERT OR REPLACE INTO metadata VALUES (?, ?, ?, ?)",
            [(name, number, key, value) for key, value in metadata.items()],
        )
        self._note(db, "metadata", f"{name}/{number}", dict(before), after)

    def _attach(self, name: str, version: int, profile: Profile, incoming: Incoming) -> None:
        with self._store.write() as db:
            before = read_model(db, name, self._blobs).pick(version).profile
            digest = document.digest(profile)
            if before is not None and before.digest == digest:
                return
            self._blobs.place(incoming)
            keep_folder(db, incoming)
            db.execute(
                "INSERT OR REPLACE INTO profiles VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    version,
                    digest,
                    incoming.digest,
                    profile.rows,
                    self._actor.who,
                    self._now(),
                ),
            )
            self._note(
                db,
                "profile attach",
                f"{name}/{version}",
                None if before is None else {"digest": before.digest},
                {"digest": digest, "rows": profile.rows},
            )

    def _point(self, db: sqlite3.Connection, model: Model, alias: str, version: int) -> None:
        model.pick(version)
        refuse_retired(db, model.name, version)
        before = next((one.version for one in model.aliases if one.name == alias), None)
        if before == version:
            return
        db.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (model.name, alias, version))
        self._note(
            db,
            "alias set",
            f"{model.name}:{alias}",
            None if before is None else {"version": before},
            {"version": version},
        )

    def _delete(self, db: sqlite3.Connection, version: Version) -> None:
        key = (version.model, version.version)
        for table in ("versions", "self_references", "monitoring_releases"):
            db.execute(f"DELETE FROM {table} WHERE model = ? AND version = ?", key)
        before = {
            "digest": version.digest,
            "aliases": list(version.aliases),
            "metadata": dict(version.metadata),
        }
        self._note(db, "remove", f"{version.model}/{version.version}", before, None)

    def _collect(self) -> None:
        collect(self._store, self._blobs)

    def _note(
        self,
        db: sqlite3.Connection,
        action: str,
        subject: str,
        before: Mapping[str, object] | None,
        after: Mapping[str, object] | None,
    ) -> None:
        note_change(db, self._actor, action, subject, before, after, self._now())


def collect(store: Store, blobs: Blobs) -> None:
    """Lets go of folders that no version names, nor a profile or monitoring release of one.

    In a transaction of its own, after the removal is certain: a folder that goes too early is lost,
    one that a crash leaves behind is found by the next collection. Nobody else places a folder
    meanwhile, since that too is done under the write lock.
    """
    with store.write() as db:
        db.execute(
            "DELETE FROM folders WHERE digest NOT IN"
            " (SELECT digest FROM versions UNION SELECT folder FROM profiles"
            " UNION SELECT folder FROM self_references WHERE folder IS NOT NULL"
            " UNION SELECT profile_folder FROM monitoring_releases"
            " UNION SELECT contract_folder FROM monitoring_releases)"
        )
        kept = {row["digest"] for row in db.execute("SELECT digest FROM folders")}
        blobs.discard_all_but(kept)
    blobs.empty_trash()


def keep_folder(db: sqlite3.Connection, incoming: Incoming) -> None:
    """Notes a folder and its files, inside a transaction, before a row names it."""
    db.execute("INSERT OR IGNORE INTO folders VALUES (?, ?)", (incoming.digest, incoming.bytes))
    db.executemany(
        "INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)",
        [(incoming.digest, file.path, file.sha256, file.bytes) for file in incoming.files],
    )


def _entrance(incoming: Incoming, handed: Package) -> Path:
    """How to look at the copy: by its folder if a configuration came along, else by its file."""
    return incoming.folder if handed.hints.files else incoming.folder / handed.onnx.file


def _silent(done: int, total: int) -> None:
    """Progress that nobody watches."""
