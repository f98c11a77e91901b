"""What the admin API takes and answers about retiring versions, as models.

Knows fields. Knows nothing of how a version leaves.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gateway.control.documents import DIGITS, ModelName
from gateway.control.operations import Document
from gateway.control.version_use import KEPT_DAYS
from gateway.names import MAX_VERSION

MAX_WHY = 1000
DAYS = 7

Days = Annotated[
    int, Field(ge=1, le=KEPT_DAYS, description="callers are those of so many days, today included")
]


class CallersQuery(Document):
    """How far back."""

    days: Annotated[Days, DIGITS] = DAYS


class RetirementWanted(Document):
    """How a version is retired."""

    successor: int | None = Field(
        None,
        ge=1,
        le=MAX_VERSION,
        description="told to whoever names the retired one; by default what answers for the model",
    )
    force: bool = Field(False, strict=True, description="even where it was called of late")
    days: Days = DAYS
    why: str = Field("", max_length=MAX_WHY, description="for whoever reads the audit")


class CallerLine(Document):
    """Who called a version."""

    caller: str | None = Field(description="the name of a key; null: access is open, all together")
    requests: int = Field(description="within the days asked for")
    last: float = Field(description="seconds since 1970")
    days: dict[str, int] = Field(description="requests by day (UTC)")


class Callers(Document):
    """Who called a version of late, the latest first."""

    model: str
    version: int
    days: int
    callers: list[CallerLine]


class RetirementLine(Document):
    """A version that was retired."""

    model: str
    version: int
    at: float = Field(description="seconds since 1970")
    who: str
    why: str
    successor: int | None
    record: dict[str, Any] = Field(description="what was known of it when it left")


class RetirementList(Document):
    """Every version that was retired."""

    retired: list[RetirementLine]


class Unretired(Document):
    """A version that may serve again."""

    model: ModelName
    version: int
    state: str = Field(description="of the repository index")
    reason: str
