"""What the admin API takes and answers of the configuration, as models.

Knows fields. Knows nothing of where their values come from.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gateway.control.documents import ModelLine, Number, PageSize, optional
from gateway.control.operations import Document

MAX_NOTE = 1000
MAX_SOURCE = 4096


class RevisionPath(Document):
    """Which revision."""

    number: Number


class RevisionLine(Document):
    """A document that was in force."""

    number: int = Field(ge=0, description="0 stands for the empty document before the first")
    at: float = Field(description="seconds since 1970")
    who: str
    note: str = Field(description="why, as whoever applied it said")
    source: str = Field(description="the file it came from, if it came from one")
    sha256: str = Field(description="of the document")
    restores: int | None = Field(
        description="of a rollback, the revision whose document it is; null: of no rollback"
    )


class WholeRevision(RevisionLine):
    """A revision with its document."""

    document: str = Field(description="YAML, as it was applied")


class Revisions(Document):
    """Revisions, the newest first."""

    revisions: list[RevisionLine]
    next: int | None = Field(description="`before` of the next page; null where this was the last")


class RevisionsQuery(Document):
    """Which revisions."""

    before: Number | None = Field(
        None,
        description="a revision's number; those before it are told",
        json_schema_extra=optional,
    )
    limit: PageSize = 100


class Setting(Document):
    """One value in force."""

    path: str = Field(description="where it stands in the document, as models.fraud.timeout_ms")
    value: Any
    source: str = Field(description="default, document, or the variable or option that set it")


class Effective(Document):
    """Every value in force."""

    revision: int
    settings: list[Setting]


class Change(Document):
    """One thing that a document changes."""

    path: str
    kind: Literal["changed", "added", "removed"]
    before: Any = Field(description="a value; of a whole model, its settings")
    after: Any = Field(description="likewise")
    inherited: Literal["", "before", "after"] = Field(
        description="the side on which the document does not say so itself"
    )
    restart: bool = Field(description="takes effect at the next start of a server")
    model: str = Field(description="whose it is, if it is a model's")
    models: list[str] = Field(description="of a default, the models that change with it")
    kept_by: str = Field(description="the variable or option because of which nothing changes")
    kept: Any = Field(description="the value that stays, then")


class Applied(Document):
    """What came of a new or an earlier document, or would."""

    revision: int = Field(description="the newest now")
    before: int = Field(description="the one that it was before")
    dry_run: bool = Field(description="nothing was changed")
    changes: list[Change]
    plan: int = Field(description="what the workers follow")
    absent: list[ModelLine] = Field(description="what does not serve")
    refused: list[ModelLine] = Field(
        description="of those, what is new, and what models that change should serve"
    )


class IfMatch(Document):
    """The revision that is changed, so that nobody's work is overwritten unseen."""

    revision: str | None = Field(
        None,
        alias="If-Match",
        description='the ETag of what is in force: its number in quotes, as "3"',
        json_schema_extra=optional,
    )


class ChangeQuery(Document):
    """How the configuration is changed."""

    dry_run: Literal["0", "1"] = Field("0", description="only tell what would change")
    note: str = Field("", max_length=MAX_NOTE, description="why, for the history")


class ApplyQuery(ChangeQuery):
    """How a document is applied."""

    source: str = Field("", max_length=MAX_SOURCE, description="the file that it comes from")


class RollbackQuery(ChangeQuery):
    """Which revision comes back."""

    revision: Number | None = Field(
        None,
        description="by default the newest that is older than the one that brought the document in"
        " force, and says something else",
        json_schema_extra=optional,
    )
