"""Reads the registry's tables into values.

Knows the tables. Changes nothing.
"""

from __future__ import annotations

import sqlite3

import orjson

from gateway.control.blobs import Blobs, File
from gateway.control.entries import Alias, Attached, Model, Version
from gateway.errors import ModelNotFound


def read_names(db: sqlite3.Connection) -> list[str]:
    """Every model that has a version, by name."""
    return [row[0] for row in db.execute("SELECT DISTINCT model FROM versions ORDER BY model")]


def read_model(db: sqlite3.Connection, name: str, blobs: Blobs) -> Model:
    """One model with all that is known of it.

    Raises:
        ModelNotFound: it has no version.
    """
    found = find_model(db, name, blobs)
    if found is None:
        raise ModelNotFound(f"model '{name}' is not registered")
    return found


def find_model(db: sqlite3.Connection, name: str, blobs: Blobs) -> Model | None:
    """One model with all that is known of it; None where it has no version."""
    rows = db.execute("SELECT * FROM versions WHERE model = ? ORDER BY version", (name,)).fetchall()
    if not rows:
        return None
    aliases = tuple(
        Alias(row["alias"], row["version"])
        for row in db.execute("SELECT * FROM aliases WHERE model = ? ORDER BY alias", (name,))
    )
    return Model(name, tuple(_version(db, row, aliases, blobs) for row in rows), aliases)


def _version(
    db: sqlite3.Connection, row: sqlite3.Row, aliases: tuple[Alias, ...], blobs: Blobs
) -> Version:
    files = db.execute(
        "SELECT path, sha256, bytes FROM files WHERE digest = ? ORDER BY path", (row["digest"],)
    )
    metadata = db.execute(
        "SELECT key, value FROM metadata WHERE model = ? AND version = ? ORDER BY key",
        (row["model"], row["version"]),
    )
    return Version(
        model=row["model"],
        version=row["version"],
        digest=row["digest"],
        folder=blobs.folder(row["digest"]),
        file=row["file"],
        files=tuple(File(*file) for file in files),
        registered_by=row["registered_by"],
        registered_at=row["registered_at"],
        metadata=dict(map(tuple, metadata)),
        aliases=tuple(alias.name for alias in aliases if alias.version == row["version"]),
        facts=orjson.loads(row["facts"]),
        profile=_attached(db, row, blobs),
    )


def _attached(db: sqlite3.Connection, row: sqlite3.Row, blobs: Blobs) -> Attached | None:
    found = db.execute(
        "SELECT * FROM profiles WHERE model = ? AND version = ?", (row["model"], row["version"])
    ).fetchone()
    if found is None:
        return None
    return Attached(
        found["profile"],
        blobs.folder(found["folder"]),
        found["rows"],
        found["attached_by"],
        found["attached_at"],
    )
