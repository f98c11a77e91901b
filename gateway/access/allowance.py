"""What somebody may spend, and how fast, as people write it: `10usd/day`, `1000000tokens/month`.

Knows words and numbers. Knows nothing of what was spent, or of who counts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from gateway.errors import InvalidParameter

PICO: Final = 10**12
UNITS: Final = ("usd", "tokens")
WINDOWS: Final = ("day", "month", "total")
BUDGET_PATTERN: Final = r"^[0-9]{1,16}(\.[0-9]{1,12})?(usd|tokens)/(day|month|total)$"
# Beyond this the sums of one server's life could pass what 64 bits hold: a million dollars, and
# as many tokens as a large provider answers in a day.
MAX_USD: Final = 1_000_000
MAX_TOKENS: Final = 10**15
# A rate's arithmetic is exact up to here.
MAX_PER_MINUTE: Final = 150_000_000
MAX_PARALLEL: Final = 1_000_000
MAX_BUDGETS: Final = len(UNITS) * len(WINDOWS)
MAX_TAGS: Final = 4  # of one caller
_BUDGET: Final = re.compile(r"([0-9.]+)(usd|tokens)/(day|month|total)")


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits of one key, team or tag; None: no such limit.

    Attributes:
        budgets: of each unit (pico-dollars, tokens) for each window: a day, a month, for ever.
        requests_per_minute: a minute's worth may come at once, and comes back continuously.
        tokens_per_minute: likewise.
        max_parallel: requests that may be under way at once.
    """

    budgets: tuple[int | None, ...] = (None,) * MAX_BUDGETS
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_parallel: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As documents, commands and the admin API write it."""
        return {
            "budgets": budget_texts(self.budgets),
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_minute": self.tokens_per_minute,
            "max_parallel": self.max_parallel,
        }


UNLIMITED: Final = Allowance()


def read_budgets(texts: Iterable[str], what: str) -> tuple[int | None, ...]:
    """Budgets as `Allowance` has them.

    Raises:
        InvalidParameter: one is none, too large, or of a unit and window that another is of; the
            message begins with `what`.
    """
    found: list[int | None] = [None] * MAX_BUDGETS
    for text in texts:
        place, amount = _budget(text, what)
        if found[place] is not None:
            raise InvalidParameter(f"{what}: expected one budget a unit and window, got {text!r}")
        found[place] = amount
    return tuple(found)


def budget_texts(budgets: Iterable[int | None]) -> list[str]:
    """The inverse of `read_budgets`."""
    texts = []
    for place, amount in enumerate(budgets):
        if amount is not None:
            unit, window = divmod(place, len(WINDOWS))
            number = str(amount) if unit else dollars(amount)
            texts.append(f"{number}{UNITS[unit]}/{WINDOWS[window]}")
    return texts


def dollars(pico: int) -> str:
    """Pico-dollars as dollars, exactly and without an exponent."""
    text = format(Decimal(pico).scaleb(-12), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_allowance(values: Mapping[str, Any], what: str) -> Allowance:
    """The inverse of `Allowance.as_json`.

    Raises:
        InvalidParameter: a value cannot be; the message begins with `what`.
    """
    minute = MAX_PER_MINUTE
    return Allowance(
        read_budgets(values.get("budgets") or (), f"{what}.budgets"),
        _number(values, "requests_per_minute", minute, what),
        _number(values, "tokens_per_minute", minute, what),
        _number(values, "max_parallel", MAX_PARALLEL, what),
    )


def _number(values: Mapping[str, Any], name: str, most: int, what: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidParameter(f"{what}.{name}: expected 0 to {most}, got {value!r}")
    return value


def _budget(text: str, what: str) -> tuple[int, int]:
    if not re.fullmatch(BUDGET_PATTERN, text):
        raise InvalidParameter(
            f"{what}: expected a budget such as 10usd/day, 2.50usd/month or 1000000tokens/total,"
            f" got {text[:80]!r}"
        )
    found = _BUDGET.fullmatch(text)
    assert found is not None, "the pattern says so"
    unit, window = UNITS.index(found[2]), WINDOWS.index(found[3])
    number = Decimal(found[1])
    most = MAX_TOKENS if unit else MAX_USD
    if number > most:
        raise InvalidParameter(f"{what}: expected at most {most}{found[2]}, got {text!r}")
    if unit and number != number.to_integral_value():
        raise InvalidParameter(f"{what}: expected whole tokens, got {text!r}")
    return unit * len(WINDOWS) + window, int(number if unit else number * PICO)
