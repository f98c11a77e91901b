"""API keys in the store: made, listed, replaced, taken back, and handed on to those who check them.

Knows one table and the digest that stands for a key. Knows nothing of requests. A raw key leaves
`create` and `rotate` once, and is nowhere else.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.access.keyring import Row
from gateway.access.keys import digest, is_name, new_key
from gateway.access.roles import ROLES
from gateway.control.audit import Actor, note
from gateway.control.key_values import (
    NOTHING,
    Belongs,
    Key,
    check_belongs,
    columns_of,
    json_text,
    key_of,
)
from gateway.control.store import Store
from gateway.errors import Conflict, InvalidParameter, NotFound
from gateway.names import check_name

MAX_MODELS = 1000
EVERYTHING = ("*",)
_NO_CHANGES = -1
_NO_LIMIT = -1
# Its digest says which secret the keys were made with, and nothing else.
_CHECKED = b"which secret this is"
_ACTIVE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"


@dataclass(frozen=True, slots=True)
class Changed:
    """What happened to the active keys since a version.

    Attributes:
        version: the one that this leads to.
        rows: by digest, keys that are new or differ.
        dropped: digests of keys that are active no longer.
        keys: by digest, those of `rows`.
    """

    version: int
    rows: Mapping[str, Row]
    dropped: list[str]
    keys: Mapping[str, Key]


class Keys:
    """The keys of one home.

    Args:
        store: the home's database.
        secret: the server's; digests are made with it. Whoever makes no key needs none.
        now: seconds since 1970.
    """

    def __init__(self, store: Store, secret: bytes, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._secret = secret
        self._now = now

    # ---- reading --------------------------------------------------------------------------------

    def all(self) -> tuple[Key, ...]:
        """Every key there ever was, in the order in which they were made."""
        return self.page(0, _NO_LIMIT)

    def page(self, after: int, limit: int) -> tuple[Key, ...]:
        """So many of them, of those that were made after the one with this id."""
        with self._store.read() as db:
            found = db.execute(
                "SELECT * FROM keys WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            )
            return tuple(key_of(row) for row in found)

    def check_secret(self) -> None:
        """Makes sure that active keys were made with this secret: no other would know them.

        Raises:
            Conflict: they were made with another one.
        """
        with self._store.read() as db:
            self._check_secret(db)

    def has_active(self, role: str) -> bool:
        """Whether a key of this role can be used now."""
        with self._store.read() as db:
            found = db.execute(
                f"SELECT 1 FROM keys WHERE role = ? AND {_ACTIVE}", (role, self._now())
            ).fetchone()
        return found is not None

    def names(self, numbers: Iterable[int]) -> dict[int, str]:
        """The names of those of these keys that there are, by id."""
        wanted = [(number,) for number in numbers]
        with self._store.read() as db:
            found = [
                db.execute("SELECT id, name FROM keys WHERE id = ?", one).fetchone()
                for one in wanted
            ]
        return {row["id"]: row["name"] for row in found if row is not None}

    def named(self, name: str) -> Key:
        """The active key of a name.

        Raises:
            NotFound: there is none.
            Conflict: a rotation has left two.
        """
        with self._store.read() as db:
            found = [key_of(row) for row in self._of_name(db, name)]
        if not found:
            raise NotFound(f"no active key has the name {name[:80]!r}")
        if len(found) > 1:
            numbers = ", ".join(str(key.id) for key in found)
            raise Conflict(f"key '{name}': expected one of this name, got ids {numbers}: say which")
        return found[0]

    def changed(self, since: int | None, looked_at: float) -> Changed:
        """What those who check keys have to be told.

        Args:
            since: the version that they have; None: they have nothing.
            looked_at: when this was last asked, so that what expired meanwhile is dropped.
        """
        now = self._now()
        with self._store.read() as db:
            version = int(
                db.execute("SELECT value FROM counters WHERE name = 'keys'").fetchone()[0]
            )
            found = db.execute(
                "SELECT * FROM keys WHERE changed > ?"
                " UNION SELECT * FROM keys WHERE expires_at > ? AND expires_at <= ?",
                (_NO_CHANGES if since is None else since, looked_at, now),
            )
            rows: dict[str, Row] = {}
            keys: dict[str, Key] = {}
            dropped: list[str] = []
            for row in found:
                key = key_of(row)
                if key.state(now) == "active":
                    models = None if key.models == EVERYTHING else list(key.models)
                    rows[row["digest"]] = [key.id, key.name, key.role, models, key.expires_at]
                    keys[row["digest"]] = key
                elif since is not None:
                    dropped.append(row["digest"])
        return Changed(version, rows, dropped, keys)

    # ---- changing -------------------------------------------------------------------------------

    def create(
        self,
        actor: Actor,
        name: str,
        role: str,
        models: Iterable[str] = EVERYTHING,
        expires_at: float | None = None,
        belongs: Belongs = NOTHING,
    ) -> tuple[Key, str]:
        """Makes a key; the second value is the raw key, which nobody can ask for again.

        Raises:
            InvalidParameter: name, role, models, expiry, team or tags cannot be.
            Conflict: an active key has this name, or was made with another secret.
        """
        check_belongs(belongs)
        chosen = self._checked(name, role, models, expires_at)
        raw = new_key()
        with self._store.write() as db:
            if (twin := self._twin(db, name)) is not None:
                raise _taken(twin)
            made = self._insert(
                db, actor, "key create", name, role, chosen, expires_at, raw, belongs
            )
            return made, raw

    def adopt(
        self,
        actor: Actor,
        name: str,
        role: str,
        raw: str,
        models: Iterable[str] = EVERYTHING,
        expires_at: float | None = None,
        if_missing: bool = False,
        belongs: Belongs = NOTHING,
    ) -> tuple[Key, bool]:
        """Makes a key of one that came from elsewhere, such as an orchestrator's secret.

        Args:
            actor: who makes it.
            name: what it is called.
            role: what it may do.
            raw: the key itself, as `read_key` gives it.
            models: the models it may call.
            expires_at: when it ends; None: never.
            if_missing: leave it at the key that is there, where this very one was made before
                (even if it is revoked by now) or an active one has the name.
            belongs: what its requests count against.

        Returns:
            The key, and whether it was made now.

        Raises:
            InvalidParameter: name, role, models, expiry, team or tags cannot be.
            Conflict: this key was made before, an active key has this name, or was made with
                another secret.
        """
        check_belongs(belongs)
        chosen = self._checked(name, role, models, expires_at)
        hashed = digest(self._secret, raw.encode())
        with self._store.write() as db:
            same = db.execute("SELECT * FROM keys WHERE digest = ?", (hashed,)).fetchone()
            there = same or self._twin(db, name)
            if there is None:
                made = self._insert(
                    db, actor, "key create", name, role, chosen, expires_at, raw, belongs
                )
                return made, True
            if if_missing:
                return key_of(there), False
            if same is not None:
                raise Conflict(f"this key was made before (id {same['id']})")
            raise _taken(there)

    def rotate(self, actor: Actor, number: int, overlap_s: float = 0.0) -> tuple[Key, str]:
        """Makes a key like another, which ends after `overlap_s`.

        Raises:
            NotFound: there is no such key.
            Conflict: it is not active, or was made with another secret.
        """
        now = self._now()
        with self._store.write() as db:
            old = self._active(db, number)
            kept = None
            if old.expires_at is not None:
                # As long as the old one was given at first, from now on.
                kept = now + (old.expires_at - old.created_at)
            raw = new_key()
            fresh = self._insert(
                db,
                actor,
                "key rotate",
                old.name,
                old.role,
                old.models,
                kept,
                raw,
                old.belongs,
                old.account,
            )
            end = now + overlap_s if overlap_s else None
            if end is None:
                self._update(db, actor, old, "revoked_at", now)
            elif old.expires_at is None or old.expires_at > end:
                self._update(db, actor, old, "expires_at", end)
            return fresh, raw

    def revoke(self, actor: Actor, number: int) -> Key:
        """Takes a key back at once and for good.

        Raises:
            NotFound: there is no such key.
            Conflict: it is not active.
        """
        with self._store.write() as db:
            self._update(db, actor, self._active(db, number), "revoked_at", self._now())
            return _find(db, number)

    def set(
        self,
        actor: Actor,
        number: int,
        models: Iterable[str] | None = None,
        belongs: Callable[[Belongs], Belongs] = lambda belongs: belongs,
    ) -> Key:
        """Changes what a key may call and spend, and likewise of one that it takes the place of.

        Args:
            actor: who changes it.
            number: of the key.
            models: the models it may call; None: those it may already.
            belongs: makes what its requests count against of what they did.

        Raises:
            NotFound: there is no such key.
            Conflict: it is not active.
            InvalidParameter: models, team or tags cannot be.
        """
        with self._store.write() as db:
            old = self._active(db, number)
            fresh = belongs(old.belongs)
            check_belongs(fresh)
            chosen = old.models if models is None else _checked(old.name, old.role, models)
            if (chosen, fresh) == (old.models, old.belongs):
                return old
            version = _next_version(db)
            for one in self._of_name(db, old.name):
                if one["account"] == old.account:
                    db.execute(
                        "UPDATE keys SET models = ?, team = ?, tags = ?, allowance = ?,"
                        " changed = ? WHERE id = ?",
                        (json_text(chosen), *columns_of(fresh), version, one["id"]),
                    )
            before = {"models": list(old.models), **old.belongs.as_json()}
            after = {"models": list(chosen), **fresh.as_json()}
            note(db, actor, "key set", _subject(old), before, after, self._now())
            return _find(db, number)

    def used(self, when: Mapping[int, float]) -> None:
        """Notes when keys were last used. Not a change: nobody has to follow it."""
        with self._store.write() as db:
            db.executemany(
                "UPDATE keys SET last_used_at = MAX(?, COALESCE(last_used_at, 0)) WHERE id = ?",
                [(at, number) for number, at in when.items()],
            )

    def _checked(
        self, name: str, role: str, models: Iterable[str], expires_at: float | None
    ) -> tuple[str, ...]:
        if expires_at is not None and expires_at <= self._now():
            raise InvalidParameter("expires: expected a time to come")
        return _checked(name, role, models)

    # ---- inside a transaction -------------------------------------------------------------------

    def _twin(self, db: sqlite3.Connection, name: str) -> sqlite3.Row | None:
        """The active key of a name, the newest if a rotation has left two."""
        return next(reversed(self._of_name(db, name)), None)

    def _of_name(self, db: sqlite3.Connection, name: str) -> list[sqlite3.Row]:
        """The active keys of a name; more than one only where one takes the others' place."""
        return db.execute(
            f"SELECT * FROM keys WHERE name = ? AND {_ACTIVE} ORDER BY id", (name, self._now())
        ).fetchall()

    def _insert(
        self,
        db: sqlite3.Connection,
        actor: Actor,
        action: str,
        name: str,
        role: str,
        models: tuple[str, ...],
        expires_at: float | None,
        raw: str,
        belongs: Belongs,
        account: int | None = None,
    ) -> Key:
        self._check_secret(db)
        mine = digest(self._secret, _CHECKED)
        db.execute("INSERT OR REPLACE INTO secret_check VALUES (1, ?)", (mine,))
        hashed = digest(self._secret, raw.encode())
        number = db.execute(
            "INSERT INTO keys (name, digest, role, models, created_at, created_by, expires_at,"
            " changed, team, tags, allowance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                hashed,
                role,
                json_text(models),
                self._now(),
                actor.who,
                expires_at,
                _next_version(db),
                *columns_of(belongs),
            ),
        ).lastrowid
        db.execute("UPDATE keys SET account = ? WHERE id = ?", (account or number, number))
        key = _find(db, number or 0)
        after = {"role": role, "models": list(models), "expires_at": expires_at}
        if belongs != NOTHING:
            after |= belongs.as_json()
        note(db, actor, action, _subject(key), None, after, self._now())
        return key

    def _update(
        self, db: sqlite3.Connection, actor: Actor, old: Key, column: str, value: float
    ) -> None:
        db.execute(
            f"UPDATE keys SET {column} = ?, changed = ? WHERE id = ?",
            (value, _next_version(db), old.id),
        )
        action = "key revoke" if column == "revoked_at" else "key expire"
        before = {column: getattr(old, column)}
        note(db, actor, action, _subject(old), before, {column: value}, self._now())

    def _check_secret(self, db: sqlite3.Connection) -> None:
        known = db.execute("SELECT digest FROM secret_check").fetchone()
        if known is None or known["digest"] == digest(self._secret, _CHECKED):
            return
        # Keys that nobody can use any more stand in nobody's way.
        if db.execute(f"SELECT 1 FROM keys WHERE {_ACTIVE}", (self._now(),)).fetchone():
            raise Conflict(
                "the keys of this home were made with another secret: set PENSTOCK_SECRET_FILE as"
                " it was then, or revoke them all"
            )

    def _active(self, db: sqlite3.Connection, number: int) -> Key:
        key = _find(db, number)
        state = key.state(self._now())
        if state != "active":
            raise Conflict(f"key {number} ('{key.name}') is {state}")
        return key


