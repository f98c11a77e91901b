"""What the admin API takes and answers about drift, as models.

Knows fields. Knows nothing of how figures are made.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, create_model

from gateway.config.against import PATTERN
from gateway.control.documents import ModelName, optional
from gateway.control.operations import Document
from gateway.drift.report import NUMBERS
from gateway.drift.verdict import VERDICTS

MAX_VERSION = 2**53
MAX_ROWS = 10**12
MAX_SLICE_CHARS = 300
WINDOW: dict[str, Any] = {"type": "string", "pattern": "^[1-9][0-9]{0,6}[smhd]$"}
_REFERENCE: dict[str, Any] = {"type": "string", "pattern": PATTERN}
Verdict = Annotated[str, WithJsonSchema({"type": "string", "enum": list(VERDICTS)})]


class VersionPath(Document):
    """Which version of which model."""

    model: ModelName
    version: int = Field(ge=1, le=MAX_VERSION)


class DriftQuery(Document):
    """Which window of it."""

    window: Annotated[str, WithJsonSchema(WINDOW)] = Field(
        "10m", description="how far to look back: 1m to 30d"
    )
    rows: int | None = Field(
        None,
        ge=1,
        le=MAX_ROWS,
        description="look back by rows instead: the newest panes that hold at least so many",
        json_schema_extra=optional,
    )
    variant: str | None = Field(
        None,
        max_length=200,
        description="of a route; by default all together",
        json_schema_extra=optional,
    )
    slice: str | None = Field(
        None,
        max_length=MAX_SLICE_CHARS,
        description="SLICING:GROUP of models.NAME.slices: of its rows alone",
        json_schema_extra=optional,
    )
    reference: Annotated[str, WithJsonSchema(_REFERENCE)] = Field(
        "fixed",
        description="the profile, or, with its edges, what came before the window (rolling:7d) or"
        " in the same hours of earlier weeks (same-hours:4w)",
    )
    against: int | None = Field(
        None,
        ge=1,
        le=MAX_VERSION,
        description="another version, whose traffic of the same time stands in the profile's place",
        json_schema_extra=optional,
    )
    bins: Literal["0", "1"] = Field("0", description="1: with the counts of each bin")


class Bin(Document):
    """One bin: the values above the bin before and up to `le`, or one category."""

    le: float | None
    category: str | int | bool | None
    count: int
    reference: int


class _Column(Document):
    """One column's figures; null where one does not exist."""

    name: str
    tensor: str
    type: str
    rows: int
    reference_rows: int
    quantiles: dict[str, float | None] | None
    distance: float | None
    effect_floor: float = Field(description="what `distance` must reach to be drift")
    log10_e: float | None
    verdict: Verdict
    alarm: Verdict
    alarm_log10_e: float | None
    alarm_rows: int
    bins: list[Bin] | None = None


_NUMBERS: dict[str, Any] = dict.fromkeys(NUMBERS, (float | None, ...))
ColumnLine = create_model("ColumnLine", __base__=_Column, __doc__=_Column.__doc__, **_NUMBERS)


class BreachLine(Document):
    """How often a rule was broken."""

    feature: str
    rule: str
    count: int = Field(ge=1)


class ContractFigures(Document):
    """What a version's inputs broke of its contract: in a window, or since the server started."""

    digest: str
    policy: Literal["observe", "warn", "reject"] | None = Field(
        description="what becomes of a breach; null: nothing is held against it"
    )
    rows: int = Field(ge=0, description="that were held against it")
    skipped_rows: int = Field(ge=0, description="that could not be, and passed")
    violations: list[BreachLine]


class DriftReport(Document):
    """How a window compares with the reference."""

    model: str
    version: int
    variant: str | None
    slice: str | None = Field(description="whose rows it is of; null: of all")
    window_s: float
    start: float
    end: float
    rows: int
    skipped_rows: int
    reference_rows: int
    reference: str
    reference_kind: str = Field(
        description="fixed; rolling or same-hours with its length; version with its number"
    )
    reference_weeks: int | None = Field(
        description="of same-hours: in how many of its weeks rows were counted"
    )
    self_referenced: bool = Field(description="the reference was live traffic")
    coarse_columns: int = Field(
        description="features and outputs that are counted in 10 bins at most, there being so many"
    )
    verdict: Verdict
    drifting_features: int
    drifting_share: float
    alarm: Verdict
    prediction_verdict: Verdict
    features: list[ColumnLine]
    outputs: list[ColumnLine]
    contract: ContractFigures | None = Field(
        None, description="data quality by rule, of all traffic in the window; null: no contract"
    )
