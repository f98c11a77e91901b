"""What the admin API takes and answers about captured rows, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.control.operations import Document
from gateway.outcomes.address import MAX_ID_CHARS, PATTERN

MAX_ERASED = 1000
MAX_SUBJECT_CHARS = 1000


class DroppedRows(Document):
    """Rows that were to be kept and are not, since the server was started."""

    ring: int = Field(description="the worker's ring had no room")
    error: int = Field(description="the log says why")
    lost: int = Field(description="with a control process that was killed")


class CapturedVersion(Document):
    """What became of the rows of a version."""

    model: str
    version: int
    captured: int = Field(description="rows that workers kept since the server was started")
    waiting: int = Field(description="of them, rows that are in no file yet")
    dropped: DroppedRows
    rows: int = Field(description="in files")
    bytes: int = Field(description="of these files")
    oldest: float | None = Field(description="when the first of them was answered")


class CaptureStatus(Document):
    """What is captured, by version."""

    versions: list[CapturedVersion]


class ErasureWanted(Document):
    """What is to be erased."""

    request_ids: list[Annotated[str, Field(max_length=MAX_ID_CHARS, pattern=PATTERN)]] = Field(
        default_factory=list, max_length=MAX_ERASED, description="what penstock-request-id said"
    )
    subjects: list[Annotated[str, Field(min_length=1, max_length=MAX_SUBJECT_CHARS)]] = Field(
        default_factory=list,
        max_length=MAX_ERASED,
        description="values of the request parameter that capture.subject names",
    )


class ErasureReport(Document):
    """What was erased."""

    requests: int = Field(description="that were asked for, or are about the subjects")
    rows: int = Field(description="captured ones")
    records: int = Field(description="of the ledger, with their outcomes")
    waiting: int = Field(description="outcomes that waited for their record")
    begun_anew: list[str] = Field(
        description="versions whose first rows, not yet a reference, were thrown away"
    )
    references: list[str] = Field(
        description="versions held against a reference that was made of their own rows: values of"
        " erased rows may be among its categories and extremes; `penstock profile reset`"
        " forgets it"
    )
