"""What the admin API takes and answers about experiments, as models.

Knows fields. Knows nothing of how they are filled.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from gateway.config.experiments import MAX_DURATION_S, Experiment, Figure
from gateway.config.routes import VariantName
from gateway.config.words import MetricName
from gateway.control.documents import Number, optional
from gateway.control.drift_documents import WINDOW
from gateway.control.operations import Document
from gateway.control.route_documents import MAX_WHY


class ExperimentPath(Document):
    """Which experiment."""

    number: Number = Field(ge=1)


class ExperimentWanted(Document):
    """What is to be compared, or which shares are to follow what."""

    experiment: Experiment


class EndWanted(Document):
    """How an experiment is ended."""

    why: str = Field("", max_length=MAX_WHY, description="for whoever reads it later")
    winner: VariantName | None = Field(
        None, description="the arm that is to have all; none: the route is as it was before"
    )


class EstimateLine(Document):
    """What an arm is worth."""

    n: int = Field(description="numbers that are known, or what they weigh")
    mean: float | None
    low: float | None = Field(description="where it lies, at all times at once; null: too few")
    high: float | None
    effect: float | None = Field(
        description="rows that say as much as one independent one; null: cannot be told"
    )


class ComparisonLine(Document):
    """An arm against control."""

    difference: float
    low: float | None
    high: float | None
    lift: float | None = Field(description="the difference by control's mean; null: may be by 0")
    lift_low: float | None
    lift_high: float | None


class ArmLine(Document):
    """An arm by one measure."""

    name: str
    estimate: EstimateLine
    vs_control: ComparisonLine | None = Field(description="null of control, and of no rows")


class MeasuredLine(Document):
    """All arms by one measure."""

    name: str
    better: Literal["higher", "lower"]
    arms: list[ArmLine]


class MismatchLine(Document):
    """Whether arms get their shares."""

    requests: list[int] = Field(description="of each arm")
    expected: list[float] = Field(description="their shares")
    effect: float | None
    log10_e: float = Field(description="evidence that they do not; an alarm from 3 on")
    alarm: bool


class AbReport(Document):
    """Figures of an A/B test."""

    measure: MeasuredLine
    guardrails: list[MeasuredLine]
    mismatch: MismatchLine
    others: int = Field(description="rows of its versions that it did not assign")


class BanditArm(Document):
    """An arm of a bandit."""

    name: str
    requests: int
    estimate: EstimateLine


class BanditReport(Document):
    """Figures of a bandit."""

    arms: list[BanditArm]
    others: int = Field(description="rows of its versions that were not left to chance")


class EventLine(Document):
    """Something that happened."""

    at: float = Field(description="seconds since 1970")
    says: str


class ExperimentLine(Document):
    """One experiment: what it is of, what it has come to, and its newest figures."""

    number: int
    model: str
    kind: Literal["ab", "bandit"]
    state: Literal["running", "decided", "futile", "harmful", "stopped"]
    why: str
    winner: str | None = Field(description="the arm that was shown to be best")
    takes: str | None = Field(description="the arm that has all since; null: the route is restored")
    measure: str
    better: Literal["higher", "lower"]
    control: str
    versions: dict[str, int] = Field(description="by arm")
    shares: dict[str, float] = Field(description="by arm, now or when it ended")
    who: str
    started_at: float
    ended_at: float | None
    warnings: list[str] = Field(description="what may keep it from ever showing anything")
    events: list[EventLine]
    experiment: dict[str, Any] = Field(description="as it was asked for")
    report: AbReport | BanditReport | None = Field(description="null: nobody has looked yet")


class ExperimentList(Document):
    """All experiments, the newest first."""

    experiments: list[ExperimentLine]


class ReplayQuery(Document):
    """Another policy, and by what it is judged."""

    shares: str = Field(
        "",
        max_length=2000,
        description="relative shares by variant, `a=1,b=3`; others have none. `a` alone has all",
    )
    figure: Figure | None = Field(None, json_schema_extra=optional)
    metric: MetricName | None = Field(None, json_schema_extra=optional)
    absent: Literal["unknown", "zero"] = Field(
        "unknown", description="what a row without a number is"
    )
    wait_s: float = Field(
        0.0, ge=0, le=MAX_DURATION_S, description="a row counts once it was answered so long ago"
    )
    window: Annotated[str, WithJsonSchema(WINDOW)] | None = Field(
        None,
        description="answers of so long ago at most: 1m to 30d; by default all there are",
        json_schema_extra=optional,
    )


class ReplayReport(Document):
    """What another policy would have come to."""

    rows: int = Field(description="that were left to chance and have a number")
    mean: EstimateLine = Field(description="of these rows, as they were answered")
    ips: EstimateLine = Field(description="by inverse propensity scores")
    snips: EstimateLine = Field(description="by the same, divided by their mean")
    effective_rows: float = Field(description="that would say as much if all weighed alike")
    least_chance: float | None
    most_weight: float | None
    warnings: list[str] = Field(description="why not to rely on it")
