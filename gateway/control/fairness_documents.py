"""What the admin API answers about groups of rows, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, create_model

from gateway.control.documents import optional
from gateway.control.drift_documents import MAX_ROWS, WINDOW
from gateway.control.operations import Document
from gateway.outcomes.fairness import DISPARITIES, MIN_ROWS, RATES
from gateway.outcomes.worst import FIGURES

_FIGURE = WithJsonSchema({"type": "string", "enum": list(FIGURES)})


class GroupQuery(Document):
    """Which answers, and how many of them say something."""

    window: Annotated[str, WithJsonSchema(WINDOW)] | None = Field(
        None,
        description="answers of so long ago at most: 1m to 30d; by default all that ever were",
        json_schema_extra=optional,
    )
    min_rows: int = Field(
        MIN_ROWS, ge=1, le=MAX_ROWS, description="what is of fewer is compared with nothing"
    )


class FairnessQuery(GroupQuery):
    """Which slicing."""

    slice: str | None = Field(
        None,
        max_length=200,
        description="name of a slicing of models.NAME.slices; by default all",
        json_schema_extra=optional,
    )


class WorstQuery(GroupQuery):
    """Which figure."""

    figure: Annotated[str, _FIGURE] = Field(
        "error_rate", description="that slices are held against"
    )


class RateFigure(Document):
    """How often something was so; it lies within, with probability 0.95 at all times at once."""

    value: float | None = Field(description="null: it never could be")
    low: float | None
    high: float | None
    trials: int = Field(description="rows that it is of")
    compared: bool = Field(description="it is of min_rows at least, and its rows are a group")


class DisparityFigure(Document):
    """How far groups lie apart; it lies within, with probability 0.95 at all times at once."""

    value: float | None = Field(description="null: there are not two groups to compare")
    low: float | None
    high: float | None
    groups: int = Field(description="that were compared")


_RATES: dict[str, Any] = dict.fromkeys(RATES, (RateFigure, ...))
_DISPARITIES: dict[str, Any] = dict.fromkeys(DISPARITIES, (DisparityFigure, ...))
Rates = create_model("Rates", __base__=Document, __doc__="Of one group.", **_RATES)
Disparities = create_model(
    "Disparities", __base__=Document, __doc__="Between the groups of a slicing.", **_DISPARITIES
)


class GroupLine(Document):
    """Rows of one group."""

    name: str
    n: int = Field(description="answered, with a score")
    labelled: int = Field(description="of them, whose outcome is known")
    rates: Rates


class SlicingFairness(Document):
    """One slicing."""

    slicing: str
    groups: list[GroupLine] = Field(description="last the rows that are in none: `other`")
    disparities: Disparities


class FairnessReport(Document):
    """How groups of rows fare beside one another."""

    model: str
    version: int
    window_s: float | None = Field(description="null: of all that ever was answered")
    end: float = Field(description="of the window, seconds since 1970")
    min_rows: int
    slicings: list[SlicingFairness]


class WorseSlice(Document):
    """Rows that are worse off than all others; intervals hold for all slices together."""

    groups: dict[str, str] = Field(description="a group by its slicing; of one or of two")
    n: int = Field(description="rows that the figure is of")
    value: float
    low: float
    high: float
    rest: float = Field(description="the figure of all other rows")
    difference: float
    difference_low: float
    difference_high: float
    log10_e: float = Field(description="evidence that it is worse; 0: none")


class WorstReport(Document):
    """Which groups, and pairs of them, a version serves worse than the rest, beyond chance."""

    model: str
    version: int
    window_s: float | None = Field(description="null: of all that ever was answered")
    end: float = Field(description="of the window, seconds since 1970")
    min_rows: int
    figure: Annotated[str, _FIGURE]
    looked_at: int = Field(description="slices with min_rows, beside as many others")
    false_discovery_rate: float = Field(
        description="of those that are named, so many are not worse at most, in expectation"
    )
    slices: list[WorseSlice] = Field(description="the largest difference first")
