"""What the admin API takes and answers about the ledger and outcomes, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from gateway.control.operations import Document
from gateway.outcomes.arrivals import MAX_OUTCOMES
from gateway.outcomes.joins import MAX_TOLD

# Whatever it is: one that cannot be read is counted, and refuses nobody else's.
_OUTCOME: dict[str, Any] = {
    "description": "an object: id (what penstock-request-id said), outcome (a number, a boolean,"
    " the number or name of a class), and maybe row (from 0 on; 0) and at (RFC 3339, or seconds"
    " since 1970; now). Anything else is counted as invalid",
}


class OutcomeList(Document):
    """Outcomes."""

    outcomes: list[Annotated[Any, WithJsonSchema(_OUTCOME)]] = Field(
        min_length=1, max_length=MAX_OUTCOMES
    )


class Counts(Document):
    """How many outcomes became what."""

    accepted: int
    duplicate: int = Field(description="the same stood there")
    corrected: int = Field(description="another one stood there, and was replaced")
    early: int = Field(description="their record is not there yet: they wait for it")
    unknown: int = Field(description="of no answer that is or was in this ledger")
    expired: int = Field(description="their record was forgotten")
    invalid: int


class Received(Document):
    """What became of outcomes."""

    counts: Counts
    faults: list[str] = Field(description=f"why up to {MAX_TOLD} of the invalid ones are")


class OutcomesStatus(Document):
    """The ledger and what came of it."""

    records: int = Field(description="that are there")
    bytes: int = Field(description="of its files")
    oldest: float | None = Field(description="when its oldest record was answered, since 1970")
    forgotten_records: int = Field(description="that had to go, ever; what they added up to stays")
    lost_records: int = Field(description="overwritten before they were kept, since the start")
    waiting: int = Field(description="outcomes whose record is not there yet")
    outcomes: Counts = Field(
        description="since control was started; of those that had to wait, twice"
    )
    skipped_rows: int = Field(description="answered without their score, since the start")
