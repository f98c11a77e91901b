"""Finds which call of a tool a fragment of a stream belongs to.

Knows chat's fragments. Knows nothing of what becomes of them.
"""

from __future__ import annotations

from gateway.wire.llm.fields import Values, text


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
        """
        told = fragment.get("index")
        index = told if type(told) is int else place
        identifier = text(fragment, "id")
        known = self._numbers.get(index)
        if known is not None and identifier in ("", self._ids[known]):
            return known
        self._numbers[index] = len(self._ids)
        self._ids.append(identifier)
        return self._numbers[index]
