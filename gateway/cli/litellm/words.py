"""What the parts of the conversion have in common: sections, and what is left out of them.

Knows no setting of either document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

VARIABLE: Final = "os.environ/"
"""How LiteLLM says that a value stands in a variable of the environment."""

ALIAS: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
"""What an alias may be."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was not carried over, or means something else from now on."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Converted:
    """A document of ours, and what is not in it."""

    document: dict[str, Any]
    left_out: list[LeftOut]


@dataclass(slots=True)
class Notes:
    """Gathers what is left out while a document is read."""

    found: list[LeftOut] = field(default_factory=list)

    def leave(self, path: str, why: str) -> None:
        """Notes one, once."""
        one = LeftOut(path, why)
        if one not in self.found:
            self.found.append(one)


class Section:
    """One mapping of LiteLLM's document, of which every setting is taken, or told as left out."""

    def __init__(self, values: object, path: str, notes: Notes) -> None:
        """`values`: what stands there; anything but a mapping is told, and empty."""
        self.path = path
        self.notes = notes
        self._values: Mapping[str, Any] = {}
        self._taken: set[str] = set()
        if isinstance(values, Mapping):
            self._values = {str(key): value for key, value in values.items()}
        elif values is not None:
            notes.leave(path, "expected a mapping")

    def take(self, name: str) -> Any:
        """What a setting says; None: nothing."""
        self._taken.add(name)
        return self._values.get(name)

    def text(self, name: str) -> str:
        """A setting that is text; empty: it is not there, or no text.

        YAML takes a version such as 2024-02-01 for a date, and some names for numbers.
        """
        value = self.take(name)
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, int | float | date) and not isinstance(value, bool):
            return str(value)
        self.leave(name, "expected text")
        return ""

    def number(self, name: str, least: float = 0.0, most: float = 1e9) -> float | None:
        """A setting that is a number from `least` to `most`; YAML has `1e-6` for text."""
        value = self.take(name)
        if value is None:
            return None
        try:
            found = float(value) if isinstance(value, int | float | str) else None
        except ValueError:
            found = None
        if found is None or isinstance(value, bool) or not least <= found <= most:
            single = isinstance(value, str | int | float)
            got = repr(value)[:40] if single else f"a {type(value).__name__}"
            self.leave(name, f"expected a number of {least:g} to {most:g}, got {got}")
            return None
        return found

    def whole(self, name: str, least: int = 0) -> int | None:
        """The same, in whole numbers."""
        found = self.number(name, least)
        return None if found is None else int(found)

    def items(self, name: str) -> list[Any]:
        """A setting that is a list; empty: it is not there, or none."""
        value = self.take(name)
        if value is None or isinstance(value, list):
            return value or []
        self.leave(name, "expected a list")
        return []

    def section(self, name: str) -> Section:
        """A setting that is a mapping."""
        return Section(self.take(name), f"{self.path}.{name}".lstrip("."), self.notes)

    def leave(self, name: str, why: str) -> None:
        """Notes that a setting is left out."""
        self.notes.leave(f"{self.path}.{name}".lstrip("."), why)

    def leave_rest(self, why: Mapping[str, str], otherwise: str) -> None:
        """Notes every setting that nobody has taken, by why, or by the first part of its name."""
        for name, value in self._values.items():
            if name in self._taken or value is None:
                continue
            reason = why.get(name) or next(
                (
                    text
                    for start, text in why.items()
                    if start[-1:] == "_" and name.startswith(start)
                ),
                otherwise,
            )
            self.leave(name, reason)
