"""What the admin API takes and answers about shadows, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, WithJsonSchema

from gateway.control.documents import ModelName, Number, optional
from gateway.control.operations import Document
from gateway.names import MAX_VERSION

_WINDOW: Final = {"type": "string", "pattern": "^[1-9][0-9]{0,3}[smh]$", "maxLength": 5}


class ShadowsPath(Document):
    """Whose shadows."""

    model: ModelName = Field(description="the model that clients call")


class ShadowPath(ShadowsPath):
    """Which shadow."""

    version: int = Field(ge=1, le=MAX_VERSION, description="of the shadow")


class ShadowsQuery(Document):
    """Which rows."""

    window: Annotated[str, WithJsonSchema(_WINDOW)] | None = Field(
        None,
        description="how far to look back: 10s to 1h; by default to the server's start",
        json_schema_extra=optional,
    )


class Share(Document):
    """A share of rows, and where it lies for sure at all times (95 %)."""

    value: float | None
    low: float | None
    high: float | None
    rows: int = Field(description="that have it")


class PairRows(Document):
    """What became of the rows that were copied."""

    copied: int
    compared: int
    dropped: int = Field(description="found no room, or their shadow was taken away")
    failed: int = Field(description="the shadow could not answer")
    unlike: int = Field(description="one of the two scores is no number, or there is none")
    waiting: int


class Bin(Document):
    """Rows by a value of theirs; null: no bound."""

    above: float | None
    up_to: float | None
    rows: int


class Differences(Document):
    """How the shadow's scores differ; of predicted numbers, bins are of a part of the larger."""

    compared: str = Field(description="probabilities, values or whole answers")
    mean: float | None
    low: float | None = Field(description="where the mean lies for sure at all times (95 %)")
    high: float | None
    higher: int = Field(description="rows whose score is higher at the shadow")
    lower: int
    log10_e: float = Field(description="evidence that one side is more frequent; 1.3 is 20 to 1")
    bins: list[Bin] = Field(description="by the shadow's score less the one that was answered")


class CalibrationBin(Document):
    """Rows by the shadow's probability."""

    above: float
    up_to: float
    rows: int
    answered: float = Field(description="mean of what was answered")
    shadow: float = Field(description="mean of what the shadow says")


class ShadowCalibration(Document):
    """The shadow's probabilities beside those that were answered."""

    gap: float | None = Field(description="how far both means lie apart, on the average of rows")
    bins: list[CalibrationBin]


class ShadowCost(Document):
    """Processor time of a row, in microseconds, of runs that both versions have made."""

    row_us: float | None = Field(description="of the shadow")
    answered_row_us: float | None
    ratio: float | None


class AnswerAspect(Document):
    """Something that two answers of language models agree in or do not."""

    name: str = Field(description="finish, refused, empty, json_valid or tools")
    compared: int
    differing: Share
    answered_only: int | None = Field(
        description="it is so of what was answered alone; null: it is none that is so or is not"
    )
    shadow_only: int | None
    log10_e: float | None = Field(description="evidence that one has it more often; 1.3: 20 to 1")


class AnswerMeasure(Document):
    """Something that there is more or less of at a shadow."""

    name: str = Field(description="output_tokens, first_token_s, duration_s or cost_usd")
    rows: int = Field(description="of which both are known")
    answered: float = Field(description="mean of what was answered")
    shadow: float = Field(description="mean of what the shadow said")
    ratio: float | None = Field(description="geometric mean of the shadow's over the other")
    low: float | None = Field(description="where that lies for sure at all times (95 %)")
    high: float | None
    higher: int
    lower: int
    log10_e: float = Field(description="evidence that one side is more frequent; 1.3 is 20 to 1")
    bins: list[Bin] = Field(description="by that ratio")


class Likeness(Document):
    """How alike texts are: the share of short pieces that stand in both."""

    value: float | None
    low: float | None
    high: float | None
    rows: int = Field(description="of which one at least has a text")
    bins: list[Bin]


class AnswerReport(Document):
    """What a language model answered, beside what its shadow says."""

    aspects: list[AnswerAspect]
    measures: list[AnswerMeasure]
    likeness: Likeness


class RightWhere(Document):
    """Which of the two was right where they disagree; of all that is known, whatever the window."""

    known: int = Field(description="sampled rows that disagree and whose outcome is known")
    answered: int = Field(description="of them, where what was answered was right")
    shadow: int = Field(description="where the shadow was")
    log10_e: float = Field(description="evidence that one is right more often; 1.3 is 20 to 1")


class PairReport(Document):
    """A version that answers, and one of its shadows."""

    answered: int
    shadow: int
    share: float = Field(description="of requests that are copied now; 0: none is")
    rows: PairRows
    disagreement: Share
    failures: Share
    difference: Differences
    calibration: ShadowCalibration
    cost: ShadowCost
    answers: AnswerReport | None = Field(description="null: it is no language model")
    right: RightWhere
    window_s: float | None = Field(description="null: since the server was started")


class ShadowReport(Document):
    """What the shadows of a route say beside what was answered."""

    route: str
    pairs: list[PairReport]


class DifferentRow(Document):
    """A row about which two versions differ much."""

    answered: int = Field(description="the version that did")
    request_id: str
    row: int
    at: float = Field(description="seconds since 1970")
    unlikeness: float = Field(
        description="how far scores, or texts, lie apart; above 1 where they disagree"
    )
    agree: bool
    inputs: dict[str, Any] | None = Field(description="null: too large, or hidden")
    said: dict[str, Any] | None
    shadow_said: dict[str, Any] | None


class DifferentRows(Document):
    """The rows of a shadow that differ most, the most different first."""

    route: str
    shadow: Number
    rows: list[DifferentRow]
