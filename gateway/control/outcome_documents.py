"""What the admin API takes and answers about the ledger and outcomes, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, create_model

from gateway.config.words import MetricName
from gateway.control.documents import optional
from gateway.control.drift_documents import MAX_SLICE_CHARS, WINDOW
from gateway.control.operations import Document
from gateway.outcomes.documents import MAX_OUTCOMES
from gateway.outcomes.figures import NAMES
from gateway.outcomes.results import MAX_TOLD

# Whatever it is: one that cannot be read is counted, and refuses nobody else's.
_OUTCOME: dict[str, Any] = {
    "description": "an object: id (what penstock-request-id said) or client_id (what the request"
    " said), outcome (a number, a boolean, the number or name of a class) or reward (a number; of"
    " `metric`, where it is named) or both, and maybe row (from 0 on; 0) and at (RFC 3339, or"
    " seconds since 1970; now). Anything else is counted as invalid",
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
    ambiguous: int = Field(description="of a client's id that several requests have")
    unsampled: int = Field(description="of a request that ledger.share left out")
    unknown: int = Field(description="of no answer that is or was in this ledger")
    expired: int = Field(description="their record was forgotten")
    invalid: int


class Received(Document):
    """What became of outcomes."""

    counts: Counts
    faults: list[str] = Field(
        description=f"why up to {MAX_TOLD} of those that were not joined were not"
    )


class PerformanceQuery(Document):
    """Which answers."""

    window: Annotated[str, WithJsonSchema(WINDOW)] | None = Field(
        None,
        description="answers of so long ago at most: 1m to 30d; by default all that ever were",
        json_schema_extra=optional,
    )
    slice: str | None = Field(
        None,
        max_length=MAX_SLICE_CHARS,
        description="SLICING:GROUP of models.NAME.slices: of its rows alone",
        json_schema_extra=optional,
    )


class ReliabilityLine(Document):
    """Outcomes of scores above the line before and up to `le`."""

    le: float
    n: int
    mean_score: float | None
    mean_outcome: float | None
    low: float | None = Field(description="where the rate of outcomes lies, each line by itself")
    high: float | None


class Interval(Document):
    """Where a figure lies, with probability 0.95 at all times at once."""

    low: float
    high: float


class ClassFigures(Document):
    """One class of several."""

    number: int
    name: str | None
    predicted: int
    actual: int
    right: int
    precision: float | None
    recall: float | None
    f1: float | None
    intervals: dict[str, Interval] = Field(description="of these three, each by itself")


class Confusion(Document):
    """What was predicted, and what was."""

    tp: int
    fp: int
    tn: int
    fn: int


class BesideLine(Document):
    """An estimate beside the truth, of the labelled rows alone."""

    estimated: float
    realised: float
    difference: float = Field(description="realised - estimated")
    low: float | None = Field(
        description="where `realised` would lie, did scores mean what they say"
    )
    high: float | None


class EstimateReport(Document):
    """An estimate: what scores lead to expect, as long as no concept drifts. It is no truth."""

    calibrated: bool = Field(
        description="scores were held against labels when the profile was made; false: they are"
        " taken for probabilities as they are, which nobody vouched for"
    )
    rows: int = Field(description="n: all rows with a score, labelled or not")
    labelled: int
    figures: dict[str, float | None]
    bands: dict[str, Interval | None] = Field(
        description="where the truth of these rows would lie, by chance of their outcomes alone"
    )
    beside: dict[str, BesideLine]


_NUMBERS: dict[str, Any] = dict.fromkeys(NAMES, (float | None, ...))
FigureValues = create_model(
    "FigureValues",
    __base__=Document,
    __doc__="Every figure; null where it does not exist. All are of `labelled` rows.",
    **_NUMBERS,
)


class MetricPath(Document):
    """Of a metric."""

    metric: MetricName


class MetricForgotten(Document):
    """The metric that there was."""

    metric: str


class MetricLine(Document):
    """What is known of one metric."""

    name: str
    n: int = Field(description="rows that have a number of it")
    coverage: float | None = Field(description="n / records")
    mean: float
    sum: float
    min: float
    max: float
    std: float | None
    low: float | None = Field(
        description="the mean lies above, and below `high`, with probability 0.95 at all times at"
        " once; null: there are too few"
    )
    high: float | None


class HeldOutReport(Document):
    """How right a version was about rows that chance held out: of them, of all."""

    share: float = Field(description="of requests that were held out")
    policy: str = Field(description="what whoever asked was told to follow")
    records: int = Field(description="rows held out by this share")
    labelled: int
    coverage: float | None = Field(description="labelled / records: it is to be near 1")
    figures: FigureValues
    n: dict[str, int]
    intervals: dict[str, Interval]
    without_interval: dict[str, str]


class PerformanceReport(Document):
    """How right a version was."""

    model: str
    version: int
    kind: Literal["binary", "multiclass", "value", "mixed"] | None = Field(
        description="null: no outcome is known"
    )
    slice: str | None = Field(description="whose rows it is of; null: of all")
    window_s: float | None = Field(description="null: of all that ever was answered")
    end: float
    ledger_since: float | None = Field(
        description="when the oldest record was answered; of what is older, whole hours count"
    )
    records: int = Field(description="rows answered")
    unscored: int = Field(description="whose score is no number, or no probability")
    labelled: int = Field(description="rows whose outcome is known: what figures are of")
    corrected: int = Field(description="whose outcome was replaced")
    coverage: float | None = Field(description="labelled / records")
    delay_mean_s: float | None = Field(description="from an answer to its outcome")
    delay_max_s: float | None
    delay_p50_s: float | None = Field(description="within 0.8 %, or 8 ms below a second")
    delay_p95_s: float | None
    delay_p99_s: float | None
    figures: FigureValues
    n: dict[str, int] = Field(description="of how many rows each figure is")
    intervals: dict[str, Interval] = Field(
        description="valid however often one looks; of figures that have one"
    )
    without_interval: dict[str, str] = Field(description="why the others have none")
    threshold: float | None = Field(
        description="above which the positive class is predicted; null: there is none"
    )
    confusion: Confusion | None
    reliability: list[ReliabilityLine]
    classes: list[ClassFigures]
    metrics: list[MetricLine] = Field(description="that some rows have a number of")
    held_out: HeldOutReport | None = Field(
        None, description="of models.NAME.hold_out: what scores had no say in; null: nobody is"
    )
    other_classes: int = Field(description="outcomes of classes too many to be told one by one")
    estimate: EstimateReport | None = Field(
        description="null: there are no scores, or they are no probabilities"
    )


class OutcomesStatus(Document):
    """The ledger and what came of it."""

    records: int = Field(description="that are there")
    bytes: int = Field(description="of its files")
    oldest: float | None = Field(description="when its oldest record was answered, since 1970")
    forgotten_records: int = Field(description="that had to go, ever; what they added up to stays")
    lost_records: int = Field(description="overwritten before they were kept, since the start")
    waiting: int = Field(description="outcomes whose record is not there yet")
    metrics: list[str] = Field(description="names that any row ever had a number of")
    refused_numbers: int = Field(
        description="of metrics that their model is not to have, or that there was no room for,"
        " since control was started"
    )
    outcomes: Counts = Field(
        description="since control was started; of those that had to wait, twice"
    )
    skipped_rows: int = Field(description="answered without their score, since the start")
    unsampled_rows: int = Field(description="that ledger.share left out, since the start")
