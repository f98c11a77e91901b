"""Reads the fields of an untrusted JSON object, saying of each what was wanted and what was got.

Knows JSON's types and paths into a document. Knows nothing of what the fields mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import orjson

from gateway.errors import GatewayError, ProfileInvalid

_MAX_INT = 2**63 - 1
# Characters. Names and categories stand in every answer and in some 25 series each at /metrics.
MAX_TEXT = 2000


class Fields:
    """One object of a document: of a profile, or of what a subclass says.

    Every method raises `error`, naming the place, where a field is missing or of another kind;
    `no_more` where there are fields that nobody read.

    Args:
        value: as the JSON parser gave it.
        path: where it stands in the document, for messages; empty for the document itself.
    """

    document: ClassVar[str] = "profile"
    error: ClassVar[type[GatewayError]] = ProfileInvalid

    def __init__(self, value: Any, path: str) -> None:
        self._path = path
        self._read: set[str] = set()
        if not isinstance(value, dict):
            raise self._error(f"{path or 'document'}: expected an object")
        self._value = value

    @classmethod
    def whole(cls, given: bytes | str, max_bytes: int, schema: int) -> Self:
        """A document out of its JSON, whose `schema` field says at most `schema`, the newest known.

        Raises:
            GatewayError: `error`: it is too long, no JSON, or of a newer schema.
        """
        name = cls.document
        if len(given) > max_bytes:
            raise cls.error(f"{name}: expected at most {max_bytes} bytes, got {len(given)}")
        try:
            found = cls(orjson.loads(given), "")
        except orjson.JSONDecodeError as error:
            raise cls.error(f"{name}: not JSON: {error}") from error
        got = found.integer("schema", 1)
        if got > schema:
            raise cls.error(
                f"{name}: schema: written by a newer release: expected {schema} or lower, got {got}"
            )
        return found

    def fault(self, key: str, wanted: str, got: str) -> GatewayError:
        """The error that a field deserves."""
        return self._error(f"{self._at(key)}: expected {wanted}, got {got[:80]}")

    def has(self, key: str) -> bool:
        """Whether the field is there."""
        return key in self._value

    def no_more(self) -> None:
        """Refuses fields that nobody read: a misspelt one must not pass for a default."""
        unknown = sorted(self._value.keys() - self._read)
        if unknown:
            raise self._error(f"{self._at(unknown[0])}: no such field")

    def string(self, key: str) -> str:
        """A text that is not empty."""
        value = self._get(key)
        if type(value) is not str or not value or len(value) > MAX_TEXT:
            raise self.fault(key, f"a text of 1 to {MAX_TEXT} characters", repr(value))
        return value

    def choice(self, key: str, known: Sequence[str]) -> str:
        """One of some texts."""
        value = self._get(key)
        if type(value) is not str or value not in known:
            raise self.fault(key, f"one of {', '.join(known)}", repr(value))
        return value

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self._get(key)
        if type(value) is not bool:
            raise self.fault(key, "true or false", repr(value))
        return value

    def integer(self, key: str, least: int = 0) -> int:
        """A whole number of 64 bits, from `least` on."""
        return self._integer(key, self._get(key), least)

    def integers(self, key: str, least: int) -> list[int]:
        """A list of them."""
        return [self._integer(key, value, least) for value in self._list(key)]

    def number_or_none(self, key: str) -> float | int | None:
        """A finite number, or null."""
        value = self._get(key)
        return None if value is None else self._number(key, value)

    def number(self, key: str) -> float:
        """A finite number."""
        return float(self._number(key, self._get(key)))

    def numbers(self, key: str, whole: bool) -> list[float | int]:
        """A list of finite numbers; of whole ones alone, where `whole` asks for that."""
        if whole:
            return list(self.integers(key, -_MAX_INT - 1))
        return [self._number(key, value) for value in self._list(key)]

    def strings(self, key: str) -> list[str]:
        """A list of texts, empty ones among them."""
        values = self._list(key)
        for value in values:
            if type(value) is not str or len(value) > MAX_TEXT:
                raise self.fault(key, f"texts of up to {MAX_TEXT} characters", repr(value))
        return values

    def whole_or_boolean(self, key: str) -> list[int]:
        """A list of whole numbers, or of booleans; never of both."""
        values = self._list(key)
        if any(type(value) is bool for value in values):
            if not all(type(value) is bool for value in values):
                raise self.fault(key, "booleans or whole numbers", "both")
            return values
        return self.integers(key, -_MAX_INT - 1)

    def mapping(self, key: str) -> dict[str, Any]:
        """An object of whatever fields."""
        value = self._get(key)
        if not isinstance(value, dict):
            raise self.fault(key, "an object", repr(value))
        return value

    def objects(self, key: str) -> Iterator[Self]:
        """A list of objects."""
        for place, value in enumerate(self._list(key)):
            yield type(self)(value, self._at(f"{key}[{place}]"))

    def object(self, key: str) -> Self:
        """An object."""
        return type(self)(self._get(key), self._at(key))

    def object_or_none(self, key: str) -> Self | None:
        """An object, or null."""
        value = self._get(key)
        return None if value is None else type(self)(value, self._at(key))

    def unique(self, key: str, names: Sequence[str]) -> None:
        """Refuses a list in which a name stands twice."""
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise self.fault(key, "each name once", repr(name))
            seen.add(name)

    def _error(self, message: str) -> GatewayError:
        return self.error(f"{self.document}: {message}")

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _get(self, key: str) -> Any:
        self._read.add(key)
        if key not in self._value:
            raise self._error(f"{self._at(key)}: missing")
        return self._value[key]

    def _list(self, key: str) -> list[Any]:
        value = self._get(key)
        if not isinstance(value, list):
            raise self.fault(key, "a list", repr(value))
        return value

    def _integer(self, key: str, value: Any, least: int) -> int:
        if type(value) is not int or not least <= value <= _MAX_INT:
            raise self.fault(key, f"a whole number from {least} on", repr(value))
        return value

    def _number(self, key: str, value: Any) -> float | int:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.fault(key, "a finite number", repr(value))
        found: float | int = value
        return found
