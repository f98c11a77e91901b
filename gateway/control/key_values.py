"""What is known of a key, and what its requests to language models count against.

Knows the columns of one table. Knows nothing of how keys are made, found or changed. See `keys`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.access.allowance import MAX_TAGS, UNLIMITED, Allowance, read_allowance
from gateway.access.durations import moment_text
from gateway.access.keys import is_name
from gateway.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Belongs:
    """What a key's requests to language models count against.

    Attributes:
        team: at most one; None: none.
        tags: some that it shares with others.
        allowance: its own limits.
    """

    team: str | None = None
    tags: tuple[str, ...] = ()
    allowance: Allowance = UNLIMITED

    def as_json(self) -> dict[str, Any]:
        """As commands and the admin API show it."""
        return {"team": self.team, "tags": list(self.tags), "limits": self.allowance.as_json()}


NOTHING = Belongs()


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key: everything but the key.

    Attributes:
        models: names it may call; `("*",)`: all.
        created_at, expires_at, revoked_at, last_used_at: seconds since 1970, or None.
        account: the key that it took the place of, and before that another, up to the first; they
            share what is spent.
        belongs: what its requests count against.
    """

    id: int
    name: str
    role: str
    models: tuple[str, ...]
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    account: int
    belongs: Belongs

    def state(self, now: float) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def as_json(self, now: float) -> dict[str, Any]:
        """As commands and the admin API show it; times in ISO 8601."""
        times = ("created_at", "expires_at", "revoked_at", "last_used_at")
        written = {name: getattr(self, name) for name in times}
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "models": list(self.models),
            "state": self.state(now),
            "created_by": self.created_by,
            **{name: None if at is None else moment_text(at) for name, at in written.items()},
            **self.belongs.as_json(),
        }


def check_belongs(belongs: Belongs) -> None:
    """Lets a key's team and tags pass.

    Raises:
        InvalidParameter: they cannot be.
    """
    if len(belongs.tags) > MAX_TAGS or len(set(belongs.tags)) != len(belongs.tags):
        raise InvalidParameter(f"tags: expected at most {MAX_TAGS} different ones")
    for what, name in [("team", belongs.team), *(("tags", tag) for tag in belongs.tags)]:
        if name is not None and not is_name(name):
            raise InvalidParameter(
                f"{what}: expected 1 to 64 letters, digits, dots, dashes or underscores,"
                f" got {name[:80]!r}"
            )


def json_text(names: Iterable[str]) -> str:
    """Names as a column."""
    return orjson.dumps(tuple(names)).decode()


def columns_of(belongs: Belongs) -> tuple[str | None, str, str]:
    """As columns: team, tags and allowance."""
    allowance = belongs.allowance
    limits = {} if allowance == UNLIMITED else allowance.as_json()
    return belongs.team, json_text(belongs.tags), orjson.dumps(limits).decode()


def _belongs(row: sqlite3.Row) -> Belongs:
    team, tags, limits = row["team"], row["tags"], row["allowance"]
    if (team, tags, limits) == (None, "[]", "{}"):  # of a hundred thousand keys, most
        return NOTHING
    allowance = UNLIMITED if limits == "{}" else read_allowance(orjson.loads(limits), "allowance")
    return Belongs(team, tuple(orjson.loads(tags)), allowance)


def key_of(row: sqlite3.Row) -> Key:
    """A row of the table."""
    return Key(
        row["id"],
        row["name"],
        row["role"],
        tuple(orjson.loads(row["models"])),
        row["created_at"],
        row["created_by"],
        row["expires_at"],
        row["revoked_at"],
        row["last_used_at"],
        row["account"] or row["id"],
        _belongs(row),
    )
