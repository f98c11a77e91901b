"""Keyed tables that travel beside the plan, row by row.

Knows how a table and a change of it are written and taken in. Knows nothing of what rows mean. A
plan's parts travel whole; a table of a hundred thousand keys of which one is revoked must not.

    {"type": "table", "name": ..., "version": 8, "base": 7, "set": {...}, "drop": [...]}
    {"type": "table", "name": ..., "version": 8, "base": None, "part": 0, "parts": 49, "set": {...}}

The first leads from version 7 to 8, the second is one part of the whole of version 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

# Reading one part holds a worker's event loop for about a millisecond.
PART_ROWS = 1000


def whole(name: str, version: int, rows: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages that carry a whole table, one after the other."""
    parts = max(1, -(-len(rows) // PART_ROWS))
    items = iter(rows.items())
    for part in range(parts):
        yield {
            "type": "table",
            "name": name,
            "version": version,
            "base": None,
            "part": part,
            "parts": parts,
            "set": dict(islice(items, PART_ROWS)),
        }


def change(
    name: str, base: int, version: int, rows: Mapping[str, Any], dropped: Iterable[str]
) -> dict[str, Any]:
    """The message that leads from version `base` to `version`."""
    return {
        "type": "table",
        "name": name,
        "version": version,
        "base": base,
        "set": dict(rows),
        "drop": list(dropped),
    }


class TableInbox:
    """The follower's side of one table."""

    def __init__(
        self,
        name: str,
        replace: Callable[[Mapping[str, Any]], None],
        change: Callable[[Mapping[str, Any], list[str]], None],
    ) -> None:
        """`replace` takes a whole table over, `change` rows that differ and keys that are gone."""
        self.name = name
        self.version: int | None = None
        """None until the first whole table is here."""
        self._replace = replace
        self._change = change
        self._parts: list[Mapping[str, Any]] = []
        self._growing: int | None = None

    def take(self, message: Mapping[str, Any]) -> bool:
        """Takes a message in. False: it does not fit what is here, ask for the whole table."""
        if message["base"] is None:
            return self._take_part(message)
        if message["base"] != self.version:
            return False
        self._change(message["set"], message["drop"])
        self.version = message["version"]
        return True

    def _take_part(self, message: Mapping[str, Any]) -> bool:
        if message["part"] == 0:
            self._parts, self._growing = [], message["version"]
        elif message["version"] != self._growing or message["part"] != len(self._parts):
            self._parts, self._growing = [], None
            return False
        self._parts.append(message["set"])
        if len(self._parts) == message["parts"]:
            rows: dict[str, Any] = {}
            for part in self._parts:
                rows.update(part)
            self._parts, self._growing = [], None
            self._replace(rows)
            self.version = message["version"]
        return True
