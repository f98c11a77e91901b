"""Finds which call of a tool a fragment of a stream belongs to.

Knows chat's fragments. Knows nothing of what becomes of them.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.errors import UpstreamFailed
from gateway.wire.llm.fields import Values, mappings, text

MAX_CALLS: Final = 10_000
"""Of one answer. Each is told in events of its own, which are a hundred times as long as what an
upstream may begin one with; no model calls a hundred."""


def calls_of(message: Values) -> list[dict[str, Any]]:
    """The calls of a whole message.

    Raises:
        UpstreamFailed: there are more than anybody could mean.
    """
    calls = mappings(message, "tool_calls")
    if len(calls) > MAX_CALLS:
        raise _too_many()
    return calls


def _too_many() -> UpstreamFailed:
    return UpstreamFailed(f"the upstream called more than {MAX_CALLS} tools in one answer")


class Calls:
    """The calls of one stream.

    They are told apart by their index; but some servers leave that out, or give every call the
    same, and tell calls apart by their ids alone.
    """

    def __init__(self) -> None:
        """No call yet."""
        self._numbers: dict[int, int] = {}  # by the index, the latest of it
        self._ids: list[str] = []

    def number(self, fragment: Values, place: int) -> int:
        """The number of a fragment's call, from 0 in the order in which they began.

        Args:
            fragment: one of `tool_calls` in a chunk.
            place: its place among those of its chunk.

        Raises:
            UpstreamFailed: there are more than anybody could mean.
        """
        told = fragment.get("index")
        index = told if type(told) is int else place
        identifier = text(fragment, "id")
        known = self._numbers.get(index)
        if known is not None and identifier in ("", self._ids[known]):
            return known
        if len(self._ids) == MAX_CALLS:
            raise _too_many()
        self._numbers[index] = len(self._ids)
        self._ids.append(identifier)
        return self._numbers[index]
