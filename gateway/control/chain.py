"""The audit's chain: how an entry becomes its hash, and where the newest hash is kept besides.

Knows canonical JSON, SHA-256 and one small file. Knows nothing of the database or of what entries
mean.

Each hash covers the one before it, so that no entry can be changed, removed or put in between
without all later hashes changing. That the last entries were cut off, a chain alone cannot show:
the newest id and hash therefore also stand in a file under the home, from the database's beginning
on. Where that file is found missing, an entry of the chain says so (`HEAD_MISSING`) before there is
another one.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

FILE = "audit.head"
HEAD_MISSING = "head missing"
"""Action of the entry that says that the file was gone: what it would have proven is unknown."""
GENESIS = "0" * 64
"""What stands where the first entry looks for the hash of the one before it."""
FIELDS = ("id", "at", "who", "door", "origin", "action", "subject", "before", "after")
"""What a hash covers; `before` and `after` are JSON texts, or None."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry."""

    id: int
    hash: str


BEGINNING = Head(0, GENESIS)
"""Of an audit that has no entry yet."""


_SIDES = ("before", "after")
_NULL = "null"


def misfit(entry: Mapping[str, Any]) -> str:
    """What is in a column that no entry has there; empty where every column holds what it should.

    Part of what a hash proves: only where each text is one whole JSON value, written as `line`
    writes it, does a line come of one entry alone. Otherwise what stands in one column could be
    moved to the next, and the line, and so the hash, would stay as they were.
    """
    if not is_time(entry["at"]):
        return "at holds no time"
    for field in FIELDS[2:]:
        value = entry[field]
        if not isinstance(value, str) and not (value is None and field in _SIDES):
            return f"{field} holds no text"
        # A line says the same of nothing and of a text that says so: only nothing is ever written.
        if field in _SIDES and value is not None and not (value != _NULL and _is_canonical(value)):
            return f"{field} holds no JSON as it is written here"
    return ""


def is_time(value: object) -> bool:
    """Whether this can be seconds since 1970."""
    return isinstance(value, int | float) and math.isfinite(value)


def _is_canonical(text: str) -> bool:
    """Whether a text is one JSON value without anything around it, or twice in it."""
    try:
        return orjson.dumps(orjson.loads(text)) == text.encode()
    except (ValueError, TypeError):  # no JSON; a number that is never written
        return False


def line(entry: Mapping[str, Any]) -> bytes:
    """An entry as one line of JSON: keys sorted, no spaces; `before` and `after` as they stand.

    Proves an entry only together with `misfit`.

    Raises:
        TypeError: a value is of a kind that JSON does not have.
    """
    values = {field: entry[field] for field in FIELDS}
    for field in _SIDES:
        if values[field] is not None:
            values[field] = orjson.Fragment(values[field])
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS)


def link(previous: str, entry: Mapping[str, Any]) -> str:
    """The hash of an entry that follows the one with hash `previous`.

    Raises:
        TypeError: as `line`.
    """
    return hashlib.sha256(previous.encode() + line(entry)).hexdigest()


def read_head(home: Path) -> Head | None:
    """What the file says; None where there is none.

    Raises:
        ValueError: it says something else.
    """
    try:
        number, digest = (home / FILE).read_text(encoding="ascii").split()
    except FileNotFoundError:
        return None
    head = Head(int(number), digest)
    hexadecimal = len(digest) == len(GENESIS) and not set(digest) - set("0123456789abcdef")
    if head.id < 0 or not hexadecimal or (head.id == 0) != (digest == GENESIS):
        raise ValueError("expected the number of an entry and its hash")
    return head


def write_head(home: Path, head: Head) -> None:
    """Replaces the file in one step.

    Raises:
        OSError: it cannot be written.
    """
    # Of its own for each writer: two threads of a process may write at once.
    temporary = home / f"{FILE}.{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("w", encoding="ascii") as file:
            os.chmod(file.fileno(), 0o600)
            file.write(f"{head.id} {head.hash}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(home / FILE)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)  # a full disk has no room for what is left behind
        raise