def retiring(keys: Iterable[Key], now: float) -> set[int]:
    """Those that are active still beside the one that took their place: ids.

    Args:
        keys: all of a home, in the order in which they were made.
        now: seconds since 1970.
    """
    active = [key for key in keys if key.state(now) == "active"]
    newest = {key.name: key.id for key in active}
    return {key.id for key in active if key.id != newest[key.name]}


def _checked(name: str, role: str, models: Iterable[str]) -> tuple[str, ...]:
    if not is_name(name):
        raise InvalidParameter(
            "name: expected 1 to 64 letters, digits, dots, dashes or underscores, and neither"
            f" 'other' nor 'token', got {name[:80]!r}"
        )
    if role not in ROLES:
        raise InvalidParameter(f"role: expected one of {', '.join(ROLES)}, got {role[:80]!r}")
    chosen = tuple(dict.fromkeys(models))
    if not chosen or len(chosen) > MAX_MODELS:
        raise InvalidParameter(f"models: expected 1 to {MAX_MODELS} names, got {len(chosen)}")
    if "*" in chosen:
        return EVERYTHING
    return tuple(check_name(model) for model in chosen)


def _find(db: sqlite3.Connection, number: int) -> Key:
    row = db.execute("SELECT * FROM keys WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise NotFound(f"there is no key {number}")
    return key_of(row)


def _taken(twin: sqlite3.Row) -> Conflict:
    return Conflict(f"key '{twin['name']}' exists (id {twin['id']}): rotate or revoke it")


def _next_version(db: sqlite3.Connection) -> int:
    db.execute("UPDATE counters SET value = value + 1 WHERE name = 'keys'")
    return int(db.execute("SELECT value FROM counters WHERE name = 'keys'").fetchone()[0])


def _subject(key: Key) -> str:
    return f"{key.id}:{key.name}"
