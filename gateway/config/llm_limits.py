"""What teams and tags may spend together, and how fast.

Knows names and limits. Knows nothing of which keys belong to whom: keys say that themselves.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator

from gateway.access.allowance import (
    BUDGET_PATTERN,
    MAX_BUDGETS,
    MAX_PARALLEL,
    MAX_PER_MINUTE,
    Allowance,
    read_budgets,
)
from gateway.access.keys import NAME_PATTERN, is_name
from gateway.config.words import Section
from gateway.errors import InvalidParameter

MAX_GROUPS: Final = 10_000


def _group_name(name: str) -> str:
    if not is_name(name):
        raise ValueError("expected 1 to 64 letters, digits, dots, dashes or underscores")
    return name


def _budget(text: str) -> str:
    try:
        read_budgets([text], "budget")
    except InvalidParameter as error:
        raise ValueError(str(error).removeprefix("budget: ")) from error
    return text


_NAME: Any = WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})
GroupName = Annotated[str, AfterValidator(_group_name), _NAME]
BudgetText = Annotated[
    str,
    AfterValidator(_budget),
    WithJsonSchema({"type": "string", "pattern": BUDGET_PATTERN}),
]
PerMinute = Annotated[int, Field(ge=0, le=MAX_PER_MINUTE)]


class Limited(Section):
    """What may be spent together, and how fast. Days and months are those of UTC."""

    budgets: list[BudgetText] = Field(
        default_factory=list,
        max_length=MAX_BUDGETS,
        description="`10usd/day`, `1000000tokens/month`, `500usd/total`; one a unit and window",
    )
    requests_per_minute: PerMinute | None = Field(
        None, description="a minute's worth may come at once, and comes back continuously"
    )
    tokens_per_minute: PerMinute | None = Field(None, description="input and output together")
    max_parallel: Annotated[int, Field(ge=0, le=MAX_PARALLEL)] | None = Field(
        None, description="requests that are under way at once"
    )

    @field_validator("budgets")
    @classmethod
    def _told_apart(cls, budgets: list[str]) -> list[str]:
        try:
            read_budgets(budgets, "")
        except InvalidParameter as error:
            raise ValueError(str(error).removeprefix(": ")) from error
        return budgets

    @property
    def allowance(self) -> Allowance:
        """The same as numbers."""
        return Allowance(
            read_budgets(self.budgets, "budgets"),
            self.requests_per_minute,
            self.tokens_per_minute,
            self.max_parallel,
        )
