"""Reads JSON that others wrote, taking nothing for granted.

Knows JSON's types. Knows nothing of any dialect. A field that is missing, null or of another type
reads as the empty value of the type that was asked for; `wanted_*` refuse it instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.errors import InvalidParameter

Values = Mapping[str, Any]
"""A JSON object as it was read."""

NOTHING: Values = {}
MOST = 2**31 - 1
"""No count of tokens or choices is larger; one that is would be of no use in a sum."""


def text(values: Values, key: str) -> str:
    """The text of a field, else the empty one."""
    value = values.get(key)
    return value if type(value) is str else ""


def count(values: Values, key: str) -> int:
    """A count of 0 to `MOST`, else 0; a true or false is none."""
    value = values.get(key)
    if type(value) is int:
        return value if 0 <= value <= MOST else 0
    return int(value) if type(value) is float and 0 <= value <= MOST else 0


def mapping(values: Values, key: str) -> Values:
    """The object of a field, else the empty one."""
    value = values.get(key)
    return value if type(value) is dict else NOTHING


def mappings(values: Values, key: str) -> list[dict[str, Any]]:
    """The objects in the list of a field; what is none is left out."""
    value = values.get(key)
    return [item for item in value if type(item) is dict] if type(value) is list else []


def written(value: object, default: Callable[[Any], object] | None = None) -> str:
    """A value as JSON; empty where it is nested deeper than can be written.

    Args:
        value: to be written.
        default: makes a value of JSON of what is none.
    """
    try:
        return orjson.dumps(value, default).decode()
    except orjson.JSONEncodeError:
        return ""


def wanted_count(values: Values, key: str, least: int = 0) -> int | None:
    """A count that decides what a request may cost; None: it is not there, or null.

    Raises:
        InvalidParameter: it is anything else. Servers that take "100" or 1e9 for a number would
            otherwise do what nobody reserved.
    """
    value = values.get(key)
    if value is None or (type(value) is int and least <= value <= MOST):
        return value
    raise InvalidParameter(
        f"parameter '{key}': expected an integer of {least} to {MOST}, got {shown(value)}"
    )


def wanted_flag(values: Values, key: str) -> bool:
    """A true or false; missing or null is false.

    Raises:
        InvalidParameter: it is anything else.
    """
    value = values.get(key)
    if value is None or type(value) is bool:
        return bool(value)
    raise InvalidParameter(f"parameter '{key}': expected true or false, got {shown(value)}")


def shown(value: object, most: int = 60) -> str:
    """A value as a message quotes it."""
    told = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return told if len(told) <= most else told[:most] + "..."
