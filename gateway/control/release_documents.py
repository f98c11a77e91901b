"""What the admin API takes and answers of contracts and monitoring releases, as models.

Knows fields. Knows nothing of where their values come from.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from gateway.control.config_documents import MAX_NOTE
from gateway.control.documents import Number, optional
from gateway.control.drift_documents import ContractFigures, VersionPath
from gateway.control.operations import Document

Bound = Annotated[int | float | None, Field(description="included; null: none")]


class ContractColumn(Document):
    """What one column may hold: numbers have `min` and `max`, categories `categories`."""

    name: str
    missing: bool = Field(description="missing values are taken")
    min: Bound = None
    max: Bound = None
    whole: bool | None = Field(None, description="fractions are not taken")
    infinite: bool | None = Field(None, description="infinities are taken")
    categories: list[bool | int | str] | None = None
    others: bool | None = Field(None, description="categories that are not listed are taken")


class ContractTensor(Document):
    """One input."""

    name: str
    datatype: str
    columns: list[ContractColumn]


class ContractDocument(Document):
    """A contract, as it is written to files."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: int = Field(alias="schema", ge=1)
    tensors: list[ContractTensor]


class NoteQuery(Document):
    """Why."""

    note: str = Field("", max_length=MAX_NOTE, description="why, for the history")


class BackQuery(NoteQuery):
    """Which release comes back."""

    release: Number | None = Field(
        None, description="by default the one before", json_schema_extra=optional
    )


class ContractShown(ContractFigures):
    """A version's contract, and what its inputs broke of it."""

    model: str
    version: int
    release: int = Field(ge=1, description="the monitoring release in force")
    edited: bool = Field(description="somebody set it; it was not inferred from the profile")
    contract: dict[str, Any] = Field(description="as PUT takes it")


class ReleaseLine(Document):
    """What a version was or is watched by."""

    number: int = Field(ge=1)
    at: float = Field(description="seconds since 1970")
    who: str
    note: str
    profile: str = Field(description="SHA-256 of the reference profile")
    rows: int = Field(ge=0, description="of the profile")
    self_referenced: bool = Field(description="the profile is of the model's own first traffic")
    contract: str = Field(description="SHA-256 of the contract")
    edited: bool = Field(description="somebody set the contract")
    thresholds: list[dict[str, Any]] = Field(description="alert rules")


class ReleaseShown(ReleaseLine):
    """One release with its contract."""

    contract_document: dict[str, Any] = Field(description="as PUT takes it")


class ReleasePath(VersionPath):
    """Which release of which version."""

    number: Number


class ReleaseList(Document):
    """The releases of a version, the newest first."""

    model: str
    version: int
    releases: list[ReleaseLine]


class Changed(Document):
    """What came of a change."""

    release: ReleaseLine
    plan: int = Field(description="what the workers follow")
