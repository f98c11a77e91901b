"""What a contract takes, in words for people.

Knows columns and rules. Knows nothing of requests.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from gateway.contracts.values import Choice, Column, Range
from gateway.profiles.document import short
from kernels import contracts

MAX_TEXT: Final = 64
_MAX_LISTED: Final = 10


def wanted(column: Column, rule: int) -> str:
    """What should have stood where a rule was broken."""
    if isinstance(column, Choice):
        return "a value" if rule == contracts.MISSING else takes(column)
    said = {
        contracts.MISSING: "a number",
        contracts.INFINITE: "a finite number",
        contracts.FRACTION: "a whole number",
    }
    return said.get(rule) or _range(column)


def takes(column: Column) -> str:
    """What a column takes, besides missing values."""
    if isinstance(column, Range):
        kind = "whole numbers, " if column.whole else ""
        return kind + _range(column) + (" or infinite" if column.infinite else "")
    if column.others:
        return "anything"
    known = ", ".join(repr(one)[:MAX_TEXT] for one in column.categories[:_MAX_LISTED])
    more = ", ..." if len(column.categories) > _MAX_LISTED else ""
    return f"one of {known or 'none'}{more}"


def number(value: Any) -> str:
    """A number in the fewest digits that say which it is, as contracts are written."""
    if isinstance(value, np.float32):
        return repr(short(value))
    return repr(value.item() if isinstance(value, np.generic) else value)


def _range(column: Range) -> str:
    low, high = _bound(column.min), _bound(column.max)
    if column.min is None and column.max is None:
        return "any"
    if column.min is None:
        return f"at most {high}"
    if column.max is None:
        return f"at least {low}"
    return low if column.min == column.max else f"{low} to {high}"


def _bound(value: float | int | None) -> str:
    """A bound of a float32 column is a float32, whose own digits are fewer."""
    if not isinstance(value, float):
        return repr(value)
    own = np.float32(value) if abs(value) <= np.finfo(np.float32).max else None
    return number(own) if own is not None and float(own) == value else repr(value)
