"""Asks a parsed text-format message for its fields by type, and remembers what was never asked for.

Knows values, lines and paths. Knows nothing of any particular configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway.errors import ModelRefused
from gateway.models.pbtxt import Message, Scalar, Word

T = TypeVar("T")


class Fields:
    """One message. Faults name source, line and the path of the field."""

    def __init__(self, message: Message, source: str, path: str) -> None:
        self._message = message
        self._source = source
        self._path = path
        self._asked: set[str] = set()

    def fault(self, name: str, why: str) -> ModelRefused:
        """The refusal of a field, with where it stands."""
        values = self._message.fields.get(name)
        line = values[0][0] if values else self._message.line
        return ModelRefused(f"{self._source}: line {line}: {self._path}{name}: {why}")

    def has(self, name: str) -> bool:
        """Whether the field is given at all."""
        self._asked.add(name)
        return name in self._message.fields

    def done(self, ignored: set[str]) -> None:
        """Notes every field that nobody asked for."""
        ignored |= {f"{self._path}{name}" for name in self._message.fields.keys() - self._asked}

    def text(self, name: str) -> str | None:
        """A string field; None where it is not given."""
        return self._one(name, "text", lambda value: value if isinstance(value, str) else None)

    def word(self, name: str) -> str | None:
        """An enum field; None where it is not given."""
        return self._one(
            name, "an enum value", lambda value: value.text if isinstance(value, Word) else None
        )

    def integer(self, name: str, low: int, high: int) -> int | None:
        """An integer field from `low` to `high`; None where it is not given."""
        return self._one(name, f"an integer from {low} to {high}", _integer(low, high))

    def integers(self, name: str, low: int, high: int) -> list[int]:
        """A repeated integer field."""
        read, wanted = _integer(low, high), f"integers from {low} to {high}"
        return [self._as(name, value, wanted, read) for _, value in self._values(name)]

    def message(self, name: str) -> Fields | None:
        """A message field; None where it is not given."""
        found = self.messages(name)
        if len(found) > 1:
            raise self.fault(name, "given twice")
        return found[0] if found else None

    def messages(self, name: str) -> list[Fields]:
        """A repeated message field."""
        found = []
        for _, value in self._values(name):
            if not isinstance(value, Message):
                raise self.fault(name, f"wanted a message, got {_shown(value)}")
            found.append(Fields(value, self._source, f"{self._path}{name}."))
        return found

    def _values(self, name: str) -> list[tuple[int, Scalar | Message]]:
        self._asked.add(name)
        return self._message.fields.get(name, [])

    def _one(
        self, name: str, wanted: str, read: Callable[[Scalar | Message], T | None]
    ) -> T | None:
        values = self._values(name)
        if len(values) > 1:
            raise self.fault(name, "given twice")
        return self._as(name, values[0][1], wanted, read) if values else None

    def _as(
        self,
        name: str,
        value: Scalar | Message,
        wanted: str,
        read: Callable[[Scalar | Message], T | None],
    ) -> T:
        got = read(value)
        if got is None:
            raise self.fault(name, f"wanted {wanted}, got {_shown(value)}")
        return got


def _integer(low: int, high: int) -> Callable[[Scalar | Message], int | None]:
    return lambda value: value if isinstance(value, int) and low <= value <= high else None


def _shown(value: Scalar | Message) -> str:
    if isinstance(value, Message):
        return "a message"
    return value.text[:40] if isinstance(value, Word) else repr(value)[:40]
