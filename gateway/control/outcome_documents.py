"""What the admin API takes and answers about the ledger and outcomes, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from pydantic import Field

from gateway.control.operations import Document


class OutcomesStatus(Document):
    """The ledger and what came of it."""

    records: int = Field(description="that are there")
    bytes: int = Field(description="of its files")
    oldest: float | None = Field(description="when its oldest record was answered, since 1970")
    forgotten_records: int = Field(description="that had to go, ever; what they added up to stays")
    lost_records: int = Field(description="overwritten before they were kept, since the start")
    skipped_rows: int = Field(description="answered without their score, since the start")
